import { durationText, sizeText } from '../core/units.ts'
import { type SqlLimits, serverLimits } from '../sql/limits.ts'
import { UsageError } from './command.ts'

/** Less than this the engine cannot work with. */
const MEMORY_BYTES_MIN = 64e6

const defaults = serverLimits()

/** Flags that bound each SQL statement, of every command that runs some. */
export const statementArgs = {
  'query-timeout': {
    type: 'string',
    valueHint: 'TIME',
    description: 'The longest that a statement may run, such as 30s or 5m',
  },
  'query-memory': {
    type: 'string',
    valueHint: 'SIZE',
    description: 'The memory that a statement may take, such as 500MB',
  },
} as const

/** The same for servers, where each statement is bounded if nothing is said. */
export const serverSqlArgs = {
  'query-timeout': {
    ...statementArgs['query-timeout'],
    description: `The longest that an SQL statement may run, such as 30s, or none (default: ${durationText(defaults.timeoutMs)})`,
  },
  'query-memory': {
    ...statementArgs['query-memory'],
    description: `The memory that an SQL statement may take (default: ${sizeText(defaults.memoryBytes)} here)`,
  },
  'query-result': {
    type: 'string',
    valueHint: 'SIZE',
    description: `The largest result of an SQL statement (default: ${sizeText(defaults.resultBytes)})`,
  },
} as const

type SqlArgs = { readonly [flag in keyof typeof serverSqlArgs]?: string | undefined }

/** The limits that flags name, and no others. UsageError. */
export function sqlLimitsOf(args: SqlArgs): Partial<SqlLimits> {
  const timeoutMs = durationMsOf('query-timeout', args['query-timeout'])
  const memoryBytes = bytesOf('query-memory', args['query-memory'])
  const resultBytes = bytesOf('query-result', args['query-result'])
  if (memoryBytes !== undefined && memoryBytes < MEMORY_BYTES_MIN)
    throw new UsageError(`--query-memory takes ${sizeText(MEMORY_BYTES_MIN)} at least, not ${args['query-memory']}`)
  return {
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(memoryBytes === undefined ? {} : { memoryBytes }),
    ...(resultBytes === undefined ? {} : { resultBytes }),
  }
}

/** The flags that name these limits. */
export function sqlLimitFlags({ timeoutMs, memoryBytes, resultBytes }: Partial<SqlLimits>): string[] {
  const timeout = timeoutMs === Number.POSITIVE_INFINITY ? 'none' : `${timeoutMs}ms`
  return [
    ...(timeoutMs === undefined ? [] : ['--query-timeout', timeout]),
    ...(memoryBytes === undefined ? [] : ['--query-memory', String(memoryBytes)]),
    ...(resultBytes === undefined ? [] : ['--query-result', String(resultBytes)]),
  ]
}

const SIZE_UNITS: Readonly<Record<string, number>> = { '': 1, K: 1e3, M: 1e6, G: 1e9, T: 1e12 }

/** A size in bytes, with K, M, G or T and an optional B behind the number. UsageError. */
export function bytesOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)B?$/i.exec(text)
  if (match === null) throw new UsageError(`--${flag} takes a size such as 500MB or 10GB, not ${text}`)
  return Math.trunc(Number(match[1]) * SIZE_UNITS[match[2]!.toUpperCase()]!)
}

const TIME_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }

/** A time in milliseconds: a number with ms, s, m or h behind it, or none: Infinity. UsageError. */
function durationMsOf(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (text === 'none') return Number.POSITIVE_INFINITY
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h)$/i.exec(text)
  const ms = match === null ? 0 : Math.trunc(Number(match[1]) * TIME_UNITS[match[2]!.toLowerCase()]!)
  if (ms === 0) throw new UsageError(`--${flag} takes a time such as 30s, 5m or none, not ${text}`)
  return ms
}
