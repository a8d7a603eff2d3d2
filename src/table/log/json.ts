import { messageOf } from '../../core/errors.ts'
import { keepLargeIntegers, rawNumber } from '../../core/raw-json.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { TableError } from '../errors.ts'
import { type Action, checkAction } from './actions/index.ts'
import { repeatedMember } from './members.ts'
import { isObject, shown } from './shapes.ts'

const LF = 0x0a
/** A commit may name any number of files; so much of it is in memory besides its actions. */
const PIECE_BYTES = 8 << 20
/** One action: the largest there are hold a table's whole schema, or a stream's state. */
const LINE_BYTES_MAX = 32 << 20

/**
 * Reads a commit file, or a checkpoint in JSON, piece by piece, or at once if it is known to be small. StorageError; TableError
 * `corrupt_log` names file and line.
 */
export async function readActions(store: ObjectStore, path: string, sizeBytes?: number): Promise<Action[]> {
  const parser = new CommitParser(`${store.location}/${path}`)
  if (sizeBytes !== undefined && sizeBytes < PIECE_BYTES) {
    parser.push(await store.read(path))
    return parser.finish()
  }
  for (let at = 0; ; at += PIECE_BYTES) {
    const piece = await store.read(path, at, at + PIECE_BYTES)
    parser.push(piece)
    if (piece.length < PIECE_BYTES) return parser.finish()
  }
}

/** Makes actions of the bytes of a commit file, which come in any pieces. */
class CommitParser {
  readonly #name: string
  readonly #decoder = new TextDecoder('utf-8', { fatal: true })
  readonly #actions: Action[] = []
  /** The line that has begun and is not there as a whole yet. */
  #begun: Uint8Array[] = []
  #begunBytes = 0
  #line = 1

  constructor(name: string) {
    this.#name = name
  }

  push(bytes: Uint8Array): void {
    let start = 0
    for (let end = bytes.indexOf(LF); end >= 0; end = bytes.indexOf(LF, start)) {
      this.#begin(bytes.subarray(start, end))
      this.#endLine()
      start = end + 1
    }
    this.#begin(bytes.subarray(start))
  }

  finish(): Action[] {
    this.#endLine()
    if (this.#actions.length === 0) throw new TableError('corrupt_log', `${this.#name}: the log entry is empty`)
    return this.#actions
  }

  #begin(part: Uint8Array): void {
    if (part.length === 0) return
    this.#begun.push(part)
    this.#begunBytes += part.length
    if (this.#begunBytes > LINE_BYTES_MAX)
      throw this.#bad(`the line is longer than ${LINE_BYTES_MAX >> 20} MiB; no action of a table is`)
  }

  #endLine(): void {
    if (this.#begun.length > 0) {
      const bytes = this.#begun.length === 1 ? this.#begun[0]! : Buffer.concat(this.#begun)
      this.#begun = []
      this.#begunBytes = 0
      this.#parse(bytes)
    }
    this.#line++
  }

  #parse(bytes: Uint8Array): void {
    let line: string
    try {
      line = this.#decoder.decode(bytes)
    } catch (cause) {
      throw this.#bad('the log entry is not UTF-8', cause)
    }
    if (line.trim() === '') return
    let action: unknown
    try {
      action = /\d{16}/.test(line) ? JSON.parse(line, keepLargeIntegers as never) : JSON.parse(line)
    } catch (cause) {
      throw this.#bad(`the log entry is not JSON: ${shown(messageOf(cause))}`, cause)
    }
    if (!isObject(action)) throw this.#bad('an action is a JSON object')
    const repeated = repeatedMember(bytes, line, action)
    if (repeated !== undefined) throw this.#bad(`the member ${shown(repeated)} is there twice`)
    checkAction(action, () => `${this.#name}, line ${this.#line}`)
    this.#actions.push(action)
  }

  #bad(what: string, cause?: unknown): TableError {
    return new TableError('corrupt_log', `${this.#name}, line ${this.#line}: ${what}`, { cause })
  }
}

/** For JSON.parse: every number stays as it is spelled. Decimals and longs have more digits than a double. */
export function keepNumbers(_key: string, value: unknown, context: { source: string }): unknown {
  return typeof value === 'number' ? rawNumber(context.source) : value
}

/** The bytes of a commit file: one action a line. */
export function formatCommit(actions: readonly Action[]): Uint8Array {
  return new TextEncoder().encode(`${actions.map(action => JSON.stringify(action)).join('\n')}\n`)
}
