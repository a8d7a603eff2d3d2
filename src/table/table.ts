import { randomUUID } from 'node:crypto'
import { readFooter } from '../columns/parquet/read.ts'
import { storeSource } from '../columns/parquet/source.ts'
import { schemaFault, schemaToJson } from '../columns/schema.ts'
import type { Schema } from '../columns/types.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { Freshness } from '../core/freshness.ts'
import { discarded } from '../core/garbage.ts'
import { Recent } from '../core/recent.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import type { ChangeSet, NewFile } from './commit/change-set.ts'
import { isOf, type Put, putCommit } from './commit/put.ts'
import { Staging } from './commit/staging.ts'
import { actionsFor, ENGINE } from './commit/transaction.ts'
import { TableError } from './errors.ts'
import type { Action, CommitInfoAction, DeletionVectorDescriptor, MetadataAction } from './log/actions.ts'
import { tombstonesOver, writeCheckpoint } from './log/checkpoint.ts'
import { hasLog, lastCheckpoint, listVersions, loadSnapshot, readCommit } from './log/load.ts'
import { commitPath, encodePath } from './log/paths.ts'
import { newProtocol } from './protocol.ts'
import { type LiveFile, type Snapshot, SnapshotBuilder } from './snapshot.ts'
import { readVector } from './vectors/store.ts'

export type { ChangeSet, Deletion, NewFile } from './commit/change-set.ts'

const COMMIT_ATTEMPTS_MAX = 1000
/** Deletion vectors at hand, in bytes. */
const VECTORS_BYTES = 64 << 20
/** So many rows may be deleted on the log's word that the file has as many. */
const BELIEVED_ROWS_MAX = 1 << 20
/**
 * Where a table does not say how often: after every 10 commits, but for so many actions that a checkpoint holds only after
 * one commit more, so that checkpoints cost a commit the same in tables of all sizes, and reading the commits behind one
 * costs no more than reading it.
 */
const CHECKPOINT_INTERVAL_MIN = 10
const CHECKPOINT_INTERVAL_MAX = 5000
const CHECKPOINTED_ACTIONS_PER_COMMIT = 20
const WEEK_MS = 7 * 24 * 3600 * 1000
const NO_ROWS = new Uint32Array(0)

export interface Committed {
  readonly version: bigint
  readonly snapshot: Snapshot
  /** It is in the log, and the store reported an error all the same: a power cut may take it away. */
  readonly doubt?: string
}

/** A version that a table has got. */
export interface NewVersion {
  readonly version: bigint
  readonly operation: string
  readonly metrics: Readonly<Record<string, unknown>>
  readonly engine: string | undefined
  readonly txnId?: string | undefined
  /** How long the change took; undefined for one of another process. */
  readonly durationMs: number | undefined
}

export interface TableOptions {
  readonly clock?: Clock
  /** Hears of each version once, when it was committed here or is seen first. */
  readonly onVersion?: ((version: NewVersion) => void) | undefined
  /** How long a look for new versions counts, for stores where each costs a request; 0 if not given. */
  readonly freshMs?: number
}

export interface HistoryEntry {
  readonly version: bigint
  readonly timestampMs: number
  readonly operation: string
  readonly parameters: Readonly<Record<string, unknown>>
  readonly metrics: Readonly<Record<string, unknown>>
  readonly engine: string | undefined
  readonly txnId: string | undefined
}

export interface NewTable {
  readonly schema: Schema
  readonly partitionColumns?: readonly string[]
  readonly configuration?: Readonly<Record<string, string>>
  readonly name?: string
  /** Files that are in the table from its first version on. */
  readonly add?: readonly NewFile[]
  readonly clock?: Clock
}

/** TableError `exists` if a log is there: its first commits may have been cleaned up, so that any entry counts. */
export async function checkNoTable(store: ObjectStore): Promise<void> {
  if (await hasLog(store)) throw tableExists(store)
}

function tableExists(store: ObjectStore): TableError {
  return new TableError(
    'exists',
    `${store.location}: there is a table already; choose another directory, or remove this one first`,
  )
}

