import { messageOf } from '../../core/errors.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { TableError } from '../errors.ts'
import { repeatedMember } from './members.ts'
import {
  count,
  flag,
  integer,
  isObject,
  listOf,
  mapOf,
  oneOf,
  optional,
  type Shape,
  shown,
  smallCount,
  struct,
  text,
  time,
} from './shapes.ts'

/** The actions of the log in the spelling of PROTOCOL.md ("Actions"), with what else stands in them. */
export interface DeletionVectorDescriptor {
  readonly storageType: 'u' | 'i' | 'p'
  readonly pathOrInlineDv: string
  readonly offset?: number
  readonly sizeInBytes: number
  readonly cardinality: number
}

export interface AddAction {
  readonly path: string
  readonly partitionValues: Readonly<Record<string, string | null>>
  readonly size: number
  readonly modificationTime: number
  readonly dataChange: boolean
  readonly stats?: string
  readonly tags?: Readonly<Record<string, string>> | null
  readonly deletionVector?: DeletionVectorDescriptor | null
  readonly [other: string]: unknown
}

export interface RemoveAction {
  readonly path: string
  readonly deletionTimestamp?: number
  readonly dataChange: boolean
  readonly extendedFileMetadata?: boolean
  readonly partitionValues?: Readonly<Record<string, string | null>> | null
  readonly size?: number
  readonly deletionVector?: DeletionVectorDescriptor | null
  readonly [other: string]: unknown
}

export interface MetadataAction {
  readonly id: string
  readonly name?: string | null
  readonly description?: string | null
  readonly format: { readonly provider: string; readonly options: Readonly<Record<string, string>> }
  readonly schemaString: string
  readonly partitionColumns: readonly string[]
  readonly configuration: Readonly<Record<string, string>>
  readonly createdTime?: number
}

export interface ProtocolAction {
  readonly minReaderVersion: number
  readonly minWriterVersion: number
  readonly readerFeatures?: readonly string[] | null
  readonly writerFeatures?: readonly string[] | null
}

export interface TxnAction {
  readonly appId: string
  readonly version: number
  readonly lastUpdated?: number | null
}

export interface DomainMetadataAction {
  readonly domain: string
  readonly configuration: string
  readonly removed: boolean
}

export interface CommitInfoAction {
  readonly timestamp?: number
  readonly operation?: string
  readonly operationParameters?: Readonly<Record<string, unknown>>
  readonly operationMetrics?: Readonly<Record<string, unknown>>
  readonly engineInfo?: string
  readonly txnId?: string
  readonly inCommitTimestamp?: number
  readonly [other: string]: unknown
}

export interface SidecarAction {
  readonly path: string
}

/** One line of a commit or one row of a checkpoint: at most one of these is set. */
export interface Action {
  readonly add?: AddAction | null
  readonly remove?: RemoveAction | null
  readonly metaData?: MetadataAction | null
  readonly protocol?: ProtocolAction | null
  readonly txn?: TxnAction | null
  readonly domainMetadata?: DomainMetadataAction | null
  readonly commitInfo?: CommitInfoAction | null
  readonly sidecar?: SidecarAction | null
}

type RawJson = typeof JSON & { rawJSON(text: string): unknown }

const LF = 0x0a
/** A commit may name any number of files; so much of it is in memory besides its actions. */
const PIECE_BYTES = 8 << 20
/** One action: the largest there are hold a table's whole schema, or a stream's state. */
const LINE_BYTES_MAX = 32 << 20

/** Parses a commit file. TableError `corrupt_log` names the file and the line. */
export function parseCommit(bytes: Uint8Array, name: string): Action[] {
  const parser = new CommitParser(name)
  parser.push(bytes)
  return parser.finish()
}

/** Reads a commit file, or a checkpoint in JSON, piece by piece. StorageError; TableError `corrupt_log` names file and line. */
export async function readActions(store: ObjectStore, path: string): Promise<Action[]> {
  const parser = new CommitParser(`${store.location}/${path}`)
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
    checkAction(action, `${this.#name}, line ${this.#line}`)
    this.#actions.push(action)
  }

  #bad(what: string, cause?: unknown): TableError {
    return new TableError('corrupt_log', `${this.#name}, line ${this.#line}: ${what}`, { cause })
  }
}

/** An integer that a double cannot hold is written back as it was read. */
function keepLargeIntegers(_key: string, value: unknown, context: { source: string }): unknown {
  if (typeof value !== 'number' || Number.isSafeInteger(value) || !/^-?\d+$/.test(context.source)) return value
  return rawNumber(context.source)
}

/** A number that JSON.stringify writes as it was read, with all its digits. */
export function rawNumber(source: string): unknown {
  return (JSON as RawJson).rawJSON(source)
}

/** For JSON.parse: every number stays as it is spelled. Decimals and longs have more digits than a double. */
export function keepNumbers(_key: string, value: unknown, context: { source: string }): unknown {
  return typeof value === 'number' ? rawNumber(context.source) : value
}

const vectorShape = struct({
  storageType: oneOf('u', 'i', 'p'),
  pathOrInlineDv: text,
  offset: optional(smallCount),
  sizeInBytes: smallCount,
  cardinality: count,
})

/** What the members that we use must be (PROTOCOL.md, "Actions"). commitInfo is free text of whoever committed. */
const SHAPES: Readonly<Record<string, Shape>> = {
  add: struct({
    path: text,
    partitionValues: optional(mapOf(optional(text))),
    size: count,
    modificationTime: time,
    dataChange: optional(flag),
    stats: optional(text),
    tags: optional(mapOf(optional(text))),
    deletionVector: optional(vectorShape),
    baseRowId: optional(integer),
    defaultRowCommitVersion: optional(integer),
    clusteringProvider: optional(text),
  }),
  remove: struct({
    path: text,
    deletionTimestamp: optional(time),
    dataChange: optional(flag),
    extendedFileMetadata: optional(flag),
    partitionValues: optional(mapOf(optional(text))),
    size: optional(integer),
    tags: optional(mapOf(optional(text))),
    deletionVector: optional(vectorShape),
  }),
  metaData: struct({
    id: text,
    name: optional(text),
    description: optional(text),
    format: optional(struct({ provider: text, options: optional(mapOf(optional(text))) })),
    schemaString: text,
    partitionColumns: optional(listOf(text)),
    configuration: optional(mapOf(optional(text))),
    createdTime: optional(time),
  }),
  protocol: struct({
    minReaderVersion: smallCount,
    minWriterVersion: smallCount,
    readerFeatures: optional(listOf(text)),
    writerFeatures: optional(listOf(text)),
  }),
  txn: struct({ appId: text, version: integer, lastUpdated: optional(time) }),
  domainMetadata: struct({ domain: text, configuration: text, removed: flag }),
  sidecar: struct({ path: text }),
}

/** Refuses an action with a member of the wrong type: TableError `corrupt_log` that begins with `where`. */
export function checkAction(action: Action, where: string): void {
  for (const [kind, value] of Object.entries(action)) {
    if (value === null || value === undefined || !Object.hasOwn(SHAPES, kind)) continue
    const complaint = SHAPES[kind]!(value, kind)
    if (complaint !== undefined) throw new TableError('corrupt_log', `${where}: ${complaint}`)
  }
}

/** The bytes of a commit file: one action a line. */
export function formatCommit(actions: readonly Action[]): Uint8Array {
  return new TextEncoder().encode(`${actions.map(action => JSON.stringify(action)).join('\n')}\n`)
}
