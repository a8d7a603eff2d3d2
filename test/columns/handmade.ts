import { ByteWriter } from 'hyparquet-writer'
import { serializeTCompactProtocol } from 'hyparquet-writer/src/thrift.js'
import { readFooter } from '../../src/columns/parquet/read.ts'
import { schemaOfFooter } from '../../src/columns/parquet/schema.ts'
import type { Schema } from '../../src/columns/types.ts'
import { memorySource } from '../helpers/memory-source.ts'

/** A Thrift struct: `{ field_1: ... }`. Whole numbers are 32 bits, bigints 64. */
export type Thrift = { readonly [field: `field_${number}`]: unknown }

// parquet.thrift, by its numbers.
export const TYPE = { BOOLEAN: 0, INT32: 1, INT64: 2, INT96: 3, FLOAT: 4, DOUBLE: 5, BYTE_ARRAY: 6, FIXED: 7 } as const
export const ENCODING = {
  PLAIN: 0,
  RLE: 3,
  BIT_PACKED: 4,
  DELTA_LENGTH: 6,
  DELTA_BYTE_ARRAY: 7,
  RLE_DICTIONARY: 8,
} as const
export const CODEC = { UNCOMPRESSED: 0, LZO: 3, LZ4: 5, LZ4_RAW: 7 } as const
export const REQUIRED = 0
export const OPTIONAL = 1
export const REPEATED = 2

/** A field of the schema; one with children is a group. `logical` and `converted` as parquet.thrift has them. */
export interface HandmadeField {
  readonly name: string
  readonly repetition?: number
  readonly type?: number
  readonly typeLength?: number
  readonly logical?: Thrift
  readonly converted?: number
  readonly precision?: number
  readonly scale?: number
  readonly id?: number
  readonly children?: readonly HandmadeField[]
}

export interface HandmadePage {
  /** Of parquet.thrift; a page of version 1 has its in `field_5`, one of version 2 in `field_8`, a dictionary in `field_7`. */
  readonly header: Thrift
  readonly body: Uint8Array
  /** The size before compression; that of the body if not given. */
  readonly size?: number
}

export interface HandmadeChunk {
  readonly pages: readonly HandmadePage[]
  readonly values: number
  readonly codec?: number
  /** Bytes that the chunk's size leaves out. */
  readonly leftOut?: number
  /** Fields of ColumnChunk that are to be there, too. */
  readonly more?: Thrift
}

/** One row group: its rows and its chunks by the leaf's path. */
export interface HandmadeGroup {
  readonly rows: number
  readonly chunks: Readonly<Record<string, HandmadeChunk>>
}

function thrift(struct: Thrift): Uint8Array {
  const writer = new ByteWriter()
  serializeTCompactProtocol(writer, struct as never)
  return writer.getBytes().slice()
}

function elements(field: HandmadeField, isRoot = false): Thrift[] {
  const { children } = field
  const own: Thrift = {
    field_1: field.type,
    field_2: field.typeLength,
    field_3: isRoot ? undefined : (field.repetition ?? OPTIONAL),
    field_4: field.name,
    field_5: children?.length,
    field_6: field.converted,
    field_7: field.scale,
    field_8: field.precision,
    field_9: field.id,
    field_10: field.logical,
  }
  return [own, ...(children ?? []).flatMap(child => elements(child))]
}

function leaves(field: HandmadeField, path: readonly string[] = []): { path: string[]; type: number }[] {
  return (field.children ?? []).flatMap(child => {
    const own = [...path, child.name]
    return child.children === undefined ? [{ path: own, type: child.type! }] : leaves(child, own)
  })
}

/** A Parquet file made by hand, for what no writer at hand makes. */
export function handmade(
  fields: readonly HandmadeField[],
  groups: readonly HandmadeGroup[],
  createdBy?: string,
): Uint8Array {
  const root = { name: 'schema', children: fields }
  const parts: Uint8Array[] = [new TextEncoder().encode('PAR1')]
  let at = 4
  const put = (bytes: Uint8Array): void => {
    parts.push(bytes)
    at += bytes.length
  }
  const rowGroups = groups.map(({ rows, chunks }) => {
    const columns = leaves(root).map(({ path, type }) => {
      const { pages, values, codec = CODEC.UNCOMPRESSED, leftOut = 0, more = {} } = chunks[path.join('.')]!
      const start = at
      for (const { header, body, size = body.length } of pages) {
        put(thrift(inOrder({ ...header, field_2: size, field_3: body.length })))
        put(body)
      }
      const meta = {
        field_1: type,
        field_2: [ENCODING.PLAIN, ENCODING.RLE],
        field_3: path,
        field_4: codec,
        field_5: BigInt(values),
        field_6: BigInt(at - start),
        field_7: BigInt(at - start - leftOut),
        field_9: BigInt(start),
      }
      return inOrder({ field_2: BigInt(start), field_3: meta, ...more })
    })
    return { field_1: columns, field_2: 0n, field_3: BigInt(rows) }
  })
  const total = groups.reduce((sum, { rows }) => sum + rows, 0)
  const footer = thrift({
    field_1: 1,
    field_2: elements(root, true),
    field_3: BigInt(total),
    field_4: rowGroups,
    field_6: createdBy,
  })
  put(footer)
  const size = new Uint8Array(4)
  new DataView(size.buffer).setUint32(0, footer.length, true)
  put(size)
  put(new TextEncoder().encode('PAR1'))
  return new Uint8Array(Buffer.concat(parts))
}

function number(field: string): number {
  return Number(field.slice('field_'.length))
}

/** Fields go by their numbers. */
function inOrder(struct: Thrift): Thrift {
  return Object.fromEntries(Object.entries(struct).sort(([a], [b]) => number(a) - number(b)))
}

/** A data page of version 1. */
export function pageV1(
  values: number,
  encoding: number,
  body: Uint8Array,
  levels: number = ENCODING.RLE,
): HandmadePage {
  return {
    header: { field_1: 0, field_5: { field_1: values, field_2: encoding, field_3: levels, field_4: levels } },
    body,
  }
}

export function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values)
}

export function int32s(...values: number[]): Uint8Array {
  return new Uint8Array(Int32Array.from(values).buffer)
}

/** The columns that a file's own schema gives. */
export async function schemaIn(file: Uint8Array): Promise<Schema> {
  return schemaOfFooter(await readFooter(memorySource('handmade.parquet', file)), 'handmade.parquet')
}
