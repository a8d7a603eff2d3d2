import { readFooter, readRowGroup } from '../../columns/parquet/read.ts'
import { storeSource } from '../../columns/parquet/source.ts'
import { physicalName } from '../../columns/schema.ts'
import type { Batch, Cell, Schema } from '../../columns/types.ts'
import { takeRows } from '../../columns/vectors.ts'
import { lowerBound } from '../../core/search.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { parsePartitionValue } from './partition-values.ts'

/** A file with rows of a table, and the values that it leaves to the log. */
export interface RowsFile {
  readonly path: string
  readonly sizeBytes: number
  /** By physical name. */
  readonly partition: ReadonlyMap<string, Cell>
}

/** Rows of a file that were read together. */
export interface PickedRows {
  readonly batch: Batch
  /** Their numbers in the file. */
  readonly numbers: Uint32Array
}

/**
 * Reads rows of a file by their numbers, which ascend; all if none are given. Row groups without any are not read.
 * `schema`: the columns as they are looked for in files (`schemaInFiles`). ParquetError, StorageError.
 */
export async function* pickedRows(
  store: ObjectStore,
  file: RowsFile,
  schema: Schema,
  rows?: Uint32Array,
): AsyncGenerator<PickedRows> {
  const source = storeSource(store, file.path, file.sizeBytes)
  const footer = await readFooter(source)
  for (const [group, { firstRow, rows: count }] of footer.rowGroups.entries()) {
    const numbers =
      rows === undefined
        ? Uint32Array.from({ length: count }, (_, i) => firstRow + i)
        : rows.subarray(lowerBound(rows, firstRow), lowerBound(rows, firstRow + count))
    if (numbers.length === 0) continue
    const batch = await readRowGroup(source, footer, group, schema, file.partition)
    const inGroup = numbers.map(row => row - firstRow)
    yield { batch: numbers.length === count ? batch : taken(batch, inGroup), numbers }
  }
}

/** Rows of a batch, which go on saying that there may be text in them that is not UTF-8. */
function taken(batch: Batch, rows: Uint32Array): Batch {
  const { vectors } = takeRows(batch, rows)
  const notUtf8 = (i: number): object => (batch.vectors[i]!.notUtf8 === undefined ? {} : { notUtf8: 0 })
  return { rows: rows.length, vectors: vectors.map((vector, i) => ({ ...vector, ...notUtf8(i) })) }
}

/** The values that the log has of a file, as cells by physical name. TextError. */
export function partitionCells(
  values: Readonly<Record<string, string | null>> | null | undefined,
  schema: Schema,
  partitionColumns: readonly string[],
): ReadonlyMap<string, Cell> {
  return new Map(
    schema
      .filter(({ name }) => partitionColumns.includes(name))
      .map(field => [physicalName(field), parsePartitionValue(values?.[physicalName(field)], field.type)]),
  )
}
