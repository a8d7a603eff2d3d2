import type { Batch, Schema } from '../../columns/types.ts'
import type { Clock } from '../../core/clock.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import type { NewFile } from '../data-files/new-file.ts'
import { type HiddenColumns, type MovedRows, type Placement, RowsWriter } from '../data-files/rows-writer.ts'
import { TableError } from '../errors.ts'
import type { LiveFile } from '../live-files.ts'
import type { Action, MetadataAction } from '../log/actions/index.ts'
import { indexedColumns } from '../properties.ts'
import { RowRules } from '../rules/row-rules.ts'
import { ruledTable, rulesOf } from '../rules/rules.ts'
import type { Snapshot } from '../snapshot.ts'
import { type AppVersion, isDone, txnActions } from './app-versions.ts'
import type { Change, Deletion, Numbered, Operation } from './change.ts'
import { ChangeFeed } from './change-feed.ts'
import { type Conflict, conflict } from './conflicts.ts'
import { PreparedFiles } from './prepared-files.ts'
import { putWithFiles } from './put.ts'
import { checkPaths, rebase } from './rebase.ts'
import { idColumns, KeptIds } from './row-tracking.ts'
import { StagedFiles } from './staged-files.ts'
import type { TouchedRows } from './touched-rows.ts'

const COMMIT_ATTEMPTS_MAX = 1000
const NOTHING_NUMBERED: Numbered = { before: new Map(), after: new Map() }

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
  /** Told by the commit, which is a conflict if the table has it already. */
  readonly app?: AppVersion | undefined
  /** The version whose files the places of new rows name, if it is another one than the base. */
  readonly placedIn?: Snapshot | undefined
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
  readonly #placedIn: Snapshot
  readonly #app: AppVersion | undefined
  readonly #staged: StagedFiles
  readonly #prepared: PreparedFiles
  readonly #feed: ChangeFeed
  #keptIds: KeptIds | undefined
  readonly #added: NewFile[] = []
  readonly #deletions: Deletion[] = []
  readonly #removed: LiveFile[] = []
  readonly #addedAgain: LiveFile[] = []
  #metadata: MetadataAction | undefined
  #schema: Schema | undefined
  #readsWholeTable = false
  #rules: RowRules | undefined
  #hasForeignFiles = false

  constructor(table: TransactionTable, base: Snapshot, options: TransactionOptions = {}) {
    const { txnId = crypto.randomUUID(), app, placedIn = base, signal, startedMs = performance.now() } = options
    this.base = base
    this.#placedIn = placedIn
    this.txnId = txnId
    this.#table = table
    this.#app = app
    this.#signal = signal
    this.#startedMs = startedMs
    this.#staged = new StagedFiles(table.store)
    this.#prepared = new PreparedFiles(table.store, this.#staged)
    this.#feed = new ChangeFeed(table.store, this.#staged, base)
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
   * Writes rows to new data files, which are durable before they are committed, and adds them. Batches are in the schema's column order. A
   * partitioned table gets a file for each partition; `placement` is for tables without. TableError `constraint`.
   */
  async write(
    batches: AsyncIterable<Batch | MovedRows> | Iterable<Batch | MovedRows>,
    placement: Placement = {},
  ): Promise<readonly NewFile[]> {
    const { partitionColumns, metadata } = this.base
    const rules = (): Promise<RowRules | undefined> => this.#rulesFor()
    const indexed = indexedColumns(metadata.configuration)
    const onNewRows = this.#feed.isWanted ? (batch: Batch) => this.#feed.write(batch, this.schema) : undefined
    const target = { schema: this.schema, partitionColumns, indexed, rules, onNewRows, hidden: await this.#hidden() }
    const writer = new RowsWriter(path => this.#staged.create(path), target, placement)
    for await (const batch of batches) {
      this.#signal?.throwIfAborted()
      await writer.write(batch)
    }
    const files = await writer.finish()
    this.#added.push(...files)
    return files
  }

  /** True if rows get values that who writes them did not give: generated ones, and numbers. */
  get givesValues(): boolean {
    return this.#rules?.gives ?? false
  }

  /**
   * Tells of rows in whose place new ones come, before those are written: a new row may keep what the table gave to one of
   * them, a number or a value that follows from others.
   */
  async replaces(rows: () => AsyncIterable<Batch>): Promise<void> {
    const rules = await this.#rulesFor()
    if (rules?.gives !== true) return
    for await (const batch of rows()) rules.replaces(batch)
  }

  /** Numbers that rows have in identity columns are those that they had, or were found to be allowed. */
  async identityIsChecked(): Promise<void> {
    const rules = await this.#rulesFor()
    rules?.identityIsChecked()
  }

  /** The columns that tell which rows those are that were there before, in a table that tracks them. */
  async #hidden(): Promise<HiddenColumns | undefined> {
    const schema = idColumns(this.base)
    if (schema.length === 0) return undefined
    this.#keptIds ??= await KeptIds.of(this.#table.store, this.base, this.#feed.told)
    const kept = this.#keptIds
    return { schema, ofNew: batch => kept.ofNew(batch) }
  }

  async #rulesFor(): Promise<RowRules | undefined> {
    if (this.#rules !== undefined) return this.#rules
    const rules = rulesOf(ruledTable(this.base, this.schema))
    if (rules === undefined) return undefined
    // Numbers go on from the newest ones that are known, also if rows go into an older version.
    const { schema } = rules.identities.length === 0 ? this.base : await this.#table.recent()
    this.#rules = new RowRules(rules, this.schema, schema, this.#table.clock.nowMs())
    return this.#rules
  }

  /** Adds a file that is there already. It is not the transaction's to take away. */
  addFile(file: NewFile): void {
    this.#hasForeignFiles = true
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

  /** Gives the table other metadata as a whole. It is a conflict if another writer has changed it. */
  changeMetadata(metadata: MetadataAction): void {
    this.#metadata = metadata
  }

  /**
   * Says which rows change, for a table with a change data feed; before new rows are written. Not told, the rows of the
   * change are deletes and inserts.
   */
  tellChanges(rows: TouchedRows): void {
    this.#feed.tell(rows)
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
      placedIn: this.#placedIn,
      delete: this.#deletions,
      removeFiles: this.#removed,
      addAgain: this.#addedAgain,
      metadata: this.#metadata,
      schema: this.#schema,
      numbered: this.#rules?.marks ?? NOTHING_NUMBERED,
      readWholeTable: this.#readsWholeTable,
    }
    checkPaths(change)
    if (this.#hasForeignFiles && rulesOf(ruledTable(this.base, this.schema)) !== undefined)
      throw new TableError(
        'unsupported_feature',
        `${this.#table.store.location}: files cannot be added as they are: the table has rules that their rows may break`,
      )
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
      if (this.#app !== undefined && isDone(newest, this.#app))
        return conflict(`another writer has made the change as ${this.#app.appId} (version ${newest.version})`)
      const nowMs = clock.nowMs()
      const rebased = await rebase(change, operation, newest, {
        store,
        nowMs,
        txnId: this.txnId,
        prepared: this.#prepared,
        feed: this.#feed,
        deletedRows: file => this.#table.deletedRows(file),
      })
      if (rebased.kind === 'conflict') return rebased
      const actions = [...rebased.actions, ...txnActions(this.#app, nowMs)]
      if (operation.isRecorded !== true && rebased.actions.every(action => action.commitInfo))
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
