import {
  CompressionCodecs,
  ConvertedTypes,
  Encodings,
  FieldRepetitionTypes,
  PageTypes,
  ParquetTypes,
} from 'hyparquet/src/constants.js'
import { readStruct } from './thrift.ts'

/** Bytes and how far they are read. */
export interface Reader {
  readonly view: DataView
  offset: number
}

/** The meaning of a column's values beyond their physical type (LogicalTypes.md), by either of the two ways to say it. */
export type Annotation =
  | {
      readonly kind: 'STRING' | 'BSON' | 'MAP' | 'LIST' | 'DATE' | 'NULL' | 'UUID' | 'FLOAT16' | 'INTERVAL' | 'VARIANT'
    }
  | { readonly kind: 'GEOMETRY' | 'GEOGRAPHY' }
  | { readonly kind: 'DECIMAL'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'TIME'; readonly unit: TimeUnit }
  | { readonly kind: 'TIMESTAMP'; readonly unit: TimeUnit; readonly isUtc: boolean }
  | { readonly kind: 'INTEGER'; readonly bits: number; readonly isSigned: boolean }
  /** One that is younger than this reader, by its number. */
  | { readonly kind: 'UNKNOWN'; readonly number: number }

export type TimeUnit = 'MILLIS' | 'MICROS' | 'NANOS'

/** A field of a file's schema, with those below it. The root is one, too. */
export interface SchemaNode {
  readonly name: string
  /** From below the root. */
  readonly path: readonly string[]
  readonly repetition: string
  /** The physical type of a leaf; undefined for a group. */
  readonly physical: string | undefined
  /** The bytes of a FIXED_LEN_BYTE_ARRAY. */
  readonly typeLength: number
  readonly annotation: Annotation | undefined
  /** The older way alone, for readers that know no other. */
  readonly convertedType: string | undefined
  readonly fieldId: number | undefined
  readonly children: readonly SchemaNode[]
  readonly maxDefinition: number
  readonly maxRepetition: number
  /** Of a leaf, its number among all leaves, which is that of its chunk in each row group. */
  readonly leafIndex: number
}

/** One column of a row group. */
export interface ColumnChunk {
  readonly path: readonly string[]
  readonly codec: string
  readonly encodings: readonly string[]
  /** Values and gaps. */
  readonly entries: number
  /** The place of its bytes in the file. */
  readonly start: number
  readonly sizeBytes: number
  /** The file that holds it, if it is another one. */
  readonly otherFile: string | undefined
  readonly isEncrypted: boolean
}

export interface FileMetadata {
  readonly rows: number
  readonly root: SchemaNode
  readonly rowGroups: readonly {
    readonly rows: number
    /** Of all its columns, before compression. */
    readonly bytes: number
    readonly columns: readonly ColumnChunk[]
  }[]
  readonly keyValue: ReadonlyMap<string, string>
  readonly createdBy: string
}

/** Names are bytes of the file: a byte-order mark is part of them. */
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** A Thrift struct whose fields are checked when they are taken: what is damaged is an Error, never a NaN. */
class Struct {
  readonly #fields: Readonly<Record<string, unknown>>

  constructor(fields: unknown) {
    if (typeof fields !== 'object' || fields === null || Array.isArray(fields) || fields instanceof Uint8Array)
      throw new Error('a structure is damaged')
    this.#fields = fields as Readonly<Record<string, unknown>>
  }

  static read(reader: Reader): Struct {
    return new Struct(readStruct(reader))
  }

  /** The numbers of the fields that are there. */
  get ids(): number[] {
    return Object.keys(this.#fields).map(name => Number(name.slice('field_'.length)))
  }

  number(id: number): number | undefined {
    const value = this.#fields[`field_${id}`]
    if (value === undefined) return undefined
    const number = typeof value === 'bigint' ? Number(value) : value
    if (!Number.isSafeInteger(number)) throw new Error('a number is damaged')
    return number as number
  }

  count(id: number): number {
    const value = this.number(id)
    if (value === undefined || value < 0) throw new Error('a count is missing or negative')
    return value
  }

  boolean(id: number): boolean | undefined {
    const value = this.#fields[`field_${id}`]
    if (value !== undefined && typeof value !== 'boolean') throw new Error('a flag is damaged')
    return value
  }

  text(id: number): string | undefined {
    const value = this.#fields[`field_${id}`]
    return value === undefined ? undefined : textOf(value)
  }

  struct(id: number): Struct | undefined {
    const value = this.#fields[`field_${id}`]
    return value === undefined ? undefined : new Struct(value)
  }

  list(id: number): readonly unknown[] | undefined {
    const value = this.#fields[`field_${id}`]
    if (value !== undefined && !Array.isArray(value)) throw new Error('a list is damaged')
    return value
  }

  /** The name of a number of an enumeration. */
  named(id: number, names: readonly string[]): string | undefined {
    const value = this.number(id)
    return value === undefined ? undefined : nameOf(value, names)
  }
}

function textOf(value: unknown): string {
  if (!(value instanceof Uint8Array)) throw new Error('a text is damaged')
  return decoder.decode(value)
}

/** Returns a name; the number where it is younger than this reader, so that it can be refused by it. */
function nameOf(value: unknown, names: readonly string[]): string {
  return names[value as number] ?? `number ${String(value)}`
}

/** FileMetaData of parquet.thrift, as far as it is of use. Throws Error if it is damaged. */
export function readFileMetadata(bytes: Uint8Array): FileMetadata {
  const file = Struct.read({ view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), offset: 0 })
  const elements = (file.list(2) ?? []).map(element => new Struct(element))
  const keyValue = (file.list(5) ?? []).map(pair => new Struct(pair))
  return {
    rows: file.count(3),
    root: schemaTree(elements),
    rowGroups: (file.list(4) ?? []).map(group => rowGroupOf(new Struct(group))),
    keyValue: new Map(keyValue.map(pair => [pair.text(1) ?? '', pair.text(2) ?? ''])),
    createdBy: file.text(6) ?? '',
  }
}

