import { randomUUID } from 'node:crypto'
import type { Batch, Schema } from '../../columns/types.ts'
import type { Clock } from '../../core/clock.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import type { NewFile } from '../data-files/new-file.ts'
import { type Placement, RowsWriter } from '../data-files/rows-writer.ts'
import { TableError } from '../errors.ts'
import type { LiveFile } from '../live-files.ts'
import type { Action, MetadataAction } from '../log/actions/index.ts'
import { indexedColumns } from '../properties.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Change, Deletion, Operation } from './change.ts'
import type { Conflict } from './conflicts.ts'
import { PreparedFiles } from './prepared-files.ts'
import { putWithFiles } from './put.ts'
import { checkPaths, rebase } from './rebase.ts'
import { StagedFiles } from './staged-files.ts'

const COMMIT_ATTEMPTS_MAX = 1000

/** A version that a transaction has made, or the newest one if it changed nothing. */
export interface Committed {
  readonly version: bigint
  readonly snapshot: Snapshot
  /** It is in the log, and the store reported an error all the same: a power cut may take it away. */
  readonly doubt?: string
}

export type CommitResult =
  | ({ readonly kind: 'committed' } & Committed)
  /** There was nothing to change, and so is no version. */
  | { readonly kind: 'unchanged'; readonly version: bigint; readonly snapshot: Snapshot }
  /** Another writer was quicker, and changed what this change rests on. Nothing has changed, and no file is left. */
  | Conflict

/** The version of a commit, for those to whom a lost race is a failure: TableError `conflict`. */
export function committed(result: CommitResult): Committed {
  if (result.kind === 'conflict') throw result.error
  const { kind: _, ...rest } = result
  return rest
}

export interface TransactionOptions {
  /** Found in the history afterwards; a random one if not given. */
  readonly txnId?: string | undefined
  /** Ends the transaction, unless it is being put into the log: its files go, as after any other failure. */
  readonly signal?: AbortSignal | undefined
  /** When the change was begun, by performance.now(), for who is told how long it took; now if not given. */
  readonly startedMs?: number | undefined
}

/** The part of its table that a transaction needs. */
export interface TransactionTable {
  readonly store: ObjectStore
  readonly clock: Clock
  refresh(): Promise<Snapshot>
  /** The newest version, without a look for new ones if the last one still counts. */
  recent(): Promise<Snapshot>
  deletedRows(file: LiveFile): Promise<Uint32Array>
  /** A commit is on its way until what this gives is disposed of: who reads its version back need not tell of it. */
  underWay(txnId: string): Disposable
  /** These actions are in the log, on top of `before`. The snapshot of that version. */
  advanced(before: Snapshot, actions: readonly Action[], nowMs: number, startedMs: number): Snapshot
}

/**
 * One change of a table, and the files that it writes. Rows are written and deletions are gathered first; `commit` puts them
 * into the log as one version, on top of whatever other writers committed meanwhile where that is possible. Files are
 * prepared once, only the commit is tried again. A transaction that ends in any other way (a conflict, an error, an aborted
 * signal, being disposed of) leaves no file behind; only of a commit of which nobody can tell whether it is in the log
 * (TableError `undecided`) the files stay.
 */
export class Transaction implements AsyncDisposable {
  /** The version that the change is worked out from. */
  readonly base: Snapshot
  readonly txnId: string
  readonly #table: TransactionTable
  readonly #signal: AbortSignal | undefined
  readonly #startedMs: number
  readonly #staged: StagedFiles
  readonly #prepared: PreparedFiles
  readonly #added: NewFile[] = []
  readonly #deletions: Deletion[] = []
  readonly #removed: LiveFile[] = []
  readonly #addedAgain: LiveFile[] = []
  #metadata: MetadataAction | undefined
  #schema: Schema | undefined
  #readsWholeTable = false

  constructor(table: TransactionTable, base: Snapshot, options: TransactionOptions = {}) {
    const { txnId = randomUUID(), signal, startedMs = performance.now() } = options
    this.base = base
    this.txnId = txnId
    this.#table = table
    this.#signal = signal
    this.#startedMs = startedMs
    this.#staged = new StagedFiles(table.store)
    this.#prepared = new PreparedFiles(table.store, this.#staged)
  }

