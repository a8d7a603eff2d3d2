import { csv, type TextFormatName, textFormat } from '../columns/text/formats/index.ts'
import type { Batch, Schema } from '../columns/types.ts'
import { vectorOf } from '../columns/vectors.ts'

/** Rows as they come. */
export interface Rows {
  readonly schema: Schema
  batches(): AsyncIterable<Batch>
}

/** A result as text, piece by piece, as a view of such rows would show it. */
export async function* resultText({ schema, batches }: Rows, format: TextFormatName): AsyncGenerator<Uint8Array> {
  const { header, render, frame } = textFormat(format)
  const head = header(schema)
  if (head.length > 0) yield head
  let isEmpty = true
  for await (const batch of batches()) {
    const { bytes } = render(batch, schema)
    if (isEmpty && frame !== undefined && bytes.length > 0) bytes[0] = frame.open
    isEmpty &&= bytes.length === 0
    yield bytes
  }
  if (frame !== undefined) yield isEmpty ? frame.empty : frame.end
}

/** A result as CSV, its header first. */
export function csvOf(result: Rows): AsyncGenerator<Uint8Array> {
  return resultText(result, csv.name)
}

const CHANGES = ['inserted', 'updated', 'deleted'] as const
const CHANGES_SCHEMA: Schema = CHANGES.map(name => ({ name, type: { kind: 'long' }, nullable: false, metadata: {} }))

/** Returns the result of a changing statement as a text of one row. */
export function changesText(
  changes: Readonly<Record<(typeof CHANGES)[number], number>>,
  format: TextFormatName,
): Uint8Array {
  const { header, render, frame } = textFormat(format)
  const vectors = CHANGES.map(name => vectorOf({ kind: 'long' }, [BigInt(changes[name])]))
  const { bytes } = render({ rows: 1, vectors }, CHANGES_SCHEMA)
  if (frame === undefined) return Buffer.concat([header(CHANGES_SCHEMA), bytes])
  bytes[0] = frame.open
  return Buffer.concat([bytes, frame.end])
}
