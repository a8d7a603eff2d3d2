import type { Footer } from '../../columns/parquet/read.ts'
import { rowsFingerprint, schemaFingerprint } from '../../columns/schema.ts'
import { TEXT_FORMAT_VERSION } from '../../columns/text/rendered.ts'
import { rowsSizes } from '../../columns/text/sizes.ts'
import type { Batch, Schema } from '../../columns/types.ts'
import { TEXT_KEY } from '../tags.ts'

/** The rows of a row group, and the sizes of their texts. */
export interface RowGroupText {
  readonly rows: number
  readonly csvBytes: number
  readonly jsonlBytes: number
}

/** The sizes of a file's texts, row group by row group, as its footer has them. */
export interface TextSizes {
  /** schemaFingerprint of the columns that the sizes are of. */
  readonly schema: string
  /** rowsFingerprint of them; not given where it is the same. */
  readonly unnamed?: string | undefined
  readonly groups: readonly RowGroupText[]
}

/** The sizes of a whole file's texts, as a tag of its add action has them. */
export interface FileTextSizes {
  readonly schema: string
  readonly unnamed?: string | undefined
  readonly csv: number
  readonly jsonl: number
}

/** The sizes of a row group's texts, without rendering them. */
export function measureRowGroup(batches: readonly Batch[], schema: Schema): RowGroupText {
  let rows = 0
  let csvBytes = 0
  let jsonlBytes = 0
  for (const batch of batches) {
    rows += batch.rows
    const sizes = rowsSizes(batch, schema)
    csvBytes += sizes.csv
    jsonlBytes += sizes.jsonl
  }
  return { rows, csvBytes, jsonlBytes }
}

/** The value of TEXT_KEY in a footer. */
export function encodeTextSizes(schema: Schema, groups: readonly RowGroupText[]): string {
  return JSON.stringify({
    v: TEXT_FORMAT_VERSION,
    ...fingerprints(schema),
    rows: groups.map(group => group.rows),
    csv: groups.map(group => group.csvBytes),
    jsonl: groups.map(group => group.jsonlBytes),
  })
}

function fingerprints(all: Schema): Pick<TextSizes, 'schema' | 'unnamed'> {
  const schema = schemaFingerprint(all)
  const unnamed = rowsFingerprint(all)
  return unnamed === schema ? { schema } : { schema, unnamed }
}

/** The text sizes that our writer left in a footer; undefined in files by others, and of other text versions. */
export function textSizes(footer: Footer): TextSizes | undefined {
  const text = footer.keyValue.get(TEXT_KEY)
  if (text === undefined) return undefined
  try {
    const json = JSON.parse(text) as {
      v: number
      schema: string
      unnamed?: string
      rows: number[]
      csv: number[]
      jsonl: number[]
    }
    const whole =
      json.v === TEXT_FORMAT_VERSION &&
      [json.rows, json.csv, json.jsonl].every(list => list.length === footer.rowGroups.length)
    if (!whole || json.rows.some((rows, i) => rows !== footer.rowGroups[i]!.rows)) return undefined
    return {
      schema: json.schema,
      unnamed: json.unnamed,
      groups: json.rows.map((rows, i) => ({ rows, csvBytes: json.csv[i]!, jsonlBytes: json.jsonl[i]! })),
    }
  } catch {
    return undefined
  }
}

/** The value of TEXT_TAG. */
export function encodeTextTag(
  schema: Schema,
  sizes: { readonly csvBytes: number; readonly jsonlBytes: number },
): string {
  return JSON.stringify({
    v: TEXT_FORMAT_VERSION,
    ...fingerprints(schema),
    csv: sizes.csvBytes,
    jsonl: sizes.jsonlBytes,
  })
}

/** The sizes in a TEXT_TAG; undefined where it is of another text version, or damaged. */
export function decodeTextTag(tag: string): FileTextSizes | undefined {
  try {
    const json = JSON.parse(tag) as (FileTextSizes & { readonly v: number }) | null
    return json?.v === TEXT_FORMAT_VERSION && isSize(json.csv) && isSize(json.jsonl) ? json : undefined
  } catch {
    return undefined
  }
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}
