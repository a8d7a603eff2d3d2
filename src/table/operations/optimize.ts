import { readFooter, readRowGroup } from '../../columns/parquet/read.ts'
import { storeSource } from '../../columns/parquet/source.ts'
import type { Batch } from '../../columns/types.ts'
import { takeRows } from '../../columns/vectors.ts'
import { schemaInFiles } from '../column-mapping.ts'
import type { Operation } from '../commit/change.ts'
import { checkText } from '../commit/copy-on-write.ts'
import { type CommitResult, committed } from '../commit/transaction.ts'
import type { NewFile } from '../data-files/new-file.ts'
import { FILE_ROWS_MAX } from '../data-files/rows-writer.ts'
import type { LiveFile } from '../live-files.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Table } from '../table.ts'
import { ORDER_TAG } from '../tags.ts'

/** The size up to which files are put together, if nothing else is said. */
export const TARGET_BYTES = 256 << 20
/** One commit takes in files of about so many bytes: what other writers change meanwhile costs no more than its work. */
const COMMIT_BYTES = 1 << 30
/** Other writers may get in the way of a commit so many times. */
const ATTEMPTS_MAX = 10

export interface OptimizeOptions {
  readonly targetBytes?: number | undefined
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
 * the first of them. In a partitioned table they are those of one partition, and rows move beside others of theirs. Files whose rows stand among those of others, and those
 * others, are left as they are. TableError `conflict`, `constraint`; StorageError.
 */
export async function optimize(table: Table, options: OptimizeOptions = {}): Promise<Optimized> {
  const { targetBytes = TARGET_BYTES, signal, progress } = options
  const done = { commits: 0, removedFiles: 0, addedFiles: 0 }
  const planned = binsOf(await table.refresh(), targetBytes)
  const totalBytes = planned.flat().reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  let doneBytes = 0
  for (let conflicts = 0; ; ) {
    signal?.throwIfAborted()
    const base = await table.refresh()
    const bins = firstBins(binsOf(base, targetBytes))
    if (bins.length === 0) return done
    const doneBefore = doneBytes
    await using transaction = table.begin(base, { signal })
    for (const bin of bins) {
      const [first] = bin
      const rows = rowsOf(table, base, bin, file => {
        signal?.throwIfAborted()
        doneBytes += file.sizeBytes
        progress?.(Math.min(doneBytes, totalBytes), totalBytes)
      })
      await transaction.write(rows, { inPlaceOf: first })
      transaction.removeFiles(...bin)
    }
    const result: CommitResult = await transaction.commit(optimized(bins.flat(), transaction.added))
    if (result.kind === 'conflict' && ++conflicts < ATTEMPTS_MAX) {
      doneBytes = doneBefore
      continue
    }
    committed(result)
    done.commits++
    done.removedFiles += bins.flat().length
    done.addedFiles += transaction.added.length
  }
}

type Bin = readonly [LiveFile, ...LiveFile[]]

/** Files that become one each. */
function binsOf(snapshot: Snapshot, targetBytes: number): Bin[] {
  const bins: Bin[] = []
  const open = new Map<string, LiveFile[]>()
  const close = (key: string): void => {
    const files = open.get(key) ?? []
    open.delete(key)
    if (isWorthIt(files)) bins.push(files)
  }
  for (const file of snapshot.files) {
    const key = JSON.stringify(file.add.partitionValues ?? {})
    const isTaken = isMovable(snapshot, file) && (file.sizeBytes < targetBytes || file.vector !== undefined)
    if (!isTaken || !fits([...(open.get(key) ?? []), file], targetBytes)) close(key)
    if (isTaken) open.set(key, [...(open.get(key) ?? []), file])
  }
  for (const key of [...open.keys()]) close(key)
  return bins
}

/** True for files whose rows are written to one. */
function fits(files: readonly LiveFile[], targetBytes: number): boolean {
  const bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const rows = files.reduce((sum, file) => sum + (file.rows ?? FILE_ROWS_MAX), 0)
  return bytes <= targetBytes && rows <= FILE_ROWS_MAX
}

/** One file alone is written anew only to be rid of deleted rows. */
function isWorthIt(files: readonly LiveFile[]): files is Bin {
  return files.length > 1 || files[0]?.vector !== undefined
}

/** False for a file with rows among those of others, or with others' rows among its own. */
function isMovable({ live }: Snapshot, file: LiveFile): boolean {
  return (
    file.tag(ORDER_TAG) === undefined && file.orderRefs.length === 0 && live.referrers(file.path).next().done === true
  )
}

function firstBins(bins: readonly Bin[]): readonly Bin[] {
  let bytes = 0
  const end = bins.findIndex(bin => {
    const isFull = bytes >= COMMIT_BYTES
    bytes += bin.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    return isFull
  })
  return end < 0 ? bins : bins.slice(0, end)
}

/** The live rows of files, in the table's columns. */
async function* rowsOf(
  table: Table,
  snapshot: Snapshot,
  files: readonly LiveFile[],
  onFile: (file: LiveFile) => void,
): AsyncGenerator<Batch> {
  const schema = schemaInFiles(snapshot)
  for (const file of files) {
    const source = storeSource(table.store, file.path, file.sizeBytes)
    const footer = await readFooter(source)
    const deleted = await table.deletedRows(file)
    let next = 0
    for (const [group, { firstRow, rows }] of footer.rowGroups.entries()) {
      const kept: number[] = []
      for (let row = firstRow; row < firstRow + rows; row++)
        if (deleted[next] === row) next++
        else kept.push(row - firstRow)
      if (kept.length === 0) continue
      const batch = await readRowGroup(source, footer, group, schema, file.partition)
      checkText(batch, schema, kept, file)
      yield kept.length === rows ? batch : takeRows(batch, kept)
    }
    onFile(file)
  }
}

function optimized(removed: readonly LiveFile[], added: readonly NewFile[]): Operation {
  const sum = (files: readonly { readonly sizeBytes: number }[]): string =>
    String(files.reduce((total, { sizeBytes }) => total + sizeBytes, 0))
  return {
    name: 'OPTIMIZE',
    parameters: { predicate: '[]', auto: 'false', clusterBy: '[]', zOrderBy: '[]' },
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
