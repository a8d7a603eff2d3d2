import type { Clock } from '../core/clock.ts'
import { messageOf } from '../core/errors.ts'
import { counted } from '../core/units.ts'
import { TableError } from '../table/errors.ts'
import { COMPACT_LIMITS, type Compacted, type CompactLimits, compact, smallFiles } from '../table/operations/compact.ts'
import type { Table } from '../table/table.ts'

/** When the small files that changes leave are put together. */
export interface CompactionOptions {
  readonly limits: CompactLimits
  /** No change may have come for so long. */
  readonly quietMs: number
  /** So many small files are not left where a quiet moment has not come for so long. */
  readonly overdueFiles: number
  readonly overdueMs: number
}

export const COMPACTION: CompactionOptions = {
  limits: COMPACT_LIMITS,
  quietMs: 5000,
  overdueFiles: 1000,
  overdueMs: 60_000,
}

/** Between two looks whether a writer wants the table, in ms. */
const WATCH_MS = 10

/** The parts of a server that the small files of its table are put together by. */
export interface CompactorOptions {
  readonly table: Table
  readonly clock: Clock
  readonly options?: CompactionOptions
  /** False where nobody may change the table. */
  readonly mayWrite: () => boolean
  /** True if no save and no statement is under way. */
  readonly isQuiet: () => boolean
  /** The table's views are to go on at the new version. */
  readonly goOn: () => Promise<void>
  readonly log: (sentence: string) => void
}

/**
 * Puts the small files of a table together in the background, behind changes that were made through its server: at a quiet
 * moment, in small commits that change nothing that anybody sees. Writers come first: what was begun is given up for them.
 */
export class Compactor {
  readonly #parts: CompactorOptions
  readonly #options: CompactionOptions
  #timer: Timer | undefined
  #changedMs = 0
  /** Since when a quiet moment is waited for; undefined: it is not. */
  #waitingMs: number | undefined
  #running: Promise<void> | undefined
  #yielding = new AbortController()
  #isStopped = false
  /** Small files that were left at the last look: they do not make many of a few new ones. */
  #left = 0
  /** The table cannot be compacted. */
  #hindrance: string | undefined
  #done = { commits: 0, removedFiles: 0, addedFiles: 0 }

  constructor(parts: CompactorOptions) {
    this.#parts = parts
    this.#options = parts.options ?? COMPACTION
  }

  /** A change was made through the server. */
  noteChange(): void {
    this.#changedMs = this.#parts.clock.nowMs()
    this.#waitingMs ??= this.#changedMs
    if (this.#hindrance === undefined) this.#later()
  }

  /** The progress, as a sentence. */
  get status(): string {
    const { commits, removedFiles, addedFiles } = this.#done
    if (this.#hindrance !== undefined) return `small files stay: ${this.#hindrance}`
    if (commits === 0) return 'on'
    return `${counted(removedFiles, 'small file')} became ${addedFiles}, in ${counted(commits, 'commit')}`
  }

  /** Resolves when nothing is under way any more; nothing is begun from now on. */
  async stop(): Promise<void> {
    this.#isStopped = true
    clearTimeout(this.#timer)
    this.#yielding.abort()
    await this.#running
  }

  #later(): void {
    if (this.#isStopped || this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#running ??= this.#run().finally(() => {
        this.#running = undefined
      })
    }, this.#options.quietMs)
    this.#timer.unref()
  }

  async #run(): Promise<void> {
    if (!this.#parts.mayWrite()) return
    try {
      const isOver = await this.#compactAll()
      if (isOver) this.#waitingMs = undefined
      else this.#later()
    } catch (error) {
      // What cannot be written now may be later; what the table does not allow, it will not allow then.
      const isForGood = error instanceof TableError && error.code !== 'conflict' && error.code !== 'undecided'
      if (isForGood) this.#hindrance = messageOf(error)
      this.#parts.log(`small files are not put together: ${messageOf(error)}`)
    }
  }

  /** False if writers came first. */
  async #compactAll(): Promise<boolean> {
    for (;;) {
      const { table, clock, isQuiet, goOn } = this.#parts
      const { limits, quietMs, overdueFiles, overdueMs } = this.#options
      const now = clock.nowMs()
      const few = smallFiles(table.snapshot, limits)
      this.#left = Math.min(this.#left, few)
      if (few < this.#left + limits.filesMin) return true
      const isOverdue = few >= overdueFiles && now - (this.#waitingMs ?? now) >= overdueMs
      if (!isOverdue && (!isQuiet() || now - this.#changedMs < quietMs)) return false
      const compacted = await this.#compact(isOverdue)
      if (compacted?.kind === 'few') this.#left = few
      if (compacted?.kind !== 'committed') return compacted?.kind === 'few'
      this.#note(compacted)
      await goOn()
    }
  }

  /** Undefined if writers came first. */
  async #compact(isOverdue: boolean): Promise<Compacted | undefined> {
    const { table, isQuiet } = this.#parts
    this.#yielding = new AbortController()
    const { signal } = this.#yielding
    const look = (): void => {
      if (this.#isStopped || !(isOverdue || isQuiet())) this.#yielding.abort()
    }
    const watch = setInterval(look, WATCH_MS)
    try {
      const pause = (): Promise<void> => {
        look()
        return new Promise(resolve => setImmediate(resolve))
      }
      return await compact(table, { signal, pause }, this.#options.limits)
    } catch (error) {
      if (signal.aborted) return undefined
      throw error
    } finally {
      clearInterval(watch)
    }
  }

  #note({ version, removedFiles, addedFiles }: Extract<Compacted, { kind: 'committed' }>): void {
    const { commits, ...before } = this.#done
    this.#done = {
      commits: commits + 1,
      removedFiles: before.removedFiles + removedFiles,
      addedFiles: before.addedFiles + addedFiles,
    }
    this.#parts.log(`version ${version}: ${counted(removedFiles, 'small file')} became ${addedFiles}`)
  }
}
