import type { Operation } from '../commit/change.ts'
import { committed } from '../commit/transaction.ts'
import type { NewFile } from '../data-files/new-file.ts'
import { FILE_ROWS_MAX } from '../data-files/rows-writer.ts'
import type { LiveFile } from '../live-files.ts'
import { partitionFilter } from '../partition-filter.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Table } from '../table.ts'
import { type Bin, bytesOf, firstBins, type PackOptions, pack, partitionKey, rowsIn } from './bins.ts'
import { predicates } from './changed-rows.ts'
import { type Cluster, Clusters, type FileRows } from './clusters.ts'

/** The size up to which files are put together, if nothing else is said. */
export const TARGET_BYTES = 256 << 20
/** One commit takes in files of about so many bytes: what other writers change meanwhile costs no more than its work. */
export const COMMIT_BYTES = 1 << 30
/** Other writers may get in the way of a commit so many times. */
export const ATTEMPTS_MAX = 10

export interface OptimizeOptions {
  readonly targetBytes?: number | undefined
  /** A condition in Spark's SQL on partition columns: files of other partitions stay as they are. */
  readonly where?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Hears of the bytes of the files that have been read. */
  readonly progress?: ((doneBytes: number, totalBytes: number) => void) | undefined
}

/** The result of putting files together. */
export interface Optimized {
  readonly commits: number
  readonly removedFiles: number
  readonly addedFiles: number
}

/**
 * Puts small files together, and writes files anew whose rows are deleted in part, in commits that change no row (bin-packing,
 * as Spark's OPTIMIZE). Rows keep their order: only files that follow one another in the views become one, at the place of
 * the first of them, and rows that edits put among those of other files (order-hint.ts) are written where they stand. In a
 * partitioned table they are those of one partition, and rows move beside others of theirs. TableError `conflict`,
 * `constraint`, `unsupported_feature` for a condition that picks no partitions; StorageError.
 */
export async function optimize(table: Table, options: OptimizeOptions = {}): Promise<Optimized> {
  const { targetBytes = TARGET_BYTES, where, signal, progress } = options
  const done = { commits: 0, removedFiles: 0, addedFiles: 0 }
  const clusters = new Clusters(table)
  const wanted = async (base: Snapshot): Promise<Bin[]> =>
    binsOf(await clusters.of(base), targetBytes, chosen(base, where))
  const totalBytes = bytesOf(filesOf(await wanted(await table.refresh())))
  let doneBytes = 0
  for (let conflicts = 0; ; ) {
    signal?.throwIfAborted()
    const base = await table.refresh()
    const bins = firstBins(await wanted(base), COMMIT_BYTES)
    if (bins.length === 0) return done
    const doneBefore = doneBytes
    const opened = ({ sizeBytes }: LiveFile): void => {
      signal?.throwIfAborted()
      doneBytes += sizeBytes
      progress?.(Math.min(doneBytes, totalBytes), totalBytes)
    }
    const operation: PackOptions['operation'] = (removed, added) => optimized(removed, added, { where })
    const { result, addedFiles } = await pack(table, base, bins, { operation, signal, opened })
    if (result.kind === 'conflict' && ++conflicts < ATTEMPTS_MAX) {
      doneBytes = doneBefore
      continue
    }
    committed(result)
    done.commits++
    done.removedFiles += filesOf(bins).length
    done.addedFiles += addedFiles
  }
}

/** Tells the clusters all of whose files a condition picks. */
function chosen(base: Snapshot, where: string | undefined): (cluster: Cluster) => boolean {
  if (where === undefined) return () => true
  const isPicked = partitionFilter(base, where)
  return cluster => cluster.every(({ file }) => isPicked(file))
}

function filesOf(bins: readonly Bin[]): FileRows[] {
  return bins.flatMap(({ files }) => files)
}

/** Files that are to become one, and what they have together. */
interface OpenBin {
  readonly files: FileRows[]
  bytes: number
  rows: number
  /** Clusters in it, and the number of the last of them. */
  clusters: number
  last: number
  readonly first: number
}

/** Files of chosen clusters that become one each. `clusters`: in the order of their rows. */
function binsOf(clusters: readonly Cluster[], targetBytes: number, isChosen: (cluster: Cluster) => boolean): Bin[] {
  const bins: Bin[] = []
  const open = new Map<string, OpenBin>()
  const close = (key: string): void => {
    const bin = open.get(key)
    open.delete(key)
    if (bin === undefined || !isWorthIt(bin.files)) return
    bins.push({ files: bin.files, isInPlace: bin.last - bin.first === bin.clusters - 1 })
  }
  for (const [number, cluster] of clusters.entries()) {
    if (!isChosen(cluster)) continue
    const key = partitionKey(cluster[0].file)
    const bytes = bytesOf(cluster)
    const rows = rowsIn(cluster)
    const isTaken = bytes < targetBytes || isWorthIt(cluster)
    const current = open.get(key)
    const fits = current !== undefined && current.bytes + bytes <= targetBytes && current.rows + rows <= FILE_ROWS_MAX
    if (!isTaken || !fits) close(key)
    if (!isTaken) continue
    const bin = fits ? current : { files: [], bytes: 0, rows: 0, clusters: 0, first: number, last: number }
    bin.files.push(...cluster)
    bin.bytes += bytes
    bin.rows += rows
    bin.clusters++
    bin.last = number
    open.set(key, bin)
  }
  for (const key of [...open.keys()]) close(key)
  return bins
}

/** One file alone is written anew only to be rid of deleted rows. */
function isWorthIt(files: readonly FileRows[]): files is Bin['files'] {
  return files.length > 1 || files[0]?.file.vector !== undefined
}

/** The wishes of a user, as the log tells them. */
interface OptimizedBy {
  /** The condition that picked the files. */
  readonly where?: string | undefined
  /** The columns by which rows are near to one another now. */
  readonly zOrderBy?: readonly string[]
  /** Nobody asked for it. */
  readonly isAuto?: boolean
}

/** Files in the place of others, with the same rows. */
export function optimized(
  removed: readonly LiveFile[],
  added: readonly NewFile[],
  { where, zOrderBy = [], isAuto = false }: OptimizedBy,
): Operation {
  const sum = (files: readonly { readonly sizeBytes: number }[]): string =>
    String(files.reduce((total, { sizeBytes }) => total + sizeBytes, 0))
  return {
    name: 'OPTIMIZE',
    parameters: {
      predicate: predicates(where),
      auto: String(isAuto),
      clusterBy: '[]',
      zOrderBy: JSON.stringify(zOrderBy),
    },
    metrics: {
      numRemovedFiles: String(removed.length),
      numAddedFiles: String(added.length),
      numRemovedBytes: sum(removed),
      numAddedBytes: sum(added),
      numDeletionVectorsRemoved: String(removed.filter(({ vector }) => vector !== undefined).length),
    },
    dataChange: false,
  }
}
