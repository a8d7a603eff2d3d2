import { appendFileSync, copyFileSync, mkdirSync, statSync, truncateSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Clock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { counted } from '../core/units.ts'
import { stateHome } from '../core/xdg.ts'
import type { FsError } from '../fs/filesystem.ts'
import type { NewVersion } from '../lake.ts'

export type LogSentence = (sentence: string) => void

const LOG_BYTES_MAX = 5 << 20
const SENTENCE_CHARS_MAX = 8000
/** The time that a refusal is remembered, which is told in two ways: as one of a call, and as one for `.errors`. */
const SAME_MS = 2000
const RECENT_MAX = 50
const CAUSES_MAX = 5

/** The log of a table's server in the background; its folder is made if it is missing. */
export function logPath(location: string): string {
  const directory = join(stateHome(), 'log')
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  return join(directory, `${basename(location)}-${Bun.hash.crc32(location).toString(16)}.log`)
}

/**
 * Writes sentences into a file, each with its time. A file that has grown to `bytesMax` becomes `<path>.1`, in place of the
 * one before: by copying, as the process's own standard error goes on into the same file.
 */
export function fileLog(path: string, bytesMax: number = LOG_BYTES_MAX): LogSentence {
  let bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  return sentence => {
    try {
      if (bytes >= bytesMax) {
        copyFileSync(path, `${path}.1`)
        truncateSync(path)
        bytes = 0
      }
      const line = logLine(sentence)
      appendFileSync(path, line, { mode: 0o600 })
      bytes += Buffer.byteLength(line)
    } catch {
      // A full disk under the log must not end the server; the sentence is lost.
    }
  }
}

/** A line of a log: control characters may stand in data that a sentence quotes, and would act on a terminal. */
export function logLine(sentence: string): string {
  const plain = sentence.replace(/[^\P{Cc}\n]/gu, ' ').trimEnd()
  const text = plain.length > SENTENCE_CHARS_MAX ? `${plain.slice(0, SENTENCE_CHARS_MAX).toWellFormed()}…` : plain
  return `${new Date().toISOString()} ${text}\n`
}

/** A commit in a sentence: its version, operation, rows, and how long it took, or who made it. `isSql`: a statement of ours did. */
export function versionSentence(
  { version, operation, metrics, engine, durationMs }: NewVersion,
  isSql = false,
): string {
  const rows = ROW_COUNTS.flatMap(([word, ...names]) => {
    const count = Number(metrics[names.find(name => metrics[name] !== undefined) ?? ''] ?? 0)
    return count > 0 ? [`${counted(count, 'row')} ${word}`] : []
  })
  const what = [`version ${version}: ${operation}`, ...rows].join(', ')
  if (durationMs !== undefined) return `${what}, in ${Math.max(1, Math.round(durationMs))} ms`
  if (isSql) return `${what}, by SQL`
  return `${what}, by another process (${engine ?? 'it does not say which engine'})`
}

/** The counts of commitInfo's metrics by their names, the first of those that are there; see PROTOCOL.md, "Commit Provenance Information". */
const ROW_COUNTS: readonly (readonly [string, ...string[]])[] = [
  ['inserted', 'numTargetRowsInserted', 'numOutputRows'],
  ['updated', 'numTargetRowsUpdated', 'numUpdatedRows'],
  ['deleted', 'numTargetRowsDeleted', 'numDeletedRows'],
]

/** An error and what it came from, in one sentence. */
export function causesOf(error: unknown): string {
  const sentences: string[] = []
  let at: unknown = error
  for (let depth = 0; depth < CAUSES_MAX && at !== undefined; depth++) {
    const sentence = messageOf(at)
    if (!sentences.some(known => known.includes(sentence))) sentences.push(sentence)
    at = at instanceof Error ? at.cause : undefined
  }
  return sentences.join(': ')
}

/** Tells of refusals, each once: a refused save is heard of from its call and from `.errors`. */
export class RefusalLog {
  readonly #log: LogSentence
  readonly #clock: Clock
  #recent: { sentence: string; ms: number }[] = []

  constructor(log: LogSentence, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  call(call: string, error: FsError): void {
    this.#tell(causesOf(error), sentence => `${call} was refused (${error.code}): ${sentence}`)
  }

  save(sentence: string): void {
    this.#tell(sentence, text => `refused: ${text}`)
  }

  #tell(sentence: string, line: (sentence: string) => string): void {
    const ms = this.#clock.nowMs()
    this.#recent = this.#recent.filter(known => ms - known.ms < SAME_MS).slice(-RECENT_MAX)
    if (this.#recent.some(known => known.sentence.includes(sentence) || sentence.includes(known.sentence))) return
    this.#recent.push({ sentence, ms })
    this.#log(line(sentence))
  }
}