/** Creates a table. TableError `exists` if there is one. */
export async function createTable(store: ObjectStore, options: NewTable): Promise<Table> {
  const clock = options.clock ?? systemClock
  const nowMs = clock.nowMs()
  const { schema, partitionColumns = [], add = [] } = options
  const fault = schemaFault(schema)
  if (fault !== undefined) throw new TableError('bad_schema', `a table cannot have these columns: ${fault}`)
  checkPartitioning(schema, partitionColumns)
  await checkNoTable(store)
  const metaData: MetadataAction = {
    id: randomUUID(),
    ...(options.name === undefined ? {} : { name: options.name }),
    format: { provider: 'parquet', options: {} },
    schemaString: schemaToJson(schema),
    partitionColumns,
    configuration: { 'delta.enableDeletionVectors': 'true', ...options.configuration },
    createdTime: nowMs,
  }
  const txnId = randomUUID()
  const commitInfo: CommitInfoAction = {
    timestamp: nowMs,
    operation: add.length === 0 ? 'CREATE TABLE' : 'CREATE TABLE AS SELECT',
    operationParameters: {
      isManaged: 'false',
      partitionBy: JSON.stringify(partitionColumns),
      properties: JSON.stringify(metaData.configuration),
    },
    isBlindAppend: true,
    operationMetrics:
      add.length === 0
        ? {}
        : { numFiles: String(add.length), numOutputRows: String(add.reduce((sum, file) => sum + file.rows, 0)) },
    engineInfo: ENGINE,
    txnId,
  }
  const actions: Action[] = [
    { commitInfo },
    { protocol: newProtocol(schema) },
    { metaData },
    ...add.map(file => ({
      add: {
        path: encodePath(file.path),
        partitionValues: file.partitionValues,
        size: file.sizeBytes,
        modificationTime: nowMs,
        dataChange: true,
        stats: file.stats,
        ...(file.tags === undefined ? {} : { tags: Object.fromEntries(file.tags) }),
      },
    })),
  ]
  if ((await putCommit(store, 0n, actions, txnId)).kind === 'exists') throw tableExists(store)
  return openTable(store, { clock })
}

function checkPartitioning(schema: Schema, partitionColumns: readonly string[]): void {
  for (const [i, name] of partitionColumns.entries()) {
    const field = schema.find(candidate => candidate.name === name)
    if (field === undefined) throw new TableError('bad_schema', `the partition column ${name} is not in the schema`)
    if (partitionColumns.indexOf(name) !== i)
      throw new TableError('bad_schema', `the partition column ${name} is named twice`)
    if (['struct', 'array', 'map'].includes(field.type.kind))
      throw new TableError(
        'bad_schema',
        `the column ${name} is a ${field.type.kind}; a table is partitioned by scalars`,
      )
  }
  if (partitionColumns.length > 0 && partitionColumns.length === schema.length)
    throw new TableError(
      'bad_schema',
      'the table is partitioned by all of its columns; one at least must be in the files',
    )
}

/** Opens a table at its newest version. TableError `not_a_table`, `unsupported_feature`, `corrupt_log`. */
export async function openTable(store: ObjectStore, options: TableOptions = {}): Promise<Table> {
  const snapshot = await loadSnapshot(store)
  return new Table(store, snapshot, options)
}

/** A Delta table: its newest known version, older versions, and commits. */
export class Table {
  readonly store: ObjectStore
  readonly #clock: Clock
  #snapshot: Snapshot
  #refreshing: Promise<Snapshot> | undefined
  /** A version of which the log has the checkpoint and no longer the commit. */
  #checkpointOnly: bigint | undefined
  #checkpointing: Promise<void> = Promise.resolve()
  /** The version of which a checkpoint is to be written next. */
  #waiting: Snapshot | undefined
  /** No checkpoint is due before this version. */
  #nextCheckpoint = 0n
  /** Tombstones whose time was over when the last checkpoint was written. */
  #forgotten: readonly string[] = []
  readonly #vectors = new Recent<Uint32Array>(VECTORS_BYTES, rows => rows.byteLength, discarded)
  readonly #onVersion: TableOptions['onVersion']
  /** Of commits that are on their way: who reads their version back need not tell of it. */
  readonly #txnIds = new Set<string>()
  readonly #freshness: Freshness

