import { type Footer, readFooter, readRowGroup } from '../../columns/parquet/read.ts'
import { type ByteSource, storeSource } from '../../columns/parquet/source.ts'
import { ParquetFileWriter } from '../../columns/parquet/write.ts'
import type { Batch, Cell, DataType, Field, Schema, Vector } from '../../columns/types.ts'
import { isUtf8, joinBatches, nullVector, sliceBatch, takeRows } from '../../columns/vectors.ts'
import { discarded } from '../../core/garbage.ts'
import { upperBound } from '../../core/search.ts'
import type { ObjectStore } from '../../storage/object-store.ts'

/** Rows that wait in memory; beyond it, all of them are set aside. */
const MEMORY_BYTES = 64 << 20
/** A range of places has about so many rows, unless there would be too many ranges. */
const RANGE_ROWS = 1 << 16
const RANGES_MAX = 256
/** Rows are copied so many times until they are written. */
const GARBAGE = 3
/** A cell that is an object, roughly. */
const CELL_BYTES = 32
const DOUBLE: DataType = { kind: 'double' }

export interface SorterOptions {
  /** The types of the rows. */
  readonly types: readonly DataType[]
  /** The places of some of the rows. */
  readonly sample: Float64Array
  /** The number of all rows, as far as it is known. */
  readonly rows: number
  /** A store for what does not fit into memory. */
  readonly spill: ObjectStore
  readonly memoryBytes?: number | undefined
}

/** Rows that were set aside: a Parquet file that has a row group for each range with rows. */
interface Run {
  readonly path: string
  readonly source: ByteSource
  readonly footer: Footer
  /** The row groups, by range. */
  readonly groups: ReadonlyMap<number, number>
}

/**
 * Puts rows into the order of their places, which are whole numbers. The places are cut into ranges of about as many rows,
 * each of which is sorted in memory by itself; what waits for that is set aside when it gets too much. Rows of one place, however
 * many, stay in the order in which they came. What was set aside goes when it is disposed of.
 */
export class Sorter implements AsyncDisposable {
  readonly #types: readonly DataType[]
  readonly #schema: Schema
  readonly #spill: ObjectStore
  readonly #memoryBytes: number
  /** The first place of each range but the first. */
  readonly #bounds: Float64Array
  readonly #waiting: Batch[][]
  readonly #runs: Run[] = []
  #bytes = 0

  constructor({ types, sample, rows, spill, memoryBytes = MEMORY_BYTES }: SorterOptions) {
    this.#types = types
    // Files have no columns without a value.
    this.#schema = [...types, DOUBLE].flatMap((type, i) => (type.kind === 'void' ? [] : [columnOf(type, i)]))
    this.#spill = spill
    this.#memoryBytes = memoryBytes
    this.#bounds = boundsOf(sample, Math.min(RANGES_MAX, Math.ceil(rows / RANGE_ROWS)))
    this.#waiting = Array.from({ length: this.#bounds.length + 1 }, () => [])
  }

