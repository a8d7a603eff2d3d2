import { TextError } from '../columns/errors.ts'
import { physicalName, schemaFingerprint, schemaFromJson } from '../columns/schema.ts'
import { parsePartitionValue } from '../columns/text/partition.ts'
import type { Cell, Field, Schema } from '../columns/types.ts'
import { TextMap } from '../core/ordered.ts'
import { withoutMapping } from './column-mapping.ts'
import { TableError } from './errors.ts'
import { inViewOrder, LiveFile, LiveFiles, logicalKey } from './live-files.ts'
import type {
  Action,
  AddAction,
  CommitInfoAction,
  DomainMetadataAction,
  MetadataAction,
  ProtocolAction,
  RemoveAction,
  TxnAction,
} from './log/actions.ts'
import { checkFilePath, pathOf } from './log/paths.ts'
import { shown, time } from './log/shapes.ts'
import { checkReadable, hasColumnMapping, isTrue } from './protocol.ts'
import { tooManyRows } from './vectors/store.ts'

export {
  type FilePlace,
  fileTextSizes,
  inViewOrder,
  LIVE_TAG,
  LiveFile,
  LiveFiles,
  ORDER_REFS_TAG,
  ORDER_TAG,
  TEXT_TAG,
} from './live-files.ts'

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
  readonly live: LiveFiles
  /** The same as a list, which is made when it is first asked for. */
  readonly files: readonly LiveFile[]
  readonly state: LogState
}

/** What a snapshot carries along for the next commit and for checkpoints. */
export interface LogState {
  readonly txns: TextMap<TxnAction>
  readonly domains: TextMap<DomainMetadataAction>
  /** Removed files by path and vector. */
  readonly tombstones: TextMap<RemoveAction>
}

/**
 * The files that `to` has behind all those of `from`, in view order, if nothing else distinguishes the two: every file of
 * `from` is there unchanged, under the same columns. Undefined if something does. Takes the time of what changed.
 */
export function appendedFiles(from: Snapshot, to: Snapshot): readonly LiveFile[] | undefined {
  if (from.schema !== to.schema && schemaFingerprint(from.schema) !== schemaFingerprint(to.schema)) return undefined
  const { last } = from.live
  const added: LiveFile[] = []
  for (const { before, after } of to.live.changesSince(from.live)) {
    if (before !== undefined || after === undefined) return undefined
    if (last !== undefined && inViewOrder(after, last) < 0) return undefined
    added.push(after)
  }
  return added
}

function snapshotOf(parts: Omit<Snapshot, 'tableId' | 'partitionColumns' | 'files'>): Snapshot {
  const { metadata, live } = parts
  let files: readonly LiveFile[] | undefined
  return {
    ...parts,
    tableId: metadata.id,
    partitionColumns: metadata.partitionColumns,
    // Of the object itself and enumerable: a copy by spreading has it too.
    get files() {
      files ??= live.toArray()
      return files
    },
  }
}

/** A file action, and the path in the store that it speaks of. */
interface Placed<A> {
  readonly path: string
  readonly action: A
}

const NO_PARTITION: ReadonlyMap<string, Cell> = new Map()

/** Gathers actions into the next snapshot. */
export class SnapshotBuilder {
  readonly #location: string
  readonly #before: Snapshot | undefined
  #protocol: ProtocolAction | undefined
  #metadata: MetadataAction | undefined
  #timestampMs: number
  // What is other than before, by logical file, application and domain.
  readonly #added = new Map<string, Placed<AddAction>>()
  readonly #removed = new Map<string, Placed<RemoveAction>>()
  readonly #txns = new Map<string, TxnAction>()
  readonly #domains = new Map<string, DomainMetadataAction>()
  readonly #forgotten: readonly string[]

  /** `forgotten`: keys of tombstones of `before` whose time is over. */
  constructor(location: string, before: Snapshot | undefined, forgotten: readonly string[] = []) {
    this.#location = location
    this.#before = before
    this.#forgotten = forgotten
    this.#timestampMs = before?.timestampMs ?? 0
  }

