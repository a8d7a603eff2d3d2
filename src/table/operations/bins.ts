import type { Operation } from '../commit/change.ts'
import type { CommitResult, TransactionOptions } from '../commit/transaction.ts'
import type { NewFile } from '../data-files/new-file.ts'
import { FILE_ROWS_MAX, type MovedRows } from '../data-files/rows-writer.ts'
import type { LiveFile } from '../live-files.ts'
import { LiveRows } from '../live-rows.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Table } from '../table.ts'
import { MOVED_APART, MOVED_IN_PLACE } from '../tags.ts'
import { type FileRows, inShownOrder } from './clusters.ts'

/** Files of whole clusters that are to become one, in the order of their rows. */
export interface Bin {
  readonly files: readonly [FileRows, ...FileRows[]]
  /** No row of another file stands among theirs. */
  readonly isInPlace: boolean
}

/** The size of files, in bytes. */
export function bytesOf(files: readonly FileRows[]): number {
  return files.reduce((sum, { file }) => sum + file.sizeBytes, 0)
}

/** The rows of files, those that are deleted included; at most, where a file does not say. */
export function rowsIn(files: readonly FileRows[]): number {
  return files.reduce((sum, { file }) => sum + (file.rows ?? FILE_ROWS_MAX), 0)
}

/** Tells the partition of a cluster from others. */
export function partitionKey({ add }: LiveFile): string {
  return JSON.stringify(add.partitionValues ?? {})
}

/** The first of some bins: no more are begun once they have so many bytes. */
export function firstBins(bins: readonly Bin[], bytesMax: number): readonly Bin[] {
  let bytes = 0
  const end = bins.findIndex(({ files }) => {
    const isFull = bytes >= bytesMax
    bytes += bytesOf(files)
    return isFull
  })
  return end < 0 ? bins : bins.slice(0, end)
}

export interface PackOptions extends Pick<TransactionOptions, 'signal'> {
  /** Tells of the files that go and those that come. */
  readonly operation: (removed: readonly LiveFile[], added: readonly NewFile[]) => Operation
  /** Hears of each file whose rows are read. */
  readonly opened?: (file: LiveFile) => void
  /** Waited for between batches of rows. */
  readonly pause?: () => Promise<void>
}

/** Writes the files of each bin as one, at the place of the first of them, in one commit that changes no row. TableError, StorageError. */
export async function pack(
  table: Table,
  base: Snapshot,
  bins: readonly Bin[],
  { operation, opened, pause, signal }: PackOptions,
): Promise<{ readonly result: CommitResult; readonly addedFiles: number }> {
  await using transaction = table.begin(base, { signal })
  const rows = new LiveRows(table, base, opened)
  for (const { files, isInPlace } of bins) {
    const moved = isInPlace ? MOVED_IN_PLACE : MOVED_APART
    await transaction.write(rowsOf(rows, files, pause), { inPlaceOf: files[0].file, moved })
    transaction.removeFiles(...files.map(({ file }) => file))
  }
  const removed = bins.flatMap(({ files }) => files.map(({ file }) => file))
  const result = await transaction.commit(operation(removed, transaction.added))
  return { result, addedFiles: transaction.added.length }
}

/** The live rows of files, in the order in which they are shown. */
async function* rowsOf(rows: LiveRows, files: Bin['files'], pause: PackOptions['pause']): AsyncGenerator<MovedRows> {
  for (const { file, ...range } of inShownOrder(files)) {
    for await (const moved of rows.moved(file, range)) {
      await pause?.()
      yield moved
    }
  }
}