  /** StorageError if rows cannot be set aside. */
  async add({ rows, vectors }: Batch, places: Float64Array): Promise<void> {
    const placed = [...vectors, { type: DOUBLE, length: rows, values: places }]
    const batch = { rows, vectors: placed.filter(({ type }) => type.kind !== 'void') }
    let bytes = 0
    for (const [range, numbers] of byRange(places, this.#bounds)) {
      const part = takeRows(batch, numbers)
      this.#waiting[range]!.push(part)
      bytes += memoryOf(part)
    }
    this.#bytes += bytes
    // Those that were given are of no use any more.
    discarded(bytes)
    if (this.#bytes > this.#memoryBytes) await this.#setAside()
  }

  /** All rows in order, in batches of `rowsMax` at most. To be gone through once. */
  async *sorted(rowsMax: number): AsyncGenerator<Batch> {
    for (const range of this.#waiting.keys()) {
      if (this.#isOnePlace(range)) {
        for await (const part of this.#partsOf(range)) yield* this.#cut(part, rowsMax)
        continue
      }
      const parts: Batch[] = []
      for await (const part of this.#partsOf(range)) parts.push(part)
      const all = joinBatches(parts)
      if (all.rows === 0) continue
      const places = all.vectors.at(-1)!.values as Float64Array
      const order = Uint32Array.from(places.keys()).sort((a, b) => places[a]! - places[b]! || a - b)
      for (let start = 0; start < all.rows; start += rowsMax)
        yield this.#whole(takeRows(all, order.subarray(start, start + rowsMax)))
      discarded(GARBAGE * memoryOf(all))
    }
  }

  /** True for a range that no sorting makes smaller: of rows without a place of their own there may be any number. */
  #isOnePlace(range: number): boolean {
    return range > 0 && this.#bounds[range] === this.#bounds[range - 1]! + 1
  }

  async *#partsOf(range: number): AsyncGenerator<Batch> {
    for (const { source, footer, groups } of this.#runs) {
      const group = groups.get(range)
      if (group !== undefined) yield readRowGroup(source, footer, group, this.#schema)
    }
    const waiting = this.#waiting[range]!
    this.#waiting[range] = []
    yield* waiting
  }

  *#cut(batch: Batch, rowsMax: number): Generator<Batch> {
    for (let start = 0; start < batch.rows; start += rowsMax)
      yield this.#whole(sliceBatch(batch, start, Math.min(batch.rows, start + rowsMax)))
  }

  /** The rows as they came, without their places. */
  #whole({ rows, vectors }: Batch): Batch {
    let at = 0
    return {
      rows,
      vectors: this.#types.map(type => (type.kind === 'void' ? nullVector(type, rows) : vectors[at++]!)),
    }
  }

  async #setAside(): Promise<void> {
    const path = `${crypto.randomUUID()}.parquet`
    const groups = new Map<number, number>()
    const out = await this.#spill.create(path)
    let sizeBytes: number
    try {
      const writer = new ParquetFileWriter(out, this.#schema, {
        rowGroupRows: Number.POSITIVE_INFINITY,
        statistics: false,
      })
      for (const [range, parts] of this.#waiting.entries()) {
        if (parts.length === 0) continue
        for (const part of parts) await writer.write(part)
        await writer.endRowGroup()
        groups.set(range, groups.size)
        parts.length = 0
      }
      sizeBytes = (await writer.finish()).sizeBytes
    } catch (error) {
      await out.abort()
      throw error
    }
    await out.close()
    const source = storeSource(this.#spill, path, sizeBytes)
    this.#runs.push({ path, source, footer: await readFooter(source), groups })
    discarded(GARBAGE * this.#bytes)
    this.#bytes = 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // What stays goes with the store.
    await this.#spill.deleteMany(this.#runs.map(({ path }) => path)).catch(() => undefined)
  }
}

function columnOf(type: DataType, i: number): Field {
  return { name: `c${i}`, type, nullable: true, metadata: {} }
}

/** Places at which ranges begin, so that each has about as many of the sample, and a place of more is a range of its own. */
function boundsOf(sample: Float64Array, ranges: number): Float64Array {
  const sorted = sample.toSorted()
  const bounds = new Set<number>()
  for (let range = 1; range < ranges && sorted.length > 0; range++) {
    const place = sorted[Math.floor((range * sorted.length) / ranges)]!
    bounds.add(bounds.has(place) ? place + 1 : place)
  }
  return Float64Array.from(bounds).sort()
}

/** The numbers of the rows of each range that has some. */
function byRange(places: Float64Array, bounds: Float64Array): Map<number, number[]> {
  const rows = new Map<number, number[]>()
  for (const [row, place] of places.entries()) {
    const range = upperBound(bounds, place)
    const known = rows.get(range)
    if (known === undefined) rows.set(range, [row])
    else known.push(row)
  }
  return rows
}

/** The memory that rows take, roughly. */
function memoryOf({ vectors }: Batch): number {
  return vectors.reduce((sum, vector) => sum + bytesOf(vector), 0)
}

function bytesOf({ values, length }: Vector): number {
  if (isUtf8(values)) return values.bytes.length + 2 * values.starts.byteLength
  if (Array.isArray(values)) return values.reduce((sum: number, cell: Cell) => sum + cellBytes(cell), 0)
  return (values as Float64Array).byteLength + length
}

function cellBytes(cell: Cell): number {
  if (typeof cell === 'string') return CELL_BYTES + 2 * cell.length
  if (cell instanceof Uint8Array) return CELL_BYTES + cell.length
  if (!Array.isArray(cell)) return CELL_BYTES
  return (cell as readonly Cell[]).reduce((sum: number, inner) => sum + cellBytes(inner), CELL_BYTES)
}