  /** Applies the actions of one version, or of a checkpoint. Within a version their order means nothing. */
  apply(actions: readonly Action[], fileTimestampMs: number): void {
    let commitInfo: CommitInfoAction | undefined
    for (const action of actions) {
      if (action.commitInfo) commitInfo = action.commitInfo
      if (action.protocol) this.#protocol = action.protocol
      if (action.metaData) this.#metadata = action.metaData
      if (action.txn) this.#txns.set(action.txn.appId, action.txn)
      if (action.domainMetadata) this.#domains.set(action.domainMetadata.domain, action.domainMetadata)
      if (action.remove) {
        const path = pathOf(this.#location, action.remove.path)
        const key = logicalKey(path, action.remove.deletionVector)
        this.#removed.set(key, { path, action: action.remove })
        this.#added.delete(key)
      }
    }
    for (const { add } of actions) {
      if (!add) continue
      const path = pathOf(this.#location, add.path)
      const key = logicalKey(path, add.deletionVector)
      this.#added.set(key, { path, action: add })
      this.#removed.delete(key)
    }
    this.#timestampMs = this.#inCommitTimestamp(commitInfo) ?? fileTimestampMs
  }

  /** commitInfo is free text: its time is looked at where the table says that it counts, and must be one there. */
  #inCommitTimestamp(commitInfo: CommitInfoAction | undefined): number | undefined {
    if (!this.hasInCommitTimestamps) return undefined
    const { inCommitTimestamp } = commitInfo ?? {}
    if (inCommitTimestamp === undefined || inCommitTimestamp === null) return undefined
    const complaint = time(inCommitTimestamp, 'commitInfo.inCommitTimestamp')
    if (complaint !== undefined) throw new TableError('corrupt_log', `${this.#location}: ${complaint}`)
    return inCommitTimestamp
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
    const partition = this.#partitionFields(schema, metadata.partitionColumns)
    return snapshotOf({
      version,
      timestampMs: this.#timestampMs,
      protocol,
      metadata,
      schema,
      live: this.#live(partition, isSame),
      state: this.#state(),
    })
  }

  #schemaOf(action: MetadataAction, isMapped: boolean): Schema {
    const provider = action.format?.provider ?? 'parquet'
    if (provider !== 'parquet')
      throw new TableError(
        'unsupported_feature',
        `${this.#location}: the table's files are of the format ${shown(provider)}; posixlake reads Parquet`,
      )
    try {
      const schema = schemaFromJson(action.schemaString)
      return isMapped ? schema : withoutMapping(schema)
    } catch (cause) {
      if (!(cause instanceof TextError)) throw cause
      throw new TableError('unsupported_feature', `${this.#location}: ${cause.message}`, { cause })
    }
  }

