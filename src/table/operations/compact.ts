import { FILE_ROWS_MAX } from '../data-files/rows-writer.ts'
import { checkWritable } from '../protocol.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Table } from '../table.ts'
import { type Bin, bytesOf, firstBins, type PackOptions, pack, partitionKey, rowsIn } from './bins.ts'
import { type Cluster, Clusters } from './clusters.ts'
import { optimized } from './optimize.ts'

/** The files that are worth being put together by themselves. */
export interface CompactLimits {
  /** Files from this size on, in bytes, stay as they are. */
  readonly smallBytes: number
  /** Fewer small files stay, too. */
  readonly filesMin: number
  /** The files of one commit have about so many bytes at most. */
  readonly commitBytes: number
}

export const COMPACT_LIMITS: CompactLimits = { smallBytes: 4 << 20, filesMin: 32, commitBytes: 32 << 20 }

/** The end of a look at the small files of a table. */
export type Compacted =
  | { readonly kind: 'committed'; readonly version: bigint; readonly removedFiles: number; readonly addedFiles: number }
  /** They are few, or the table's owner wants them left alone (delta.autoOptimize.autoCompact). */
  | { readonly kind: 'few' }
  /** Another writer was quicker. */
  | { readonly kind: 'overtaken' }

/** The number of small files of a version. */
export function smallFiles({ files }: Snapshot, { smallBytes }: CompactLimits = COMPACT_LIMITS): number {
  return files.reduce((count, { sizeBytes }) => count + (sizeBytes < smallBytes ? 1 : 0), 0)
}

/**
 * Puts some of the small files of a table together, if they are many, in one commit that changes nothing of what the views
 * show: files that follow one another become one, each row at its place. Large ones among them are left, so that a row that
 * is written is written again a few times only, however many come. TableError, StorageError.
 */
export async function compact(
  table: Table,
  options: Pick<PackOptions, 'signal' | 'pause'> = {},
  limits: CompactLimits = COMPACT_LIMITS,
): Promise<Compacted> {
  const base = await table.refresh()
  const { configuration } = base.metadata
  const wish = configuration.get('delta.autoOptimize.autoCompact')
  if (wish?.toLowerCase() === 'false' || smallFiles(base, limits) < limits.filesMin) return { kind: 'few' }
  checkWritable(base.protocol, configuration, base.schema, false, table.store.location)
  const all = smallBins(await new Clusters(table).of(base), limits)
  if (filesIn(all) < limits.filesMin) return { kind: 'few' }
  const bins = firstBins(all, limits.commitBytes)
  const operation: PackOptions['operation'] = (removed, added) => optimized(removed, added, { isAuto: true })
  const { result, addedFiles } = await pack(table, base, bins, { ...options, operation })
  if (result.kind === 'conflict') return { kind: 'overtaken' }
  return { kind: 'committed', version: result.version, removedFiles: filesIn(bins), addedFiles }
}

function filesIn(bins: readonly Bin[]): number {
  return bins.reduce((sum, { files }) => sum + files.length, 0)
}

/** Small files that follow one another, each list to become one. `clusters`: in the order of their rows. */
function smallBins(clusters: readonly Cluster[], { smallBytes, commitBytes }: CompactLimits): Bin[] {
  const bins: Bin[] = []
  let open: Cluster[] = []
  let bytes = 0
  let rows = 0
  const close = (): void => {
    const [first, ...others] = withoutLarge(open)
    if (first !== undefined && others.length > 0)
      bins.push({ files: [...first, ...others.flat()] as unknown as Bin['files'], isInPlace: true })
    open = []
    bytes = 0
    rows = 0
  }
  for (const cluster of clusters) {
    const [last] = open
    const isSmall = cluster.every(({ file }) => file.sizeBytes < smallBytes)
    if (last !== undefined && (!isSmall || partitionKey(last[0].file) !== partitionKey(cluster[0].file))) close()
    if (!isSmall) continue
    bytes += bytesOf(cluster)
    rows += rowsIn(cluster)
    if (bytes > commitBytes || rows > FILE_ROWS_MAX) {
      close()
      bytes = bytesOf(cluster)
      rows = rowsIn(cluster)
    }
    open.push(cluster)
  }
  close()
  return bins
}

/** Those at the start that have more bytes than all behind them together would be written again for the sake of little. */
function withoutLarge(clusters: readonly Cluster[]): readonly Cluster[] {
  let left = clusters.reduce((sum, cluster) => sum + bytesOf(cluster), 0)
  const first = clusters.findIndex(cluster => {
    const bytes = bytesOf(cluster)
    left -= bytes
    return bytes <= left
  })
  return first < 0 ? [] : clusters.slice(first)
}
