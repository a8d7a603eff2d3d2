import { TextError } from '../../columns/errors.ts'
import { physicalName, schemaFingerprint, schemaFromJson } from '../../columns/schema.ts'
import type { Cell, Field, Schema } from '../../columns/types.ts'
import { TextMap } from '../../core/ordered.ts'
import { withoutMapping } from '../column-mapping.ts'
import { parsePartitionValue } from '../data-files/partition-values.ts'
import { TableError } from '../errors.ts'
import { LiveFile, LiveFiles, liveRows, logicalKey } from '../live-files.ts'
import { metadataOf } from '../metadata.ts'
import { isTrue } from '../properties.ts'
import { checkReadable, hasColumnMapping } from '../protocol.ts'
import { type LogState, type Snapshot, snapshotOf } from '../snapshot.ts'
import { tooManyRows } from '../vectors/store.ts'
import type {
  Action,
  AddAction,
  CommitInfoAction,
  DomainMetadataAction,
  MetadataAction,
  ProtocolAction,
  RemoveAction,
  TxnAction,
} from './actions/index.ts'
import type { LoggedAdd } from './logged-add.ts'
import { type FileIndex, LoggedFiles } from './logged-files.ts'
import { checkFilePath, isPlainPath, pathOf } from './paths.ts'
import { shown, time } from './shapes.ts'

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
  /** The files of a checkpoint, and the logical files that were told of since. */
  #files = new LoggedFiles([])
  #index: FileIndex | undefined
  readonly #since = new Set<string>()

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
        this.#since.add(key)
      }
    }
    for (const { add } of actions) {
      if (!add) continue
      const path = pathOf(this.#location, add.path)
      const key = logicalKey(path, add.deletionVector)
      this.#added.set(key, { path, action: add })
      this.#since.add(key)
      if (this.#removed.size > 0) this.#removed.delete(key)
    }
    this.#timestampMs = this.#inCommitTimestamp(commitInfo) ?? fileTimestampMs
  }

  /** Applies the files of a checkpoint, behind its other actions and in front of all others. */
  applyFiles(files: LoggedFiles): void {
    this.#files = files
    this.#index = files.index()
    this.#since.clear()
    if (this.#index !== undefined) {
      for (const key of this.#removed.keys()) if (this.#index.findLogical(key) !== undefined) this.#removed.delete(key)
    } else if (this.#removed.size > 0) {
      for (const add of files) this.#removed.delete(logicalKey(pathOf(this.#location, add.path), add.deletionVector))
    }
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

  /** True if commits carry their own times, as far as was applied. */
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
    const added = [...this.#added.values()].map(({ path, action }) => this.#liveFile(action, path, partition))
    // Partition values are texts, which may be wrong.
    if (this.#index !== undefined && partition.length === 0) return this.#liveLater(this.#index, this.#distinct(added))
    const files: LiveFile[] = []
    for (const add of this.#files) {
      const isPlain = isPlainPath(add.path)
      const path = isPlain ? add.path : pathOf(this.#location, add.path)
      if (this.#since.size > 0 && this.#since.has(logicalKey(path, add.deletionVector))) continue
      files.push(this.#liveFile(add, path, partition, isPlain))
    }
    for (const file of added) files.push(file)
    return LiveFiles.of(this.#distinct(files))
  }

  /** Of a checkpoint whose files are right, as far as anything of them is looked at, and of files that were added since. */
  #liveLater(index: FileIndex, added: readonly LiveFile[]): LiveFiles {
    const files = this.#files
    const gone = new Set<number>()
    for (const key of this.#since) {
      const number = index.findLogical(key)
      if (number !== undefined) gone.add(number)
    }
    for (const { path, key } of added) {
      const number = index.find(path)
      if (number === undefined || gone.has(number)) continue
      if (index.findLogical(key) === undefined) throw this.#twice(path)
      gone.add(number)
    }
    for (const add of files.withVectors(gone)) this.#liveFile(add, add.path, [], true)
    const make = (add: LoggedAdd): LiveFile => new LiveFile(add, add.path, NO_PARTITION)
    return LiveFiles.later({
      size: files.size - gone.size + added.length,
      files: () => [...Iterator.from(files.without(gone)).map(make), ...added],
      rows: () => sumOf(files.rows(gone), liveRows(added)),
    })
  }

  /** Each path once; an action that stands twice in a checkpoint says the same. */
  #distinct(files: readonly LiveFile[]): readonly LiveFile[] {
    const paths = new Set<string>()
    for (const { path } of files) paths.add(path)
    if (paths.size === files.length) return files
    const byPath = new Map<string, LiveFile>()
    for (const file of files) {
      if ((byPath.get(file.path) ?? file).key !== file.key) throw this.#twice(file.path)
      byPath.set(file.path, file)
    }
    return [...byPath.values()]
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

  #liveFile(add: AddAction | LoggedAdd, path: string, partition: readonly Field[], isPlain = false): LiveFile {
    if (!isPlain) checkFilePath(this.#location, add.path, path)
    const file = new LiveFile(add, path, this.#partitionOf(add, partition))
    const { vector } = file
    const rows = vector && file.rows
    if (vector !== undefined && rows !== undefined && vector.cardinality > rows)
      throw new TableError(
        'corrupt_log',
        `${this.#location}: the file ${shown(path)}: its deletion vector is damaged: ${tooManyRows(vector.cardinality, rows).message}`,
      )
    return file
  }

  #partitionOf(add: AddAction | LoggedAdd, fields: readonly Field[]): ReadonlyMap<string, Cell> {
    if (fields.length === 0) return NO_PARTITION
    const { path, partitionValues } = add
    return new Map(
      fields.map(field => {
        const physical = physicalName(field)
        return [physical, this.#partitionValue(path, partitionValues?.[physical], field)]
      }),
    )
  }

  #partitionValue(path: string, text: string | null | undefined, field: Field): Cell {
    try {
      return parsePartitionValue(text, field.type)
    } catch (cause) {
      if (!(cause instanceof TextError)) throw cause
      const where = `${this.#location}: the file ${shown(path)}, column ${field.name}`
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

function sumOf(a: bigint | undefined, b: bigint | undefined): bigint | undefined {
  return a === undefined || b === undefined ? undefined : a + b
}
