import { type ConstantValues, fetchRowGroup, readFooter, readRowGroup } from '../../src/columns/parquet/read.ts'
import type { ByteSource } from '../../src/columns/parquet/source.ts'
import { parseDdl, schemaToJson } from '../../src/columns/schema.ts'
import { SchemaInference } from '../../src/columns/text/csv.ts'
import type { Batch, Cell, DataType, Schema } from '../../src/columns/types.ts'
import { batchOf, cellAt } from '../../src/columns/vectors.ts'
import { DataFileWriter, type WrittenDataFile } from '../../src/table/data-files/data-file-writer.ts'
import type { RenderTask } from '../../src/table/workers/tasks.ts'
import { memorySource } from '../helpers/memory-source.ts'

export const encode = (text: string): Uint8Array => new TextEncoder().encode(text)
/** A byte-order mark at the start is kept: it is part of what was written. */
export const decode = (bytes: Uint8Array): string => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)

/** Numbers that are the same in every run. */
export class Random {
  #seed: number

  constructor(seed: number) {
    this.#seed = seed
  }

  /** A whole number from 0 to n - 1. */
  below(n: number): number {
    this.#seed = (Math.imul(this.#seed, 1103515245) + 12345) >>> 0
    return Math.floor((this.#seed / 2 ** 32) * n)
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!
  }
}

export const ALL_TYPES = parseDdl(
  `i8:Int8,i16:Int16,i32:Int32,i64:Int64,f32:Float32,f64:Float64,dec:Decimal(38,10),money:Decimal(9,2),mid:Decimal(18,0),
   text:String,flag:Boolean,bin:Binary,day:Date,seen:Timestamp,wall:Timestamp_ntz,
   list:array<int>,texts:array<string>,deep:array<array<bigint>>,pairs:map<string,bigint>,odd:map<int,string>,
   nested:struct<a:int,b:string,c:array<struct<x:double,y:date>>>`,
)

const TEXTS = [
  '',
  'a',
  'a,b',
  '"',
  '""',
  'two\nlines',
  'cr\rlf\r\n',
  ' blank ',
  'ü€𝄞',
  'NULL',
  '\t',
  "'",
  '\\',
  '-1',
  '\ufeffmarked',
  'x'.repeat(300),
]

/** A value of a type, extremes among them; NULL now and then. */
export function cellOf(random: Random, type: DataType, nullable = true): Cell {
  if (nullable && random.below(6) === 0) return null
  switch (type.kind) {
    case 'byte':
      return random.of([0, -128, 127, random.below(256) - 128])
    case 'short':
      return random.of([0, -32768, 32767, random.below(65536) - 32768])
    case 'integer':
      return random.of([0, -2147483648, 2147483647, random.below(1e6)])
    case 'long':
      return random.of([0n, -(2n ** 63n), 2n ** 63n - 1n, 9007199254740993n, BigInt(random.below(1e9))])
    case 'float':
      return Math.fround(
        random.of([
          0,
          -0,
          1.5,
          3.4028234663852886e38,
          1e-45,
          Number.NaN,
          Number.POSITIVE_INFINITY,
          random.below(1e6) / 7,
        ]),
      )
    case 'double':
      return random.of([0, -0, 0.1, 1e308, 5e-324, Number.NaN, Number.NEGATIVE_INFINITY, random.below(1e6) / 7])
    case 'decimal': {
      const limit = 10n ** BigInt(type.precision) - 1n
      return random.of([0n, limit, -limit, 1n, -1n, BigInt(random.below(1e6))])
    }
    case 'string':
      return random.of(TEXTS)
    case 'variant':
      return random.of(['null', '1.50', '"a,b\\n"', '[1,{"a":"ü"}]', '{}', '9223372036854775807'])
    case 'void':
      return null
    case 'boolean':
      return random.below(2) === 0
    case 'binary':
      return Uint8Array.from({ length: random.below(20) }, () => random.below(256))
    case 'date':
      return random.of([0, -1, 19_000, -719_162, 2_932_896, random.below(40_000) - 20_000])
    case 'timestamp':
    case 'timestamp_ntz':
      return random.of([
        0n,
        -1n,
        1_700_000_000_123_456n,
        -62_135_596_800_000_000n,
        253_402_300_799_999_999n,
        BigInt(random.below(1e9)),
      ])
    case 'array':
      return Array.from({ length: random.below(4) }, () => cellOf(random, type.element, type.containsNull))
    case 'map': {
      const keys = new Map<string, Cell>()
      for (let i = random.below(4); i > 0; i--) {
        const key = cellOf(random, type.key, false)
        keys.set(String(key), key)
      }
      return [...keys.values()].map(key => [key, cellOf(random, type.value, type.valueContainsNull)] as const)
    }
    case 'struct':
      return type.fields.map(field => cellOf(random, field.type, field.nullable))
  }
}

/** Rows of random values, the same in every run. */
export function randomBatch(schema: Schema, rows: number, seed: number): Batch {
  const random = new Random(seed)
  const cells = Array.from({ length: rows }, () => schema.map(field => cellOf(random, field.type, field.nullable)))
  return batchOf(
    schema.map(field => field.type),
    cells,
  )
}

export function cellsOf(batch: Batch): Cell[][] {
  return Array.from({ length: batch.rows }, (_, row) => batch.vectors.map(vector => cellAt(vector, row)))
}

/** Cells in a form that tells every two values apart: -0 from 0, a bigint from a number, bytes from a list. */
export function spelled(cell: unknown): unknown {
  if (cell instanceof Uint8Array) return `bytes ${cell.toHex()}`
  if (Array.isArray(cell)) return cell.map(spelled)
  if (typeof cell === 'bigint') return `${cell}n`
  if (typeof cell === 'number') return Object.is(cell, -0) ? '-0' : String(cell)
  return cell
}

/** A data file of batches, in memory. */
export async function written(
  schema: Schema,
  batches: readonly Batch[],
  rowGroupRows?: number,
): Promise<{ bytes: Uint8Array; file: WrittenDataFile }> {
  const pieces: Uint8Array[] = []
  const writer = new DataFileWriter(
    { write: bytes => void pieces.push(bytes) },
    schema,
    rowGroupRows === undefined ? {} : { rowGroupRows },
  )
  for (const batch of batches) await writer.write(batch)
  const file = await writer.finish()
  return { bytes: Buffer.concat(pieces), file }
}

/** What a worker needs to render a row group of a file. Rejects if the file cannot be read. */
export async function renderTask(
  source: ByteSource,
  schema: Schema,
  format: RenderTask['format'],
  { rowGroup = 0, constants }: { readonly rowGroup?: number; readonly constants?: ConstantValues } = {},
): Promise<Omit<RenderTask, 'kind'>> {
  const footer = await readFooter(source)
  const fetched = await fetchRowGroup(source, footer, rowGroup, schema, constants)
  return { rowGroup: fetched, schemaJson: schemaToJson(schema), format }
}

/** Every row of a Parquet file as a table's columns. */
export async function readRows(bytes: Uint8Array, schema: Schema): Promise<Cell[][]> {
  const source = memorySource('test.parquet', bytes)
  const footer = await readFooter(source)
  const rows: Cell[][] = []
  for (let group = 0; group < footer.rowGroups.length; group++) {
    for (const row of cellsOf(await readRowGroup(source, footer, group, schema))) rows.push(row)
  }
  return rows
}

/** The columns of CSV rows, all of them given. */
export function inferSchema(bytes: Uint8Array, names: readonly string[]): Schema {
  const inference = new SchemaInference(names)
  inference.feed(bytes)
  return inference.result()
}
