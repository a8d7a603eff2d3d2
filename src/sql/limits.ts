import { availableParallelism, totalmem } from 'node:os'
import { durationText, sizeText } from '../core/units.ts'
import { SqlError } from './errors.ts'

/** The limits of a statement. */
export interface SqlLimits {
  /** From its arrival to its end, waiting for its turn included; Infinity: as long as it takes. */
  readonly timeoutMs: number
  /** The memory of the engine; beyond it, it spills to the disk as far as it can. */
  readonly memoryBytes: number
  /** The text of its result. */
  readonly resultBytes: number
}

const DEFAULT_TIMEOUT_MS = 10 * 60_000
const DEFAULT_RESULT_BYTES = 2e9
const DEFAULT_MEMORY_BYTES_MAX = 4e9
/** Bytes that a process takes beside what the engine counts: Bun, the engine's code, batches on their way into the result. */
const BASE_BYTES = 384e6
const SLACK = 1.25

/**
 * The number of statements of a server that run at once, each in a process of its own: a quick one need not wait for a slow one,
 * and one that is ended takes no other along. Further ones wait, for more would only take each other's memory and disk.
 */
export const PROCESSES_MAX = Math.min(4, Math.max(2, availableParallelism()))
/** The number of statements that may wait for their turn. */
export const WAITING_MAX = 64

/** The machine's memory, or that of the container that we are in. */
function machineBytes(): number {
  const constrained = process.constrainedMemory()
  const total = totalmem()
  return constrained > 0 && constrained < total ? constrained : total
}

/** The memory of one statement where `atOnce` may run: half of the machine's for all of them, and not more than 4 GB each. */
export function defaultMemoryBytes(atOnce: number): number {
  return Math.trunc(Math.min(DEFAULT_MEMORY_BYTES_MAX, machineBytes() / 2 / atOnce))
}

/** The limits of a server's statements where nothing else was said. */
export function serverLimits(): SqlLimits {
  return {
    timeoutMs: DEFAULT_TIMEOUT_MS,
    memoryBytes: defaultMemoryBytes(PROCESSES_MAX),
    resultBytes: DEFAULT_RESULT_BYTES,
  }
}

/** Returns the memory at which a process is ended, as it took more than the engine counted. */
export function processBytesMax({ memoryBytes }: Pick<SqlLimits, 'memoryBytes'>): number {
  return memoryBytes * SLACK + BASE_BYTES
}

export function overTime({ timeoutMs }: Pick<SqlLimits, 'timeoutMs'>, hadBegun: boolean): SqlError {
  const limit = durationText(timeoutMs)
  return new SqlError(
    'limit',
    hadBegun
      ? `the statement was ended after ${limit}, the longest that --query-timeout allows`
      : `the statement waited ${limit} for its turn, the longest that --query-timeout allows, as others are still running; try again later`,
  )
}

export function overMemory({ memoryBytes }: Pick<SqlLimits, 'memoryBytes'>): SqlError {
  return new SqlError(
    'limit',
    `the statement needs more memory than --query-memory allows (${sizeText(memoryBytes)}); ask for less at once, or allow it more`,
  )
}

export function overResult({ resultBytes }: Pick<SqlLimits, 'resultBytes'>): SqlError {
  return new SqlError(
    'limit',
    `the result is larger than --query-result allows (${sizeText(resultBytes)}); ask for fewer rows, or allow it more`,
  )
}

export function tooMany(running: number, waiting: number): SqlError {
  return new SqlError(
    'limit',
    `${running} statements are running and ${waiting} wait for their turn, and no more may; try again later`,
  )
}

/** The engine's words about a limit that we set it, in those of whoever set it; any other error as it is. */
export function inWordsOfLimits(error: SqlError, limits: Pick<SqlLimits, 'memoryBytes'>): SqlError {
  if (!/^Out of Memory Error/.test(error.message)) return error
  if (!/max_temp_directory_size/.test(error.message)) {
    const { code, message } = overMemory(limits)
    return new SqlError(code, message, { cause: error })
  }
  return new SqlError(
    'limit',
    `the statement needs more than --query-memory allows (${sizeText(limits.memoryBytes)}), and beyond that more than half of the free disk space for what does not fit; ask for less at once, or allow it more`,
    { cause: error },
  )
}
