import { TextError } from '../columns/errors.ts'
import { physicalName, schemaFingerprint, schemaFromJson } from '../columns/schema.ts'
import { parsePartitionValue } from '../columns/text/partition.ts'
import { TEXT_FORMAT_VERSION } from '../columns/text/rendered.ts'
import type { Cell, Field, Schema } from '../columns/types.ts'
import { withoutMapping } from './column-mapping.ts'
import { TableError } from './errors.ts'
import type {
  Action,
  AddAction,
  CommitInfoAction,
  DeletionVectorDescriptor,
  DomainMetadataAction,
  MetadataAction,
  ProtocolAction,
  RemoveAction,
  TxnAction,
} from './log/actions.ts'
import { decodePath } from './log/paths.ts'
import { checkReadable, hasColumnMapping, isTrue } from './protocol.ts'
import { vectorId } from './vectors/store.ts'

/** Tags that posixlake puts on its files. */
export const TEXT_TAG = 'posixlake.text'
export const LIVE_TAG = 'posixlake.live'
export const ORDER_TAG = 'posixlake.order'
export const ORDER_REFS_TAG = 'posixlake.order.refs'

/** A data file of the table, with the rows that its vector leaves. */
export class LiveFile {
  /** Relative to the table, as on disk. */
  readonly path: string
  /** What tells this logical file from every other: the path and the vector. */
  readonly key: string
  readonly sizeBytes: number
  readonly modificationTime: number
  readonly vector: DeletionVectorDescriptor | undefined
  readonly add: AddAction
  readonly #partition: ReadonlyMap<string, Cell>

  constructor(add: AddAction, path: string, partition: ReadonlyMap<string, Cell>) {
    this.add = add
    this.path = path
    this.sizeBytes = add.size
    this.modificationTime = add.modificationTime
    this.vector = add.deletionVector ?? undefined
    this.key = `${path}\0${vectorId(add.deletionVector)}`
    this.#partition = partition
  }

  /** Values of the partition columns, by physical name. */
  get partition(): ReadonlyMap<string, Cell> {
    return this.#partition
  }

  /** The rows in the file, deleted ones too, if its statistics say. */
  get rows(): number | undefined {
    return numRecords(this.add.stats)
  }

  tag(name: string): string | undefined {
    return this.add.tags?.[name]
  }

  /** The paths that the file's order hint refers to. */
  get orderRefs(): readonly string[] {
    const refs = this.tag(ORDER_REFS_TAG)
    if (refs === undefined) return []
    try {
      const list: unknown = JSON.parse(refs)
      return Array.isArray(list) ? list.filter(path => typeof path === 'string') : []
    } catch {
      return []
    }
  }
}

/** `numRecords` of statistics. It stands first as a rule; columns may have that name too, and so may their bounds. */
function numRecords(stats: string | undefined): number | undefined {
  const first = /^\s*{\s*"numRecords"\s*:\s*(\d+)\s*[,}]/.exec(stats ?? '')
  if (first !== null) return Number(first[1])
  try {
    const { numRecords } = JSON.parse(stats ?? '{}') as { numRecords?: unknown }
    return Number.isSafeInteger(numRecords) && (numRecords as number) >= 0 ? (numRecords as number) : undefined
  } catch {
    return undefined
  }
}

/** The text sizes of a whole physical file as its tag gives them, for the schema of that time; undefined where there are none. */
export function fileTextSizes(
  file: LiveFile,
): { readonly schema: string; readonly csv: number; readonly jsonl: number } | undefined {
  const tag = file.tag(TEXT_TAG)
  if (tag === undefined) return undefined
  try {
    const json = JSON.parse(tag) as { v: number; schema: string; csv: number; jsonl: number }
    return json.v === TEXT_FORMAT_VERSION && Number.isSafeInteger(json.csv) && Number.isSafeInteger(json.jsonl)
      ? json
      : undefined
  } catch {
    return undefined
  }
}

export interface TableMetadata {
  readonly id: string
  readonly name: string | undefined
  readonly description: string | undefined
  readonly partitionColumns: readonly string[]
  readonly configuration: ReadonlyMap<string, string>
  readonly action: MetadataAction
}

