import { messageOf } from '../../core/errors.ts'
import { TableError } from '../errors.ts'

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

/** Parses a commit file. TableError `corrupt_log` names the file and the line. */
export function parseCommit(bytes: Uint8Array, name: string): Action[] {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new TableError('corrupt_log', `${name}: the log entry is not UTF-8`, { cause })
  }
  const actions: Action[] = []
  for (const [i, line] of text.split('\n').entries()) {
    if (line.trim() === '') continue
    const action = parseLine(line, `${name}, line ${i + 1}`)
    checkAction(action, `${name}, line ${i + 1}`)
    actions.push(action)
  }
  if (actions.length === 0) throw new TableError('corrupt_log', `${name}: the log entry is empty`)
  return actions
}

function parseLine(line: string, where: string): Action {
  try {
    const value: unknown = /\d{16}/.test(line) ? JSON.parse(line, keepLargeIntegers as never) : JSON.parse(line)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  } catch (cause) {
    throw new TableError('corrupt_log', `${where}: the log entry is not JSON: ${messageOf(cause)}`, { cause })
  }
  throw new TableError('corrupt_log', `${where}: an action is a JSON object`)
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

/** Refuses actions that lack what everything rests on: TableError `corrupt_log` that begins with `where`. */
export function checkAction(action: Action, where: string): void {
  const bad = (what: string): never => {
    throw new TableError('corrupt_log', `${where}: ${what}`)
  }
  if (action.add) {
    const { path, size, modificationTime } = action.add
    if (typeof path !== 'string' || !isCount(size)) bad('an add action has no path or size')
    if (!Number.isSafeInteger(modificationTime)) bad('an add action has no modificationTime')
    checkVector(action.add.deletionVector, bad)
  }
  if (action.remove) {
    if (typeof action.remove.path !== 'string') bad('a remove action has no path')
    checkVector(action.remove.deletionVector, bad)
  }
  if (action.metaData && typeof action.metaData.schemaString !== 'string')
    bad('the metaData action has no schemaString')
  if (action.protocol && typeof action.protocol.minReaderVersion !== 'number')
    bad('the protocol action has no minReaderVersion')
}

function checkVector(descriptor: DeletionVectorDescriptor | null | undefined, bad: (what: string) => never): void {
  if (descriptor === null || descriptor === undefined) return
  const { storageType, pathOrInlineDv, offset, sizeInBytes, cardinality } = descriptor
  if (typeof storageType !== 'string' || typeof pathOrInlineDv !== 'string') bad('a deletion vector has no place')
  if (!isCount(sizeInBytes) || !isCount(cardinality) || !isCount(offset ?? 0))
    bad('a deletion vector has no size, cardinality or offset')
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** The bytes of a commit file: one action a line. */
export function formatCommit(actions: readonly Action[]): Uint8Array {
  return new TextEncoder().encode(`${actions.map(action => JSON.stringify(action)).join('\n')}\n`)
}