function schemaTree(elements: readonly Struct[]): SchemaNode {
  let next = 0
  let leaves = 0
  const node = (path: readonly string[], definition: number, repetition: number, isRoot: boolean): SchemaNode => {
    const element = elements[next++]
    if (element === undefined) throw new Error('the schema is cut off')
    const name = element.text(4) ?? ''
    const own = isRoot ? path : [...path, name]
    const repeats = element.named(3, FieldRepetitionTypes) ?? 'REQUIRED'
    const maxDefinition = definition + (isRoot || repeats === 'REQUIRED' ? 0 : 1)
    const maxRepetition = repetition + (!isRoot && repeats === 'REPEATED' ? 1 : 0)
    const children: SchemaNode[] = []
    const count = element.number(5) ?? 0
    for (let i = 0; i < count; i++) children.push(node(own, maxDefinition, maxRepetition, false))
    const physical = count > 0 || isRoot ? undefined : element.named(1, ParquetTypes)
    return {
      name,
      path: own,
      repetition: isRoot ? 'REQUIRED' : repeats,
      physical,
      typeLength: element.number(2) ?? 0,
      annotation: annotationOf(element),
      convertedType: element.named(6, ConvertedTypes),
      fieldId: element.number(9),
      children,
      maxDefinition,
      maxRepetition,
      leafIndex: physical === undefined ? -1 : leaves++,
    }
  }
  const root = node([], 0, 0, true)
  if (next !== elements.length) throw new Error('the schema has fields that belong nowhere')
  return root
}

/** Returns the annotation: by the older converted type where the logical one is missing, or younger than this reader. */
function annotationOf(element: Struct): Annotation | undefined {
  const logical = element.struct(10)
  const known = logical === undefined ? undefined : logicalType(logical)
  if (known !== undefined && known.kind !== 'UNKNOWN') return known
  return convertedType(element) ?? known
}

/** The members of LogicalType that say nothing more, by their numbers. */
const PLAIN_LOGICAL_TYPES = {
  1: 'STRING',
  2: 'MAP',
  3: 'LIST',
  4: 'STRING', // ENUM
  6: 'DATE',
  11: 'NULL',
  12: 'STRING', // JSON
  13: 'BSON',
  14: 'UUID',
  15: 'FLOAT16',
  16: 'VARIANT',
  17: 'GEOMETRY',
  18: 'GEOGRAPHY',
} as const

function logicalType(union: Struct): Annotation | undefined {
  const [number] = union.ids
  if (number === undefined) return undefined
  const type = union.struct(number)!
  if (number === 5) return { kind: 'DECIMAL', scale: type.number(1) ?? 0, precision: type.number(2) ?? 0 }
  if (number === 7) return { kind: 'TIME', unit: timeUnit(type) }
  if (number === 8) return { kind: 'TIMESTAMP', unit: timeUnit(type), isUtc: type.boolean(1) ?? false }
  if (number === 10) return { kind: 'INTEGER', bits: type.number(1) ?? 0, isSigned: type.boolean(2) ?? true }
  const kind = PLAIN_LOGICAL_TYPES[number as keyof typeof PLAIN_LOGICAL_TYPES]
  return kind === undefined ? { kind: 'UNKNOWN', number } : { kind }
}

function timeUnit(type: Struct): TimeUnit {
  const [number = 0] = type.struct(2)?.ids ?? []
  const unit = (['MILLIS', 'MICROS', 'NANOS'] as const)[number - 1]
  if (unit === undefined) throw new Error('a time has no unit that is known')
  return unit
}