/** One version of the table. */
export interface Snapshot {
  readonly version: bigint
  readonly timestampMs: number
  readonly protocol: ProtocolAction
  readonly metadata: TableMetadata
  readonly tableId: string
  readonly schema: Schema
  readonly partitionColumns: readonly string[]
  /** In view order: by modification time, then path. */
  readonly files: readonly LiveFile[]
  readonly state: LogState
}

/** What a snapshot carries along for the next commit and for checkpoints. */
export interface LogState {
  readonly txns: ReadonlyMap<string, TxnAction>
  readonly domains: ReadonlyMap<string, DomainMetadataAction>
  /** Removed files by path and vector. */
  readonly tombstones: ReadonlyMap<string, RemoveAction>
}

/** Whether every file of `from` is in `to` unchanged, with only more files behind them, under the same schema. */
export function isAppendOnly(from: Snapshot, to: Snapshot): boolean {
  if (to.files.length < from.files.length) return false
  if (schemaFingerprint(from.schema) !== schemaFingerprint(to.schema)) return false
  return from.files.every((file, i) => to.files[i]?.key === file.key)
}

/** Gathers actions into the next snapshot. */
export class SnapshotBuilder {
  readonly #location: string
  readonly #before: Snapshot | undefined
  #protocol: ProtocolAction | undefined
  #metadata: MetadataAction | undefined
  #timestampMs: number
  readonly #added = new Map<string, AddAction>()
  readonly #removed = new Map<string, RemoveAction>()
  readonly #txns: Map<string, TxnAction>
  readonly #domains: Map<string, DomainMetadataAction>

  constructor(location: string, before: Snapshot | undefined) {
    this.#location = location
    this.#before = before
    this.#timestampMs = before?.timestampMs ?? 0
    this.#txns = new Map(before?.state.txns)
    this.#domains = new Map(before?.state.domains)
  }

  /** Applies the actions of one version, or of a checkpoint. Within a version their order means nothing. */
  apply(actions: readonly Action[], fileTimestampMs: number): void {
    let commitInfo: CommitInfoAction | undefined
    for (const action of actions) {
      if (action.commitInfo) commitInfo = action.commitInfo
      if (action.protocol) this.#protocol = action.protocol
      if (action.metaData) this.#metadata = action.metaData
      if (action.txn) this.#txns.set(action.txn.appId, action.txn)
      if (action.domainMetadata) this.#applyDomain(action.domainMetadata)
      if (action.remove) {
        const key = logicalKey(action.remove)
        this.#removed.set(key, action.remove)
        this.#added.delete(key)
      }
    }
    for (const { add } of actions) {
      if (!add) continue
      const key = logicalKey(add)
      this.#added.set(key, add)
      this.#removed.delete(key)
    }
    this.#timestampMs = commitInfo?.inCommitTimestamp ?? fileTimestampMs
  }

