import type { DataType } from '../columns/types.ts'
import { type ColumnRange, rangeOf } from './column-ranges.ts'
import type { LiveFile } from './live-files.ts'
import { keepNumbers } from './log/json.ts'
import { isObject } from './log/shapes.ts'

/** Numbers with more digits than a double has. */
const LONG_NUMBER = /\d{16}/

/** A column that statistics are of. */
export interface StatisticsColumn {
  readonly type: DataType
  /** Physical names, from the top. */
  readonly path: readonly string[]
}

/** The facts that are known of the values of columns in some rows. */
export interface Statistics {
  /** True if a column has no value but NULL. */
  isAllNull(column: StatisticsColumn): boolean
  /** False if a column has no NULL. */
  hasNull(column: StatisticsColumn): boolean
  range(column: StatisticsColumn): ColumnRange
}

/** The statistics of a file in the log, which are parsed when they are first asked for. */
export class LoggedStatistics implements Statistics {
  readonly #file: LiveFile
  #parsed: Readonly<Record<string, unknown>> | undefined

  constructor(file: LiveFile) {
    this.#file = file
  }

  isAllNull({ path }: StatisticsColumn): boolean {
    const { rows } = this.#file
    return rows !== undefined && rows > 0 && this.nullCount({ path }) === rows
  }

  hasNull({ path }: StatisticsColumn): boolean {
    return this.nullCount({ path }) !== 0
  }

  /** The rows in which a column is NULL; undefined if the log does not say. */
  nullCount({ path }: Pick<StatisticsColumn, 'path'>): number | undefined {
    const count = this.#of('nullCount', path)
    return typeof count === 'number' ? count : undefined
  }

  range({ type, path }: StatisticsColumn): ColumnRange {
    return rangeOf(type, this.#of('minValues', path), this.#of('maxValues', path))
  }

  /** One of a column's: JSON, or undefined. */
  #of(kind: 'minValues' | 'maxValues' | 'nullCount', path: readonly string[]): unknown {
    this.#parsed ??= parsedStats(this.#file.stats)
    let at: unknown = this.#parsed[kind]
    for (const name of path) at = isObject(at) && Object.hasOwn(at, name) ? at[name] : undefined
    return at
  }
}

function parsedStats(text: string | null | undefined): Readonly<Record<string, unknown>> {
  try {
    const json: unknown = LONG_NUMBER.test(text ?? '')
      ? JSON.parse(text ?? '{}', keepNumbers as never)
      : JSON.parse(text ?? '{}')
    return isObject(json) ? json : {}
  } catch {
    return {}
  }
}
