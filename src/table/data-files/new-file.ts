import { hasInside } from '../../columns/schema.ts'
import type { Field, Schema } from '../../columns/types.ts'
import { TableError } from '../errors.ts'
import type { OrderHint } from '../order-hint.ts'
import { MOVED_TAG, ORDER_REFS_TAG, ORDER_TAG, TEXT_TAG } from '../tags.ts'
import type { WrittenDataFile } from './data-file-writer.ts'
import { encodeTextTag } from './text-sizes.ts'

/** A data file that is written and durable, and not yet in the log. */
export interface NewFile {
  /** Relative to the table. */
  readonly path: string
  readonly sizeBytes: number
  readonly rows: number
  /** The `stats` of the add action, as JSON text. */
  readonly stats: string
  readonly partitionValues: PartitionTexts
  readonly tags?: ReadonlyMap<string, string>
  /** For a file that takes the place of another (copy-on-write): that one's time, so that it stands where it stood. */
  readonly modificationTime?: number
}

/** Partition values by physical name, as the log spells them. */
export type PartitionTexts = Readonly<Record<string, string | null>>

/** The parts of the record of a new file, beside the counts of its writer. */
export interface NewFileOptions {
  readonly partitionValues?: PartitionTexts
  /** The places of its rows in the views. */
  readonly order?: OrderHint | undefined
  /** For a file of rows that are all moved: how they are shown (MOVED_TAG). */
  readonly moved?: string | undefined
  /** The time of the file whose place it takes. */
  readonly modificationTime?: number | undefined
}

/** The record of a file that a DataFileWriter has written, with the tags that let its views be sized unread. */
export function newFile(
  path: string,
  written: WrittenDataFile,
  schema: Schema,
  { partitionValues = {}, order, moved, modificationTime }: NewFileOptions = {},
): NewFile {
  const tags = new Map<string, string>()
  // The text of a partitioned file has columns that the file has not: its size is found by rendering it.
  if (Object.keys(partitionValues).length === 0) tags.set(TEXT_TAG, encodeTextTag(schema, written))
  if (order !== undefined) {
    tags.set(ORDER_TAG, '1')
    tags.set(ORDER_REFS_TAG, JSON.stringify(order.refs))
  }
  if (moved !== undefined) tags.set(MOVED_TAG, moved)
  const { sizeBytes, rows, stats } = written
  const file: NewFile = { path, sizeBytes, rows, stats, partitionValues, tags }
  return modificationTime === undefined ? file : { ...file, modificationTime }
}

/**
 * The columns that are in new data files: those of partitions are in the log alone, and those of type void nowhere
 * (PROTOCOL.md, "Void Type"). TableError `unsupported_feature` for columns that posixlake does not write.
 */
export function columnsInFiles(schema: Schema, partitionColumns: readonly string[]): Schema {
  const fault = schema.map(unwritable).find(found => found !== undefined)
  if (fault !== undefined) {
    throw new TableError(
      'unsupported_feature',
      `${fault}, which posixlake reads and does not write: rows of this table can be removed, by deletion vectors (delta.enableDeletionVectors), and neither added nor changed`,
    )
  }
  const written = schema.filter(({ name, type }) => type.kind !== 'void' && !partitionColumns.includes(name))
  if (written.length === 0 && schema.some(({ type }) => type.kind === 'void'))
    throw new TableError(
      'unsupported_feature',
      'no column of the table has a type that a file could have: they are VOID',
    )
  return written.length === schema.length ? schema : written
}

/** Returns why a column cannot be written, as the beginning of a sentence. */
function unwritable({ name, type }: Field): string | undefined {
  if (hasInside(type, 'variant')) return `the column ${name} is ${type.kind === 'variant' ? 'a' : 'made of'} VARIANT`
  return type.kind !== 'void' && hasInside(type, 'void') ? `the column ${name} has VOID inside` : undefined
}
