import { logicalKey, numRecords } from '../live-files.ts'
import type { TextColumn } from './action-column.ts'
import { type AddColumn, LoggedAdd } from './logged-add.ts'
import { PathIndex } from './path-index.ts'

/** Statistics begin with it, as a rule. */
const RECORDS = new TextEncoder().encode('{"numRecords":')
/** Those of 2^32. */
const DIGITS_MAX = 10
const [ZERO, COMMA, BRACE] = [0x30, 0x2c, 0x7d]
const NONE: ReadonlySet<number> = new Set()

/** The files of a checkpoint, by number. Objects are made of those that somebody asks for. */
export class LoggedFiles implements Iterable<LoggedAdd> {
  readonly size: number
  readonly #columns: readonly AddColumn[]

  constructor(columns: readonly AddColumn[]) {
    this.#columns = columns.filter(({ rows }) => rows.length > 0)
    this.size = columns.reduce((sum, { rows }) => sum + rows.length, 0)
  }

  /** A way to the files by path; undefined if paths must be looked at one by one: one is not plain, or there twice. */
  index(): FileIndex | undefined {
    const columns = this.#columns
    const index = PathIndex.of(columns.map(column => ({ rows: column.rows, paths: column.paths! })))
    return index && new FileIndex(columns, index)
  }

  [Symbol.iterator](): Generator<LoggedAdd> {
    return this.without(NONE)
  }

  /** Those whose numbers are not among these. */
  *without(numbers: ReadonlySet<number>): Generator<LoggedAdd> {
    let number = 0
    for (const column of this.#columns)
      for (const row of column.rows) if (!numbers.has(number++)) yield new LoggedAdd(column, row)
  }

  /** Those of them that have a deletion vector. */
  *withVectors(without: ReadonlySet<number>): Generator<LoggedAdd> {
    let number = 0
    for (const column of this.#columns)
      for (const row of column.rows)
        if (!without.has(number++) && column.vector(row) !== undefined) yield new LoggedAdd(column, row)
  }

  /** The live rows of those; undefined if the statistics of one do not tell. */
  rows(without: ReadonlySet<number>): bigint | undefined {
    let sum = 0n
    let number = 0
    for (const { rows, stats, vector } of this.#columns) {
      if (stats === undefined && rows.length > 0) return undefined
      let records = 0
      for (let i = 0; i < rows.length; i++, number++) {
        if (without.size > 0 && without.has(number)) continue
        const row = rows[i]!
        const own = recordsOf(stats!, row)
        if (own === undefined) return undefined
        records += own - (vector(row)?.cardinality ?? 0)
      }
      sum += BigInt(records)
    }
    return sum
  }
}

/** Finds files of a checkpoint. */
export class FileIndex {
  readonly #columns: readonly AddColumn[]
  readonly #paths: PathIndex

  constructor(columns: readonly AddColumn[], paths: PathIndex) {
    this.#columns = columns
    this.#paths = paths
  }

  /** The number of a file, by the path in the store. */
  find(path: string): number | undefined {
    return this.#paths.find(path)
  }

  /** The number of a logical file. */
  findLogical(key: string): number | undefined {
    const [path] = key.split('\0', 1) as [string]
    const number = this.#paths.find(path)
    if (number === undefined) return undefined
    const { column, row } = this.#paths.placeOf(number)
    return logicalKey(path, this.#columns[column]!.vector(row)) === key ? number : undefined
  }
}

/** As `numRecords`, without a text if statistics are as they are as a rule. */
function recordsOf({ bytes, starts, ends, index }: TextColumn, row: number): number | undefined {
  const value = index === undefined ? row : index[row]!
  if (value < 0) return undefined
  const [start, end] = [starts[value]!, ends[value]!]
  const records = plainRecords(bytes, start, end)
  return records >= 0 ? records : numRecords(new TextDecoder().decode(bytes.subarray(start, end)))
}

/** Returns -1 if they are otherwise. */
function plainRecords(bytes: Uint8Array, start: number, end: number): number {
  const first = start + RECORDS.length
  if (first >= end) return -1
  for (let i = 0; i < RECORDS.length; i++) if (bytes[start + i] !== RECORDS[i]) return -1
  let records = 0
  let at = first
  for (; at < end && at - first < DIGITS_MAX; at++) {
    const digit = bytes[at]! - ZERO
    if (digit < 0 || digit > 9) break
    records = 10 * records + digit
  }
  const isWhole = at > first && at < end && (bytes[at] === COMMA || bytes[at] === BRACE)
  return isWhole && records < 2 ** 32 ? records : -1
}
