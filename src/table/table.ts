import { readFooter } from '../columns/parquet/read.ts'
import { storeSource } from '../columns/parquet/source.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { Freshness } from '../core/freshness.ts'
import { discarded } from '../core/garbage.ts'
import { foundSinceAsked } from '../core/once.ts'
import { Recent } from '../core/recent.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import { isOf } from './commit/put.ts'
import { Transaction, type TransactionOptions } from './commit/transaction.ts'
import { fileTimes, inCommitTimes, ownTime, versionAt } from './commit-times.ts'
import { TableError } from './errors.ts'
import { type HistoryEntry, historyEntry } from './history.ts'
import type { LiveFile } from './live-files.ts'
import type { Action, DeletionVectorDescriptor } from './log/actions/index.ts'
import { Checkpointer } from './log/checkpointer.ts'
import { loadNewest, loadSnapshot, readCommit } from './log/load.ts'
import { commitPath } from './log/paths.ts'
import { SnapshotBuilder } from './log/replay.ts'
import { listVersions } from './log/segment.ts'
import { withOutsideFiles } from './outside-files.ts'
import { following, keepsText, type Snapshot } from './snapshot.ts'
import { readVector } from './vectors/store.ts'

export type { Deletion, Operation } from './commit/change.ts'
export type { Conflict } from './commit/conflicts.ts'
export { type CommitResult, type Committed, committed, type Transaction } from './commit/transaction.ts'
export type { NewFile } from './data-files/new-file.ts'
export type { MovedRows } from './data-files/rows-writer.ts'
export type { HistoryEntry } from './history.ts'

/** Commits that only put files together are seldom more than this in a row. */
const LOOKED_BACK_MAX = 64n
/** Deletion vectors at hand, in bytes. */
const VECTORS_BYTES = 64 << 20
/** So many rows may be deleted on the log's word that the file has as many. */
const UNCHECKED_ROWS_MAX = 1 << 20
const NO_ROWS = new Uint32Array(0)

/** A version that a table has got. */
export interface NewVersion {
  readonly version: bigint
  readonly operation: string
  readonly metrics: Readonly<Record<string, unknown>>
  readonly engine: string | undefined
  readonly txnId?: string | undefined
  /** The time that the change took; undefined for one of another process. */
  readonly durationMs: number | undefined
}

export interface TableOptions {
  readonly clock?: Clock
  /** Hears of each version once, when it was committed here or is seen first. */
  readonly onVersion?: ((version: NewVersion) => void) | undefined
  /** The time that a look for new versions counts, for stores where each costs a request; 0 if not given. */
  readonly freshMs?: number
}

/** Opens a table at its newest version. TableError `not_a_table`, `unsupported_feature`, `corrupt_log`. */
export async function openTable(store: ObjectStore, options: TableOptions = {}): Promise<Table> {
  const { snapshot, hasCommit } = await loadNewest(store)
  return new Table(store, snapshot, options, hasCommit ? undefined : snapshot.version)
}

/** A Delta table: its newest known version, older versions, and commits. */
export class Table {
  readonly store: ObjectStore
  readonly #clock: Clock
  #snapshot: Snapshot
  /** A version of which the log has the checkpoint and no longer the commit. */
  #checkpointOnly: bigint | undefined
  readonly #checkpoints: Checkpointer
  readonly #vectors = new Recent<Uint32Array>(VECTORS_BYTES, rows => rows.byteLength, discarded)
  readonly #onVersion: TableOptions['onVersion']
  /** Of commits that are on their way: who reads their version back need not tell of it. */
  readonly #txnIds = new Set<string>()
  readonly #freshness: Freshness

  constructor(
    store: ObjectStore,
    snapshot: Snapshot,
    { clock = systemClock, onVersion, freshMs }: TableOptions = {},
    checkpointOnly?: bigint,
  ) {
    this.#freshness = new Freshness(freshMs)
    this.#checkpointOnly = checkpointOnly
    this.store = withOutsideFiles(store)
    this.#snapshot = snapshot
    this.#clock = clock
    this.#checkpoints = new Checkpointer(store, clock)
    this.#onVersion = onVersion
  }

  /** The newest version that was looked at. */
  get snapshot(): Snapshot {
    return this.#snapshot
  }

