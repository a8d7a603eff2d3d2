import { join } from 'node:path'
import { csv, type TextFormatName } from '../columns/text/formats/index.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { takeAway } from '../core/take-away.ts'
import type { Table } from '../table/table.ts'
import { bytesAnswer, FileAnswer, type SqlAnswer } from './answer.ts'
import { ProcessEnded } from './child.ts'
import { SqlError } from './errors.ts'
import { changesText, resultText } from './format.ts'
import { type RecordedStatement, StatementLedger } from './ledger.ts'
import {
  overMemory,
  overTime,
  PROCESSES_MAX,
  processBytesMax,
  type SqlLimits,
  serverLimits,
  WAITING_MAX,
} from './limits.ts'
import { ProcessPool, type Slot } from './pool.ts'
import type { StatementAnswer } from './protocol.ts'
import { countedAs, countOf } from './row-count.ts'
import { mayModify } from './statement.ts'

const IDLE_MS = 60_000
/** The interval at which the memory of a process that runs a statement is looked at, in milliseconds. */
const WATCH_EVERY_MS = 100
/** The longest timer that there is. */
const TIMER_MS_MAX = 2 ** 31 - 1
/** The number of processes that may die before a statement arrives there. */
const ATTEMPTS_MAX = 3

export interface SqlServiceOptions {
  /** The command line of a process that runs statements on the table (see process.ts). */
  readonly command: () => readonly string[]
  /** The table that they are run on; only looked at here. */
  readonly table: Table
  /** A folder of ours alone: results, what the engine spills, and what is kept of statements. */
  readonly folder: string
  readonly limits?: SqlLimits | undefined
  readonly processesMax?: number
  readonly waitingMax?: number
  readonly idleMs?: number
  readonly clock?: Clock
  readonly log: (sentence: string) => void
}

export interface RunStatement {
  /** Refuse what changes the table. */
  readonly readOnly?: boolean
  readonly format?: TextFormatName
  /** Ends the statement when whoever asked is gone. */
  readonly signal?: AbortSignal | undefined
  /** A name that tells the call from all others, and stays the same when it is repeated. */
  readonly call?: string | undefined
}

/** A statement under way. */
interface Run {
  readonly sql: string
  readonly format: TextFormatName
  /** If not, the process refuses changes. */
  readonly mayChange: boolean
  readonly call: string | undefined
  /** Aborted with the SqlError that says why the statement is ended. */
  readonly ending: AbortController
  hasProcess: boolean
}

/**
 * Runs statements in processes of their own: however slow or large one is, this process serves on, and a statement can be
 * ended at any moment by ending its process. See pool.ts for how many, limits.ts for what each may take, ledger.ts for
 * what is known of those that change the table.
 */
export class SqlService {
  readonly #options: SqlServiceOptions
  readonly #limits: SqlLimits
  readonly #pool: ProcessPool
  readonly #ledger: StatementLedger
  readonly #runs = new Map<Run, Promise<unknown>>()
  #stopped = false