  constructor(store: ObjectStore, snapshot: Snapshot, { clock = systemClock, onVersion, freshMs }: TableOptions = {}) {
    this.#freshness = new Freshness(freshMs)
    this.store = store
    this.#snapshot = snapshot
    this.#clock = clock
    this.#onVersion = onVersion
  }

  /** The newest version that was looked at. */
  get snapshot(): Snapshot {
    return this.#snapshot
  }

  /** Looks for new versions: each costs its own actions, none costs one failed open. */
  refresh(): Promise<Snapshot> {
    this.#refreshing ??= this.#freshness
      .looking(() => this.#refresh())
      .finally(() => {
        this.#refreshing = undefined
      })
    return this.#refreshing
  }

  /** The newest version, without a look for new ones if the last one counts, or if the store does not answer in time. */
  readonly recent = (): Promise<Snapshot> => this.#freshness.recent(this)

  async #refresh(): Promise<Snapshot> {
    for (;;) {
      const before = this.#snapshot
      const commit = await readCommit(this.store, before.version + 1n)
      if (commit !== undefined) {
        if (this.#advance(before, commit.actions, commit.modifiedMs)) this.#tell(before.version + 1n, commit.actions)
        continue
      }
      if (before !== this.#snapshot) continue
      if (before.version === this.#checkpointOnly || (await this.#isInLog(before.version))) return this.#snapshot
      if ((await this.#reload(before)) === before) return this.#snapshot
    }
  }

  async #isInLog(version: bigint): Promise<boolean> {
    return (await this.store.stat(commitPath(version))) !== undefined
  }

  /**
   * Looks at the log afresh, for the commit of our version is gone: the log was cleaned up past it while nobody looked,
   * or the table was replaced. A commit on top of our version would then damage what is there.
   */
  async #reload(before: Snapshot): Promise<Snapshot> {
    const newest = await loadSnapshot(this.store)
    if (newest.tableId !== before.tableId || newest.version < before.version) {
      throw new TableError(
        'conflict',
        `${this.store.location}: the table was replaced by another one while it was open; open it again`,
      )
    }
    if (newest.version === before.version) {
      this.#checkpointOnly = before.version
      return before
    }
    if (this.#snapshot === before) this.#snapshot = newest
    return newest
  }

  /** False if the table is at another version by now. */
  #advance(before: Snapshot, actions: readonly Action[], timestampMs: number): boolean {
    if (this.#snapshot !== before) return false
    this.#setSnapshot(this.#next(before, actions, timestampMs))
    return true
  }

  #next(before: Snapshot, actions: readonly Action[], timestampMs: number): Snapshot {
    const builder = new SnapshotBuilder(this.store.location, before, this.#forgotten)
    builder.apply(actions, timestampMs)
    return builder.finish(before.version + 1n)
  }

  #setSnapshot(snapshot: Snapshot): void {
    this.#forgotten = []
    this.#snapshot = snapshot
  }

  #tell(version: bigint, actions: readonly Action[], startedMs?: number): void {
    if (this.#onVersion === undefined) return
    const { operation, metrics, engine, txnId } = historyEntry(version, 0, actions)
    if (startedMs === undefined && txnId !== undefined && this.#txnIds.has(txnId)) return
    const durationMs = startedMs === undefined ? undefined : performance.now() - startedMs
    try {
      this.#onVersion({ version, operation, metrics, engine, txnId, durationMs })
    } catch {
      // Who listens (a log on a full disk) has no part in whether the version is there.
    }
  }

  /** The table as it was at a version. TableError `no_such_version`. */
  async at(version: bigint): Promise<Snapshot> {
    if (version === this.#snapshot.version) return this.#snapshot
    return loadSnapshot(this.store, version)
  }

  /** The newest version that was committed at `timestampMs` or before. */
  async atTimestamp(timestampMs: number): Promise<Snapshot> {
    for (const entry of await this.history()) if (entry.timestampMs <= timestampMs) return this.at(entry.version)
    throw new TableError(
      'no_such_version',
      `${this.store.location}: no version is as old as ${new Date(timestampMs).toISOString()}`,
    )
  }

  /** The physical numbers of a file's deleted rows, ascending. TableError `corrupt_log` if its vector does not fit the file. */
  deletedRows(file: LiveFile): Promise<Uint32Array> {
    const { vector } = file
    if (vector === undefined) return Promise.resolve(NO_ROWS)
    return this.#vectors.get(file.key, () => this.#readVector(file, vector))
  }

  async #readVector(file: LiveFile, vector: DeletionVectorDescriptor): Promise<Uint32Array> {
    // A few bytes can announce billions of rows, in the log as in the vector: for many, the file itself is asked.
    const isSmall = file.rows !== undefined && vector.cardinality <= BELIEVED_ROWS_MAX
    const rows = isSmall ? file.rows : (await readFooter(storeSource(this.store, file.path, file.sizeBytes))).rows
    return readVector(this.store, vector, rows, file.path)
  }

  /**
   * Commits a change as one version, on top of whatever other writers committed meanwhile where that is possible. Its
   * files are durable before. A change that turns out to do nothing is no version: the newest one is the result. If it
   * rejects, nothing has changed: TableError `conflict` if it is not possible, StorageError. Only after TableError
   * `undecided` nobody knows, until `findTransaction` tells.
   */
  async commit(change: ChangeSet): Promise<Committed> {
    const { txnId = randomUUID() } = change
    const staging = new Staging(this.store)
    this.#txnIds.add(txnId)
    try {
      return await this.#commit({ startedMs: performance.now(), ...change, txnId }, staging)
    } finally {
      this.#txnIds.delete(txnId)
      await staging.discard()
    }
  }

  async #commit(change: ChangeSet & { readonly txnId: string }, staging: Staging): Promise<Committed> {
    for (let attempt = 0; attempt < COMMIT_ATTEMPTS_MAX; attempt++) {
      const newest = attempt === 0 ? await this.recent() : await this.refresh()
      const nowMs = this.#clock.nowMs()
      const actions = await actionsFor(change, newest, {
        store: this.store,
        nowMs,
        staging,
        deletedRows: file => this.deletedRows(file),
      })
      if (actions.every(action => action.commitInfo)) return { version: newest.version, snapshot: newest }
      const version = newest.version + 1n
      const put = await this.#put(version, actions, change.txnId, staging)
      if (put.kind === 'exists') continue
      // It is in the log: what goes wrong from here on must not look as if it were not.
      const snapshot = this.#next(newest, actions, nowMs)
      if (this.#snapshot === newest) this.#setSnapshot(snapshot)
      this.#freshness.looked()
      this.#tell(version, actions, change.startedMs)
      this.#checkpointIfDue(snapshot)
      return { version, snapshot, ...(put.doubt === undefined ? {} : { doubt: put.doubt }) }
    }
    throw new TableError(
      'conflict',
      `${this.store.location}: ${COMMIT_ATTEMPTS_MAX} attempts to commit were overtaken by other writers; try again`,
    )
  }

  async #put(version: bigint, actions: readonly Action[], txnId: string, staging: Staging): Promise<Put> {
    let put: Put | undefined
    try {
      put = await putCommit(this.store, version, actions, txnId)
      return put
    } catch (error) {
      // Its files must be there, if it is.
      if (error instanceof TableError && error.code === 'undecided') staging.keep()
      throw error
    } finally {
      if (put?.kind === 'written') staging.keep()
    }
  }

  /**
   * The version that the commit with this `txnId` made, if it is in the log, among those after `after`. Rejects with
   * TableError or StorageError if the log cannot be read, and then nobody knows.
   */
  async findTransaction(txnId: string, after: bigint): Promise<bigint | undefined> {
    const { version: newest } = await this.refresh()
    for (let version = after + 1n; version <= newest; version++) {
      const commit = await readCommit(this.store, version)
      if (commit !== undefined && isOf(txnId, commit.actions)) return version
    }
    return undefined
  }

  /** What was committed, newest first; at most `limit` versions. A few cost their own commits, not a look at the whole log. */
  async history(limit = Number.POSITIVE_INFINITY): Promise<HistoryEntry[]> {
    const entries: HistoryEntry[] = []
    for await (const version of this.#versions(limit)) {
      if (entries.length >= limit) break
      const commit = await readCommit(this.store, version)
      if (commit !== undefined) entries.push(historyEntry(version, commit.modifiedMs, commit.actions))
      else if (Number.isFinite(limit)) break // The log has been cleaned up before it.
    }
    return entries
  }

  async *#versions(limit: number): AsyncGenerator<bigint> {
    if (Number.isFinite(limit)) {
      for (let { version } = await this.refresh(); version >= 0n; version--) yield version
    } else {
      for (const { version } of await listVersions(this.store)) yield version
    }
  }

  /** Writes a checkpoint of the newest known version. */
  async checkpoint(): Promise<void> {
    await this.#writeCheckpoint(this.#snapshot)
  }

  async #writeCheckpoint(snapshot: Snapshot): Promise<void> {
    const retentionMs = durationMs(snapshot.metadata.configuration.get('delta.deletedFileRetentionDuration')) ?? WEEK_MS
    const keepRemovedSinceMs = this.#clock.nowMs() - retentionMs
    await writeCheckpoint(this.store, snapshot, keepRemovedSinceMs)
    this.#forgotten = tombstonesOver(snapshot, keepRemovedSinceMs)
  }

  /** Waits for what goes on in the background. */
  async close(): Promise<void> {
    await this.#checkpointing
  }

  /** A checkpoint is a shortcut: it is written behind the commit's back, and its failure fails nothing. */
  #checkpointIfDue(snapshot: Snapshot): void {
    const { version, metadata } = snapshot
    const asked = metadata.configuration.get('delta.checkpointInterval')
    const interval = asked === undefined ? CHECKPOINT_INTERVAL_MIN : Number(asked)
    if (!Number.isSafeInteger(interval) || interval < 1 || version % BigInt(interval) !== 0n) return
    if (asked === undefined && version < this.#nextCheckpoint) return
    const isWaiting = this.#waiting !== undefined
    // Where commits come quicker than checkpoints are written, some are passed over.
    this.#waiting = snapshot
    if (isWaiting) return
    this.#checkpointing = this.#checkpointing
      .then(async () => {
        const due = this.#waiting ?? snapshot
        this.#waiting = undefined
        if (asked !== undefined || (await this.#isDue(due))) await this.#writeCheckpoint(due)
      })
      .catch(() => undefined)
  }

  /** Whether enough commits stand behind the last checkpoint, ours or another writer's. */
  async #isDue({ version, live, state }: Snapshot): Promise<boolean> {
    const actions = live.size + state.tombstones.size + state.txns.size + state.domains.size
    const interval = Math.floor(actions / CHECKPOINTED_ACTIONS_PER_COMMIT)
    if (interval <= CHECKPOINT_INTERVAL_MIN) return true
    const last = (await lastCheckpoint(this.store)) ?? 0n
    this.#nextCheckpoint = last + BigInt(Math.min(interval, CHECKPOINT_INTERVAL_MAX))
    return version >= this.#nextCheckpoint
  }
}

/** commitInfo is free text of whoever committed: what is not what it should be counts as not said. */
function historyEntry(version: bigint, modifiedMs: number, actions: readonly Action[]): HistoryEntry {
  const info = actions.find(action => action.commitInfo)?.commitInfo ?? undefined
  const said = [info?.inCommitTimestamp, info?.timestamp].find(isTime)
  return {
    version,
    timestampMs: said ?? modifiedMs,
    operation: typeof info?.operation === 'string' ? info.operation : 'unknown',
    parameters: recordOf(info?.operationParameters),
    metrics: recordOf(info?.operationMetrics),
    engine: typeof info?.engineInfo === 'string' ? info.engineInfo : undefined,
    txnId: info?.txnId,
  }
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && !Number.isNaN(new Date(value).getTime())
}

function recordOf<T>(value: Readonly<Record<string, T>> | undefined): Readonly<Record<string, T>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}
}

const UNITS_MS: Readonly<Record<string, number>> = {
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  week: 604_800_000,
}

/** A table property like `interval 7 days` in milliseconds. */
function durationMs(text: string | undefined): number | undefined {
  const match = /^\s*(?:interval\s+)?(\d+)\s+(second|minute|hour|day|week)s?\s*$/i.exec(text ?? '')
  return match === null ? undefined : Number(match[1]) * UNITS_MS[match[2]!.toLowerCase()]!
}