  /** Looks for new versions, those of the moment of the call among them: each costs its own actions, none costs one failed open. */
  readonly refresh = foundSinceAsked(() => this.#freshness.looking(() => this.#refresh()))

  /**
   * Looks back for the version from which on the newest one's text is shown (Snapshot.textVersion), which the log tells
   * who reads its commits one by one: an earlier process may have done so. Rejects as reading the log does.
   */
  async lookBack(): Promise<void> {
    const newest = this.#snapshot
    let { textVersion } = newest
    while (newest.version - textVersion < LOOKED_BACK_MAX && textVersion > 0n) {
      const commit = await readCommit(this.store, textVersion)
      if (commit === undefined || !keepsText(commit.actions)) break
      textVersion--
    }
    Object.assign(newest, { textVersion })
    if (textVersion < newest.lineVersion) Object.assign(newest, { lineVersion: textVersion })
  }

  /** The newest version, without a look for new ones if the last one counts, or if the store does not answer in time. */
  readonly recent = (): Promise<Snapshot> => this.#freshness.recent(this)

  async #refresh(): Promise<Snapshot> {
    // A version that was just read is in the log.
    let seen: bigint | undefined
    for (;;) {
      const before = this.#snapshot
      const isSure = before.version === this.#checkpointOnly || before.version === seen
      const [commit, isInLog] = await Promise.all([
        readCommit(this.store, before.version + 1n),
        isSure || this.#isInLog(before.version),
      ])
      if (commit !== undefined) {
        seen = before.version + 1n
        if (this.#advance(before, commit.actions, commit.modifiedMs)) this.#tell(before.version + 1n, commit.actions)
        continue
      }
      if (before !== this.#snapshot) continue
      if (isInLog) return this.#snapshot
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
    this.#snapshot = this.#next(before, actions, timestampMs)
    return true
  }

  #next(before: Snapshot, actions: readonly Action[], timestampMs: number): Snapshot {
    const builder = new SnapshotBuilder(this.store.location, before, this.#checkpoints.tombstonesOver(before))
    builder.apply(actions, timestampMs)
    return following(before, builder.finish(before.version + 1n), actions)
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
    const { metadata } = await this.refresh()
    return this.at(await versionAt(this.store, metadata, timestampMs))
  }

  /** The physical numbers of a file's deleted rows, ascending. TableError `corrupt_log` if its vector does not fit the file. */
  deletedRows(file: LiveFile): Promise<Uint32Array> {
    const { vector } = file
    if (vector === undefined) return Promise.resolve(NO_ROWS)
    return this.#vectors.get(file.key, () => this.#readVector(file, vector))
  }

  async #readVector(file: LiveFile, vector: DeletionVectorDescriptor): Promise<Uint32Array> {
    // A few bytes can announce billions of rows, in the log as in the vector: for many, the file itself is asked.
    const isSmall = file.rows !== undefined && vector.cardinality <= UNCHECKED_ROWS_MAX
    const rows = isSmall ? file.rows : (await readFooter(storeSource(this.store, file.path, file.sizeBytes))).rows
    return readVector(this.store, vector, rows, file.path)
  }

  /** Begins a change of the table as it is in `base`. */
  begin(base: Snapshot = this.#snapshot, options: TransactionOptions = {}): Transaction {
    return new Transaction(
      {
        store: this.store,
        clock: this.#clock,
        refresh: () => this.refresh(),
        recent: () => this.recent(),
        deletedRows: file => this.deletedRows(file),
        underWay: txnId => this.#underWay(txnId),
        advanced: (before, actions, nowMs, startedMs) => {
          const snapshot = this.#next(before, actions, nowMs)
          if (this.#snapshot === before) this.#snapshot = snapshot
          this.#freshness.looked()
          this.#tell(snapshot.version, actions, startedMs)
          this.#checkpoints.after(snapshot)
          return snapshot
        },
      },
      base,
      options,
    )
  }

  #underWay(txnId: string): Disposable {
    this.#txnIds.add(txnId)
    return { [Symbol.dispose]: () => this.#txnIds.delete(txnId) }
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

  /**
   * Returns the commits, newest first; at most `limit` versions. A few cost their own commits, not a look at the whole log:
   * where files of the log have one time, those of a few are told apart from the first of them on.
   */
  async history(limit = Number.POSITIVE_INFINITY): Promise<HistoryEntry[]> {
    const commits: { version: bigint; modifiedMs: number; actions: Action[] }[] = []
    for await (const version of this.#versions(limit)) {
      if (commits.length >= limit) break
      const commit = await readCommit(this.store, version)
      if (commit !== undefined) commits.push({ version, ...commit })
      else if (Number.isFinite(limit)) break // The log has been cleaned up before it.
    }
    const own = inCommitTimes(this.#snapshot.metadata)
    const times = fileTimes(commits.toReversed()).reverse()
    return commits.map(({ version, actions }, i) => {
      const carried = own !== undefined && version >= own.version ? ownTime(actions) : undefined
      return historyEntry(version, carried ?? times[i]!, actions)
    })
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
    await this.#checkpoints.write(this.#snapshot)
  }

  /** Waits for what goes on in the background, and drops what is at hand. */
  async close(): Promise<void> {
    await this.#checkpoints.close()
    this.#vectors.close()
  }
}