function convertedType(element: Struct): Annotation | undefined {
  const name = element.named(6, ConvertedTypes)
  const integer = /^(U?)INT_(\d+)$/.exec(name ?? '')
  if (integer !== null) return { kind: 'INTEGER', bits: Number(integer[2]), isSigned: integer[1] === '' }
  switch (name) {
    case undefined:
      return undefined
    case 'UTF8':
    case 'ENUM':
    case 'JSON':
      return { kind: 'STRING' }
    case 'MAP':
    case 'MAP_KEY_VALUE':
      return { kind: 'MAP' }
    case 'LIST':
    case 'DATE':
    case 'BSON':
    case 'INTERVAL':
      return { kind: name }
    case 'DECIMAL':
      return { kind: 'DECIMAL', scale: element.number(7) ?? 0, precision: element.number(8) ?? 0 }
    case 'TIME_MILLIS':
    case 'TIME_MICROS':
      return { kind: 'TIME', unit: name === 'TIME_MILLIS' ? 'MILLIS' : 'MICROS' }
    case 'TIMESTAMP_MILLIS':
    case 'TIMESTAMP_MICROS':
      return { kind: 'TIMESTAMP', unit: name === 'TIMESTAMP_MILLIS' ? 'MILLIS' : 'MICROS', isUtc: true }
    default:
      return { kind: 'UNKNOWN', number: element.number(6)! }
  }
}

function rowGroupOf(group: Struct): FileMetadata['rowGroups'][number] {
  return {
    rows: group.count(3),
    bytes: group.number(2) ?? 0,
    columns: (group.list(1) ?? []).map(chunk => chunkOf(new Struct(chunk))),
  }
}

function chunkOf(chunk: Struct): ColumnChunk {
  const meta = chunk.struct(3)
  const isEncrypted = chunk.struct(8) !== undefined
  if (meta === undefined && !isEncrypted) throw new Error('a column chunk is not described')
  const otherFile = chunk.text(1)
  const data = meta?.number(9) ?? 0
  const dictionary = meta?.number(11) ?? 0
  return {
    path: (meta?.list(3) ?? chunk.struct(8)?.struct(2)?.list(1) ?? []).map(textOf),
    codec: meta?.named(4, CompressionCodecs) ?? '',
    encodings: (meta?.list(2) ?? []).map(encoding => nameOf(encoding, Encodings)),
    entries: meta?.count(5) ?? 0,
    start: dictionary > 0 ? Math.min(dictionary, data) : data,
    sizeBytes: meta?.count(7) ?? 0,
    otherFile: otherFile === '' ? undefined : otherFile,
    isEncrypted,
  }
}

/** A page's header, in the words of parquet.thrift. Sizes are in bytes. */
export interface PageHeader {
  readonly type: string
  readonly uncompressedSize: number
  readonly compressedSize: number
  /** CRC-32 of the page as it is stored, behind its header, where its writer gave one. */
  readonly crc: number | undefined
  readonly data: DataPageHeader | undefined
  readonly dictionary: { readonly values: number; readonly encoding: string } | undefined
}

export interface DataPageHeader {
  readonly version: 1 | 2
  /** Values and gaps. */
  readonly entries: number
  readonly encoding: string
  /** Of version 1. */
  readonly definitionEncoding: string
  readonly repetitionEncoding: string
  /** Of version 2, where the levels are not compressed. */
  readonly definitionSize: number
  readonly repetitionSize: number
  readonly isCompressed: boolean
}

/** Reads a page header and leaves the reader behind it. Throws Error if it is damaged. */
export function readPageHeader(reader: Reader): PageHeader {
  const header = Struct.read(reader)
  const dictionary = header.struct(7)
  const crc = header.number(4)
  return {
    type: header.named(1, PageTypes) ?? '',
    uncompressedSize: header.count(2),
    compressedSize: header.count(3),
    crc: crc === undefined ? undefined : crc >>> 0,
    data: dataPageHeader(header.struct(5), header.struct(8)),
    dictionary:
      dictionary === undefined
        ? undefined
        : { values: dictionary.count(1), encoding: dictionary.named(2, Encodings) ?? '' },
  }
}

function dataPageHeader(v1: Struct | undefined, v2: Struct | undefined): DataPageHeader | undefined {
  if (v1 !== undefined) {
    return {
      version: 1,
      entries: v1.count(1),
      encoding: v1.named(2, Encodings) ?? '',
      definitionEncoding: v1.named(3, Encodings) ?? '',
      repetitionEncoding: v1.named(4, Encodings) ?? '',
      definitionSize: 0,
      repetitionSize: 0,
      isCompressed: true,
    }
  }
  if (v2 === undefined) return undefined
  return {
    version: 2,
    entries: v2.count(1),
    encoding: v2.named(4, Encodings) ?? '',
    definitionEncoding: 'RLE',
    repetitionEncoding: 'RLE',
    definitionSize: v2.count(5),
    repetitionSize: v2.count(6),
    isCompressed: v2.boolean(7) ?? true,
  }
}