  #partitionFields(schema: Schema, partitionColumns: readonly string[]): readonly Field[] {
    return partitionColumns.map((name, i) => {
      const field = schema.find(candidate => candidate.name === name)
      if (field === undefined || partitionColumns.indexOf(name) !== i) {
        const what = field === undefined ? 'is not in the schema' : 'is named twice'
        throw new TableError('corrupt_log', `${this.#location}: the partition column ${shown(name)} ${what}`)
      }
      return field
    })
  }

  #live(partition: readonly Field[], isSame: boolean): LiveFiles {
    const before = this.#before
    if (before === undefined) return this.#liveFromScratch(partition)
    let live = isSame ? before.live : this.#underNewColumns(before, partition)
    for (const [key, { path }] of this.#removed) {
      const file = live.get(path)
      if (file?.key === key) live = live.without(file)
    }
    for (const [key, { path, action }] of this.#added) {
      const other = live.get(path)
      if (other !== undefined && other.key !== key) throw this.#twice(path)
      live = live.with(this.#liveFile(action, path, partition))
    }
    return live
  }

  #liveFromScratch(partition: readonly Field[]): LiveFiles {
    const files = new Map<string, LiveFile>()
    for (const { path, action } of this.#added.values()) {
      if (files.has(path)) throw this.#twice(path)
      files.set(path, this.#liveFile(action, path, partition))
    }
    return LiveFiles.of([...files.values()])
  }

  /** Two vectors of one file cannot both be right: which rows are deleted is not known. */
  #twice(path: string): TableError {
    return new TableError(
      'corrupt_log',
      `${this.#location}: the log adds the file ${shown(path)} twice, with different deletion vectors, and removes neither`,
    )
  }

  /** Partition values are read by the types that their columns have now. */
  #underNewColumns(before: Snapshot, partition: readonly Field[]): LiveFiles {
    const earlier = this.#partitionFields(before.schema, before.partitionColumns)
    const isSame = schemaFingerprint(earlier) === schemaFingerprint(partition)
    return isSame
      ? before.live
      : LiveFiles.of(before.files.map(({ add, path }) => this.#liveFile(add, path, partition)))
  }

  #liveFile(add: AddAction, path: string, partition: readonly Field[]): LiveFile {
    checkFilePath(this.#location, add.path, path)
    const file = new LiveFile(add, path, this.#partitionOf(add, partition))
    const { vector, rows } = file
    if (vector !== undefined && rows !== undefined && vector.cardinality > rows)
      throw new TableError(
        'corrupt_log',
        `${this.#location}: the file ${shown(path)}: its deletion vector is damaged: ${tooManyRows(vector.cardinality, rows).message}`,
      )
    return file
  }

  #partitionOf(add: AddAction, fields: readonly Field[]): ReadonlyMap<string, Cell> {
    if (fields.length === 0) return NO_PARTITION
    return new Map(
      fields.map(field => {
        const physical = physicalName(field)
        return [physical, this.#partitionValue(add, physical, field)]
      }),
    )
  }

  #partitionValue(add: AddAction, physical: string, field: Field): Cell {
    try {
      return parsePartitionValue(add.partitionValues?.[physical], field.type)
    } catch (cause) {
      if (!(cause instanceof TextError)) throw cause
      const where = `${this.#location}: the file ${shown(add.path)}, column ${field.name}`
      throw new TableError('corrupt_log', `${where}: ${cause.message}`, { cause })
    }
  }

  #state(): LogState {
    const before = this.#before?.state
    return {
      txns: merged(before?.txns, this.#txns),
      domains: merged(before?.domains, this.#domains, domain => !domain.removed),
      tombstones: this.#tombstones(before?.tombstones),
    }
  }

  #tombstones(before: TextMap<RemoveAction> | undefined): TextMap<RemoveAction> {
    const removed = new Map([...this.#removed].map(([key, { action }]) => [key, action]))
    if (before === undefined) return TextMap.of(removed)
    let tombstones = before
    for (const key of this.#forgotten) tombstones = tombstones.without(key)
    for (const key of this.#added.keys()) tombstones = tombstones.without(key)
    return merged(tombstones, removed)
  }
}

/** A map with changes; what is not kept goes. */
function merged<V>(
  before: TextMap<V> | undefined,
  changes: ReadonlyMap<string, V>,
  keep: (value: V) => boolean = () => true,
): TextMap<V> {
  if (before === undefined) return TextMap.of([...changes].filter(([, value]) => keep(value)))
  let map = before
  for (const [key, value] of changes) map = keep(value) ? map.with(key, value) : map.without(key)
  return map
}

function metadataOf(action: MetadataAction): TableMetadata {
  return {
    id: action.id,
    name: action.name ?? undefined,
    description: action.description ?? undefined,
    partitionColumns: action.partitionColumns ?? [],
    configuration: new Map(Object.entries(action.configuration ?? {}).filter(([, value]) => value !== null)),
    action,
  }
}