  #applyDomain(domain: DomainMetadataAction): void {
    if (domain.removed) this.#domains.delete(domain.domain)
    else this.#domains.set(domain.domain, domain)
  }

  /** Whether commits carry their own times, as far as was applied. */
  get hasInCommitTimestamps(): boolean {
    const metadata = this.#metadata ?? this.#before?.metadata.action
    return isTrue(metadata?.configuration?.['delta.enableInCommitTimestamps'])
  }

  /** The snapshot. TableError `corrupt_log`, `unsupported_feature`. */
  finish(version: bigint): Snapshot {
    const before = this.#before
    const protocol = this.#protocol ?? before?.protocol
    const action = this.#metadata ?? before?.metadata.action
    if (protocol === undefined || action === undefined) {
      throw new TableError(
        'corrupt_log',
        `${this.#location}: the log up to version ${version} has no ${protocol === undefined ? 'protocol' : 'metaData'} action`,
      )
    }
    // Before anything else is understood of the table: what it needs may be the reason why something cannot be.
    checkReadable(protocol, this.#location)
    const metadata = this.#metadata === undefined && before !== undefined ? before.metadata : metadataOf(action)
    const isSame = this.#metadata === undefined && this.#protocol === undefined && before !== undefined
    const schema = isSame ? before.schema : this.#schemaOf(action, hasColumnMapping(protocol, metadata.configuration))
    return {
      version,
      timestampMs: this.#timestampMs,
      protocol,
      metadata,
      tableId: metadata.id,
      schema,
      partitionColumns: metadata.partitionColumns,
      files: this.#files(schema, metadata.partitionColumns),
      state: { txns: this.#txns, domains: this.#domains, tombstones: this.#tombstones() },
    }
  }

  #schemaOf(action: MetadataAction, isMapped: boolean): Schema {
    try {
      const schema = schemaFromJson(action.schemaString)
      return isMapped ? schema : withoutMapping(schema)
    } catch (cause) {
      if (!(cause instanceof TextError)) throw cause
      throw new TableError('unsupported_feature', `${this.#location}: ${cause.message}`, { cause })
    }
  }

  #files(schema: Schema, partitionColumns: readonly string[]): readonly LiveFile[] {
    const before = this.#before?.files ?? []
    const kept =
      this.#removed.size === 0 && this.#added.size === 0
        ? before
        : before.filter(file => !this.#removed.has(keyOf(file)) && !this.#added.has(keyOf(file)))
    if (this.#added.size === 0) return kept
    const added = [...this.#added.values()].map(add => this.#liveFile(add, schema, partitionColumns)).sort(inViewOrder)
    const last = kept.at(-1)
    const files = [...kept, ...added]
    return last === undefined || inViewOrder(last, added[0]!) <= 0 ? files : files.sort(inViewOrder)
  }

  #liveFile(add: AddAction, schema: Schema, partitionColumns: readonly string[]): LiveFile {
    const partition = new Map<string, Cell>()
    for (const name of partitionColumns) {
      const field = schema.find(candidate => candidate.name === name)
      if (field === undefined)
        throw new TableError('corrupt_log', `${this.#location}: the partition column ${name} is not in the schema`)
      const physical = physicalName(field)
      partition.set(physical, this.#partitionValue(add, physical, field))
    }
    return new LiveFile(add, this.#pathOf(add.path), partition)
  }

  #partitionValue(add: AddAction, physical: string, field: Field): Cell {
    try {
      return parsePartitionValue(add.partitionValues?.[physical], field.type)
    } catch (cause) {
      if (!(cause instanceof TextError)) throw cause
      const where = `${this.#location}: the file ${add.path}, column ${field.name}`
      throw new TableError('corrupt_log', `${where}: ${cause.message}`, { cause })
    }
  }

  /** Relative paths as they are; absolute ones only inside the table. */
  #pathOf(encoded: string): string {
    let path: string
    try {
      path = decodePath(encoded)
    } catch (cause) {
      throw new TableError(
        'corrupt_log',
        `${this.#location}: the path ${encoded} in the log is not percent-encoded as it should be`,
        { cause },
      )
    }
    const isAbsolute = /^[a-z][a-z0-9+.-]*:|^\//i.test(path)
    const absolute = path.replace(/^file:(?:\/\/)?/, '')
    const isInside = !isAbsolute || absolute.startsWith(`${this.#location}/`)
    if (isInside && !path.split('/').includes('..'))
      return isAbsolute ? absolute.slice(this.#location.length + 1) : path
    throw new TableError(
      'unsupported_feature',
      `${this.#location}: the data file ${path} lies outside the table; such a (shallow) clone is not supported`,
    )
  }

  #tombstones(): ReadonlyMap<string, RemoveAction> {
    const before = this.#before?.state.tombstones
    if (this.#removed.size === 0 && this.#added.size === 0 && before !== undefined) return before
    const tombstones = new Map(before)
    for (const key of this.#added.keys()) tombstones.delete(key)
    for (const [key, remove] of this.#removed) tombstones.set(key, remove)
    return tombstones
  }
}

function logicalKey(action: AddAction | RemoveAction): string {
  return `${action.path}\0${vectorId(action.deletionVector)}`
}

function keyOf(file: LiveFile): string {
  return logicalKey(file.add)
}

function inViewOrder(a: LiveFile, b: LiveFile): number {
  return (
    a.modificationTime - b.modificationTime ||
    (a.path === b.path ? 0 : Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)))
  )
}

function metadataOf(action: MetadataAction): TableMetadata {
  return {
    id: action.id,
    name: action.name ?? undefined,
    description: action.description ?? undefined,
    partitionColumns: action.partitionColumns ?? [],
    configuration: new Map(Object.entries(action.configuration ?? {})),
    action,
  }
}