  /** No process is started before there is a statement; what processes of an earlier server left is taken away. */
  constructor(options: SqlServiceOptions) {
    const { command, folder, processesMax, waitingMax, idleMs, table, clock = systemClock, log } = options
    this.#options = options
    this.#limits = options.limits ?? serverLimits()
    this.#pool = new ProcessPool({
      command,
      folder: join(folder, 'processes'),
      processesMax: processesMax ?? PROCESSES_MAX,
      waitingMax: waitingMax ?? WAITING_MAX,
      idleMs: idleMs ?? IDLE_MS,
      log,
    })
    this.#ledger = new StatementLedger({ folder: join(folder, 'statements'), table, clock, log })
    takeAway(join(folder, 'processes'))
  }

  /** Takes up what an earlier server left of statements that changed the table; to be called before one may. */
  recover(): Promise<void> {
    return this.#ledger.recover()
  }

  /** True if a transaction is that of a statement which was run here. */
  hasBegun(txnId: string | undefined): boolean {
    return txnId !== undefined && this.#ledger.hasBegun(txnId)
  }

  /** True if a statement is under way that may change the table. */
  get isChanging(): boolean {
    return [...this.#runs.keys()].some(({ mayChange }) => mayChange)
  }

  /** Processes that live, for who wants to know. */
  get processes(): number {
    return this.#pool.size
  }

  /**
   * Runs one statement. The answer is its rows as text, or the counts of what it changed; who asked closes it. Rejects
   * with SqlError: then nothing has changed, unless its code is `undecided`.
   */
  async run(sql: string, { readOnly = false, format = csv.name, signal, call }: RunStatement = {}): Promise<SqlAnswer> {
    const run: Run = {
      sql,
      format,
      mayChange: !readOnly && mayModify(sql),
      call,
      ending: new AbortController(),
      hasProcess: false,
    }
    const running = this.#limited(run, signal)
    this.#runs.set(run, running)
    try {
      return await running
    } finally {
      this.#runs.delete(run)
    }
  }

  /** Ends all statements, with a sentence for each, and takes no more; resolves when they are answered. */
  async end(): Promise<void> {
    this.#stopped = true
    for (const { ending } of this.#runs.keys()) ending.abort(beingStopped())
    await Promise.allSettled(this.#runs.values())
  }

  /** Ends all statements and processes; resolves when nothing of them is left. */
  async close(): Promise<void> {
    await this.end()
    await this.#pool.close()
  }

  /** Runs a statement until one of those who may ends it. */
  async #limited(run: Run, signal: AbortSignal | undefined): Promise<SqlAnswer> {
    const { ending } = run
    if (this.#stopped) throw beingStopped()
    const gone = (): void => ending.abort(callerGone())
    if (signal?.aborted === true) throw callerGone()
    signal?.addEventListener('abort', gone, { once: true })
    const timer = this.#timer(() => ending.abort(overTime(this.#limits, run.hasProcess)))
    try {
      return (await this.#known(run)) ?? (await this.#counted(run)) ?? (await this.#inProcess(run))
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', gone)
    }
  }

  #timer(end: () => void): ReturnType<typeof setTimeout> | undefined {
    const { timeoutMs } = this.#limits
    return timeoutMs > TIMER_MS_MAX ? undefined : setTimeout(end, timeoutMs)
  }

  async #known({ sql, mayChange, call, format }: Run): Promise<SqlAnswer | undefined> {
    const changed = mayChange ? await this.#ledger.known(sql, call) : undefined
    return changed && bytesAnswer(changesText(changed, format))
  }

  /** The log tells how many rows there are: no process is needed for that. */
  async #counted({ sql, format }: Run): Promise<SqlAnswer | undefined> {
    const name = countedAs(sql)
    if (name === undefined) return undefined
    const snapshot = await this.#options.table.refresh().catch(() => undefined)
    const result = snapshot && countOf(snapshot, name)
    return result && bytesAnswer(Buffer.concat(await Array.fromAsync(resultText(result, format))))
  }

  async #inProcess(run: Run): Promise<SqlAnswer> {
    for (let attempt = 1; ; attempt++) {
      const slot = await this.#pool.acquire(run.ending.signal)
      run.hasProcess = true
      try {
        return await this.#inSlot(run, slot)
      } catch (error) {
        if (!(error instanceof ProcessEnded)) throw error
        // Somebody had killed it while it was idle: that has nothing to do with this statement.
        if (attempt === ATTEMPTS_MAX) throw new SqlError('unavailable', `no process for SQL stays alive: ${error.how}`)
      }
    }
  }

  /** Rejects with ProcessEnded if the process was gone before the statement arrived there. */
  async #inSlot(run: Run, slot: Slot): Promise<SqlAnswer> {
    const { child, folder } = slot
    const resultPath = join(folder, `result-${crypto.randomUUID()}`)
    const { signal } = run.ending
    let entry: RecordedStatement | undefined
    let isSound = false
    const kill = (): void => void child.kill()
    const watch = setInterval(() => this.#watch(run, slot), WATCH_EVERY_MS)
    try {
      entry = run.mayChange ? await this.#ledger.begin(run.sql, run.call, child.id) : undefined
      if (signal.aborted) kill()
      signal.addEventListener('abort', kill, { once: true })
      const answer = await child.run({
        sql: run.sql,
        format: run.format,
        resultPath,
        resultBytes: this.#limits.resultBytes,
        memoryBytes: this.#limits.memoryBytes,
        spillFolder: join(folder, 'spill'),
        change: entry && { txnId: entry.header.txnId, recordPath: entry.path },
      })
      isSound = !signal.aborted && (answer.kind !== 'failed' || answer.isSound)
      return await this.#answerOf(run, answer, entry, resultPath)
    } catch (error) {
      if (!(error instanceof ProcessEnded)) throw error
      return await this.#afterEnd(run, error, entry)
    } finally {
      clearInterval(watch)
      signal.removeEventListener('abort', kill)
      this.#pool.release(slot, isSound)
    }
  }

  async #answerOf(
    { format }: Run,
    answer: StatementAnswer,
    entry: RecordedStatement | undefined,
    resultPath: string,
  ): Promise<SqlAnswer> {
    switch (answer.kind) {
      case 'rows':
        // A query, though it speaks of changes.
        if (entry !== undefined) await this.#ledger.answered(entry, undefined)
        return new FileAnswer(resultPath)
      case 'changed':
        if (entry !== undefined) await this.#ledger.answered(entry, answer)
        // Whoever looks next sees it, however rarely the store is asked otherwise.
        await this.#options.table.refresh().catch(() => undefined)
        return bytesAnswer(changesText(answer, format))
      case 'failed': {
        const error = new SqlError(answer.code, answer.message)
        if (entry === undefined) throw error
        if (answer.code !== 'undecided') {
          await this.#ledger.answered(entry, undefined)
          throw error
        }
        const changed = await this.#ledger.settle(entry, error)
        if (changed === undefined) throw error
        return bytesAnswer(changesText(changed, format))
      }
      case 'begun':
      case 'note':
        throw new Error(`${answer.kind} is no answer`)
    }
  }

  /** The process is gone: what is to be said of its statement? */
  async #afterEnd(
    { ending, format }: Run,
    ended: ProcessEnded,
    entry: RecordedStatement | undefined,
  ): Promise<SqlAnswer> {
    const why = ending.signal.aborted ? (ending.signal.reason as SqlError) : died(ended)
    const changed = entry === undefined ? undefined : await this.#ledger.settle(entry, why)
    if (changed !== undefined) return bytesAnswer(changesText(changed, format))
    if (!ended.hadBegun && !ending.signal.aborted) throw ended
    if (!ending.signal.aborted) this.#options.log(why.message)
    throw why
  }

  #watch({ ending }: Run, { child }: Slot): void {
    if ((child.residentBytes() ?? 0) > processBytesMax(this.#limits)) ending.abort(overMemory(this.#limits))
  }
}

function beingStopped(): SqlError {
  return new SqlError('ended', 'the statement was ended, as the server is being stopped')
}

function callerGone(): SqlError {
  return new SqlError('ended', 'the statement was ended, as the program that asked for it is gone')
}

function died({ how }: ProcessEnded): SqlError {
  const hint = how === 'SIGKILL' ? '; perhaps the machine had no memory left, see --query-memory' : ''
  return new SqlError(
    'failed',
    `the process that ran the statement died (${how})${hint}; other statements are not affected`,
  )
}
