import type { Clock } from '../core/clock.ts'
import { errnoOf, messageOf } from '../core/errors.ts'
import type { Table } from '../table/table.ts'
import { endStray } from './child.ts'
import { SqlError, undecided } from './errors.ts'
import type { Changed } from './protocol.ts'
import {
  beginRecord,
  noteAnswer,
  type ProcessId,
  readRecord,
  readRecords,
  removeRecord,
  type StatementHeader,
} from './record.ts'
import { changesOf, findCommit, takeBack } from './written.ts'

/** For how long a statement is known when it comes once more, and how many are: a file each. */
const KNOWN_MS = 10 * 60_000
const KNOWN_MAX = 64

export interface LedgerOptions {
  readonly folder: string
  readonly table: Table
  readonly clock: Clock
  readonly log: (sentence: string) => void
}

/** A statement that was begun, and what is known of it. */
export interface RecordedStatement {
  readonly path: string
  readonly header: StatementHeader
}

interface Known extends RecordedStatement {
  /** Undefined: that is not known yet. */
  changed: Changed | undefined
  /** The server ended before it answered: whoever asked will ask again, perhaps by another call. */
  cutOff: boolean
  readonly sinceMs: number
}

/**
 * The records of statements that change the table, so that what is said of each is true whatever is killed while it runs,
 * and so that one that was committed is not run a second time when its call is repeated.
 */
export class StatementLedger {
  readonly #options: LedgerOptions
  readonly #known: Known[] = []
  readonly #begun = new Set<string>()

  constructor(options: LedgerOptions) {
    this.#options = options
  }

  /** Takes up what an earlier server left: ends processes of it that still run, and finds out what became of statements. */
  async recover(): Promise<void> {
    const nowMs = this.#options.clock.nowMs()
    for (const { path, header, answer } of await readRecords(this.#options.folder)) {
      const entry: Known = { path, header, changed: answer?.changed, cutOff: answer === undefined, sinceMs: nowMs }
      if (entry.cutOff) {
        await endStray(header.process)
        if (!(await this.#decide(entry))) continue
      } else if (entry.changed === undefined || nowMs - (answer?.answeredMs ?? 0) > KNOWN_MS) {
        await removeRecord(path)
        continue
      }
      this.#known.push(entry)
    }
  }

  /** Returns the changes of a statement that was committed before, if this is the same call again. SqlError `undecided`. */
  async known(sql: string, call: string | undefined): Promise<Changed | undefined> {
    const entry =
      this.#known.find(({ header }) => call !== undefined && header.call === call) ??
      this.#known.find(({ cutOff, header }) => cutOff && header.sql === sql)
    if (entry === undefined) return undefined
    try {
      entry.changed ??= await this.#settled(entry)
    } catch (cause) {
      throw undecided(new Error('it was cut off before'), cause)
    }
    if (entry.changed === undefined) this.#forget(entry)
    // One repetition is the one that was waited for; the next is meant as it is.
    entry.cutOff = false
    return entry.changed
  }

  /** True if a transaction is that of one of the last statements that were begun. */
  hasBegun(txnId: string): boolean {
    return this.#begun.has(txnId)
  }

  /** Writes down a statement that is about to run. SqlError if that is not possible. */
  async begin(sql: string, call: string | undefined, process: ProcessId): Promise<RecordedStatement> {
    const { folder, table, clock } = this.#options
    this.#prune()
    const header: StatementHeader = {
      txnId: crypto.randomUUID(),
      sql,
      base: String(table.snapshot.version),
      call,
      process,
      begunMs: clock.nowMs(),
    }
    this.#begun.add(header.txnId)
    for (const oldest of this.#begun) {
      if (this.#begun.size <= KNOWN_MAX) break
      this.#begun.delete(oldest)
    }
    try {
      return { path: await beginRecord(folder, header), header }
    } catch (cause) {
      const why = errnoOf(cause) === 'ENOSPC' ? 'the disk is full' : messageOf(cause)
      throw new SqlError('failed', `nothing was changed: ${folder} cannot be written to: ${why}`, { cause })
    }
  }

  /** A statement's process said what came of it; undefined: nothing, and nothing is left of it. */
  async answered(entry: RecordedStatement, changed: Changed | undefined): Promise<void> {
    if (changed === undefined) {
      await this.#remove(entry)
      return
    }
    const answeredMs = this.#options.clock.nowMs()
    this.#known.push({ ...entry, changed, cutOff: false, sinceMs: answeredMs })
    await noteAnswer(entry.path, { changed, answeredMs }).catch(error => this.#options.log(messageOf(error)))
  }

  /** The process is gone without a word. What came of the statement; undefined: nothing. SqlError `undecided`. */
  async settle(entry: RecordedStatement, why: unknown): Promise<Changed | undefined> {
    const known: Known = { ...entry, changed: undefined, cutOff: true, sinceMs: this.#options.clock.nowMs() }
    try {
      const changed = await this.#settled(known)
      await this.answered(entry, changed)
      return changed
    } catch (cause) {
      this.#known.push(known)
      throw undecided(why, cause)
    }
  }

  /** Finds out what became of a statement that was cut off. False if nothing did, and nothing is kept. */
  async #decide(entry: Known): Promise<boolean> {
    try {
      entry.changed = await this.#settled(entry)
    } catch (error) {
      this.#options.log(`whether a statement changed the table is not known yet: ${messageOf(error)}`)
      return true
    }
    if (entry.changed === undefined) await removeRecord(entry.path)
    return entry.changed !== undefined
  }

  /** Looks for the commit of a statement whose process is gone, and takes back what is not of it. */
  async #settled({ path, header }: RecordedStatement): Promise<Changed | undefined> {
    const { table } = this.#options
    const found = await findCommit(table, header.txnId, BigInt(header.base))
    await takeBack(table, readRecord(path)?.written ?? [], found)
    return found && { kind: 'changed', version: String(found.version), ...changesOf(found) }
  }

  #prune(): void {
    const endedMs = this.#options.clock.nowMs() - KNOWN_MS
    while (this.#known.length > KNOWN_MAX || (this.#known[0]?.sinceMs ?? endedMs) < endedMs) {
      const oldest = this.#known.shift()
      // Of one that is not decided yet the record is needed still.
      if (oldest?.changed !== undefined) void this.#remove(oldest)
    }
  }

  #forget(entry: Known): void {
    this.#known.splice(this.#known.indexOf(entry), 1)
    void this.#remove(entry)
  }

  async #remove({ path }: RecordedStatement): Promise<void> {
    await removeRecord(path).catch(error => this.#options.log(messageOf(error)))
  }
}
