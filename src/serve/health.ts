import { constants, statSync } from 'node:fs'
import { access, stat, statfs } from 'node:fs/promises'
import type { Clock } from '../core/clock.ts'
import { errnoOf, messageOf } from '../core/errors.ts'
import { withinMs } from '../core/limit.ts'
import { onceAtATime } from '../core/once.ts'
import { type Lake, openLake } from '../lake.ts'

/** Something that keeps a table from being read or written. */
export interface Problem {
  readonly sentence: string
  /** When it was noticed (ms since the epoch). */
  readonly sinceMs: number
}

const EVERY_MS = 30_000
/** A look takes no longer; a disk or a store that does not answer is a problem, too. */
const LIMIT_MS = 3000
const FREE_BYTES_MIN = 1 << 20

export interface HealthOptions {
  readonly clock: Clock
  readonly log: (sentence: string) => void
  /** Rejects with what is wrong. */
  readonly look: () => Promise<void>
  readonly everyMs?: number
  readonly limitMs?: number
}

/** Looks at a table now and then, and when it is asked, and keeps since when something is wrong. */
export class Health {
  readonly #options: HealthOptions
  readonly #timer: Timer
  #problem: Problem | undefined
  /** One look at a time: those behind a store that does not answer would pile up. */
  readonly #looked = onceAtATime(() =>
    this.#options.look().then(
      () => this.#note(undefined),
      error => this.#note(messageOf(error)),
    ),
  )

  constructor(options: HealthOptions) {
    this.#options = options
    this.#timer = setInterval(() => void this.look(), options.everyMs ?? EVERY_MS)
    this.#timer.unref()
  }

  /** Returns the problem that there is now; undefined if there is none. */
  async look(): Promise<Problem | undefined> {
    const { limitMs = LIMIT_MS } = this.#options
    const looked = await withinMs(
      limitMs,
      this.#looked().then(() => 'looked' as const),
    )
    if (looked === undefined) this.#note(`the table's storage has not answered for ${limitMs / 1000} s`)
    return this.#problem
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #note(sentence: string | undefined): void {
    const before = this.#problem
    const { clock, log } = this.#options
    if (sentence === undefined) {
      this.#problem = undefined
      if (before !== undefined) log(`the table can be used again: ${before.sentence}: that is over`)
    } else {
      this.#problem = { sentence, sinceMs: before?.sinceMs ?? clock.nowMs() }
      if (before?.sentence !== sentence) log(`there is a problem with the table: ${sentence}`)
    }
  }
}

/**
 * A look at a table, which rejects if it is not there, is another one, cannot be read, or, if `written()`, not be written.
 */
export function tableLook({ table, location }: Lake, written: () => boolean): () => Promise<void> {
  const log = table.store.localPath('_delta_log')
  if (log === undefined) return async () => void (await table.refresh())
  const { tableId } = table.snapshot
  let known = statSync(log, { bigint: true, throwIfNoEntry: false })?.ino
  return async () => {
    const inode = await inodeOf(log)
    if (inode === undefined) throw new Error(`${location} is not there any more: it was moved or removed`)
    if (inode !== known && (await tableIdAt(location)) !== tableId)
      throw new Error(`${location} is another table now; unmount the one that was there before, and mount again`)
    known = inode
    await table.refresh()
    if (written()) await checkWritable(log, location)
  }
}

/** A file system may give a folder a new inode number at any time: the table itself says which one it is. */
async function tableIdAt(location: string): Promise<string> {
  const lake = await openLake(location)
  try {
    return lake.table.snapshot.tableId
  } finally {
    await lake.close()
  }
}

/** undefined: nothing is there. */
async function inodeOf(path: string): Promise<bigint | undefined> {
  try {
    return (await stat(path, { bigint: true })).ino
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

async function checkWritable(log: string, location: string): Promise<void> {
  await access(log, constants.W_OK).catch(error => {
    const why = errnoOf(error) === 'EROFS' ? 'its file system is read-only' : messageOf(error)
    throw new Error(`${location} cannot be written to: ${why}`)
  })
  const { bavail, bsize } = await statfs(log)
  if (bavail * bsize < FREE_BYTES_MIN) throw new Error(`the disk that holds ${location} is full`)
}