  /** The columns once the change is made. */
  get schema(): Schema {
    return this.#schema ?? this.base.schema
  }

  /** The files that the change adds. */
  get added(): readonly NewFile[] {
    return this.#added
  }

  /** Gives the table other columns. Rows that are written from now on have them. */
  changeSchema(schema: Schema): void {
    this.#schema = schema
  }

  /**
   * Writes rows to new data files, durable when it resolves, and adds them. Batches are in the schema's column order. A
   * partitioned table gets a file for each partition; `placement` is for tables without. TableError `constraint`.
   */
  async write(batches: AsyncIterable<Batch> | Iterable<Batch>, placement: Placement = {}): Promise<readonly NewFile[]> {
    const { partitionColumns, metadata } = this.base
    const target = { schema: this.schema, partitionColumns, indexed: indexedColumns(metadata.configuration) }
    const writer = new RowsWriter(path => this.#staged.create(path), target, placement)
    for await (const batch of batches) {
      this.#signal?.throwIfAborted()
      await writer.write(batch)
    }
    const files = await writer.finish()
    this.#added.push(...files)
    return files
  }

  /** Adds a file that is there already. It is not the transaction's to take away. */
  addFile(file: NewFile): void {
    this.#added.push(file)
  }

  /** Deletes rows of a file of the base. */
  deleteRows(...deletions: readonly Deletion[]): void {
    this.#deletions.push(...deletions)
  }

  /** Takes files of the base away as a whole. */
  removeFiles(...files: readonly LiveFile[]): void {
    this.#removed.push(...files)
  }

  /** Puts files of an older version into the table again, with the vectors that they had. */
  addAgain(...files: readonly LiveFile[]): void {
    this.#addedAgain.push(...files)
  }

  /** Gives the table the metadata of an older version. */
  changeMetadata(metadata: MetadataAction): void {
    this.#metadata = metadata
  }

  /** The change follows from rows that it does not touch: rows that others add or change meanwhile are a conflict. */
  readWholeTable(): void {
    this.#readsWholeTable = true
  }

  /**
   * Commits the change as one version. If it rejects, nothing has changed: TableError for what the table refuses,
   * StorageError. Only after TableError `undecided` nobody knows, until Table.findTransaction tells.
   */
  async commit(operation: Operation): Promise<CommitResult> {
    const change: Change = {
      base: this.base,
      add: this.#added,
      delete: this.#deletions,
      removeFiles: this.#removed,
      addAgain: this.#addedAgain,
      metadata: this.#metadata,
      schema: this.#schema,
      readWholeTable: this.#readsWholeTable,
    }
    checkPaths(change)
    using _ = this.#table.underWay(this.txnId)
    try {
      return await this.#commit(change, operation)
    } finally {
      await this.#staged.discardAll()
    }
  }

  async #commit(change: Change, operation: Operation): Promise<CommitResult> {
    const { store, clock } = this.#table
    for (let attempt = 0; attempt < COMMIT_ATTEMPTS_MAX; attempt++) {
      this.#signal?.throwIfAborted()
      // If another writer was quicker, the put says so.
      const newest = attempt === 0 ? await this.#table.recent() : await this.#table.refresh()
      const nowMs = clock.nowMs()
      const rebased = await rebase(change, operation, newest, {
        store,
        nowMs,
        txnId: this.txnId,
        prepared: this.#prepared,
        deletedRows: file => this.#table.deletedRows(file),
      })
      if (rebased.kind === 'conflict') return rebased
      const { actions } = rebased
      if (operation.isRecorded !== true && actions.every(action => action.commitInfo))
        return { kind: 'unchanged', version: newest.version, snapshot: newest }
      this.#signal?.throwIfAborted()
      const version = newest.version + 1n
      const put = await putWithFiles(store, this.#staged, version, actions, this.txnId)
      if (put.kind === 'exists') continue
      // It is in the log: what goes wrong from here on must not look as if it were not.
      const snapshot = this.#table.advanced(newest, actions, nowMs, this.#startedMs)
      return { kind: 'committed', version, snapshot, ...(put.doubt === undefined ? {} : { doubt: put.doubt }) }
    }
    throw new TableError(
      'conflict',
      `${store.location}: ${COMMIT_ATTEMPTS_MAX} attempts to commit were overtaken by other writers; try again`,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#staged.discardAll()
  }
}
