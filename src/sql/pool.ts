import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { takeAway } from '../core/take-away.ts'
import { SqlChild } from './child.ts'
import { tooMany } from './limits.ts'

/** A process that used more than this is not kept: memory that was freed does not all go back to the system. */
const KEPT_BYTES_MAX = 512e6

export interface PoolOptions {
  /** The command line of a process, as it is when one is started. */
  readonly command: () => readonly string[]
  /** Each process has a folder of its own in it, which goes with the process. */
  readonly folder: string
  readonly processesMax: number
  readonly waitingMax: number
  /** The time that a process is kept for the next statement, in milliseconds. */
  readonly idleMs: number
  readonly log: (sentence: string) => void
}

/** A process and its folder, for one statement at a time. */
export interface Slot {
  readonly child: SqlChild
  readonly folder: string
}

interface Waiter {
  readonly resolve: (slot: Slot | 'free') => void
  readonly reject: (error: unknown) => void
}

/** The processes for statements: started when they are needed, kept for a while, never more than a bound. */
export class ProcessPool {
  readonly #options: PoolOptions
  /** Those that live; of the idle ones with the timer that ends them. */
  readonly #slots = new Map<Slot, ReturnType<typeof setTimeout> | undefined>()
  readonly #waiting: Waiter[] = []
  /** Processes on their way out. */
  readonly #ending = new Set<Promise<void>>()

  constructor(options: PoolOptions) {
    this.#options = options
  }

  /** Processes that live. */
  get size(): number {
    return this.#slots.size
  }

  /** A process that runs nothing else until it is released. Rejects with SqlError, or with the signal's reason. */
  async acquire(signal: AbortSignal): Promise<Slot> {
    signal.throwIfAborted()
    const { processesMax, waitingMax } = this.#options
    for (;;) {
      const idle = this.#idle()
      if (idle !== undefined) return idle
      if (this.#slots.size < processesMax) return this.#start()
      if (this.#waiting.length >= waitingMax) throw tooMany(this.#slots.size, this.#waiting.length)
      const next = await this.#turn(signal)
      if (next !== 'free') return next
    }
  }

  /** Takes a process back. One that is not sound, or has grown too large, is ended. */
  release(slot: Slot, isSound: boolean): void {
    const { child } = slot
    if (!isSound || child.isOver || (child.residentBytes() ?? 0) > KEPT_BYTES_MAX) {
      this.#end(slot)
      return
    }
    const next = this.#waiting.shift()
    if (next !== undefined) {
      next.resolve(slot)
      return
    }
    const timer = setTimeout(() => this.#end(slot), this.#options.idleMs)
    timer.unref()
    this.#slots.set(slot, timer)
  }

  /** Ends all processes; resolves when they and their folders are gone. */
  async close(): Promise<void> {
    for (const slot of [...this.#slots.keys()]) this.#end(slot)
    await Promise.all(this.#ending)
  }

  /** The one that was used last: the others may end. */
  #idle(): Slot | undefined {
    for (const [slot, timer] of [...this.#slots].reverse()) {
      if (timer === undefined) continue
      clearTimeout(timer)
      // Somebody may have killed it meanwhile.
      if (slot.child.isOver) continue
      this.#slots.delete(slot)
      this.#slots.set(slot, undefined)
      return slot
    }
    return undefined
  }

  #start(): Slot {
    const folder = join(this.#options.folder, crypto.randomUUID())
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    try {
      const slot: Slot = { child: new SqlChild(this.#options.command(), this.#options.log), folder }
      this.#slots.set(slot, undefined)
      void slot.child.ended.then(() => this.#ended(slot))
      return slot
    } catch (error) {
      takeAway(folder)
      throw error
    }
  }

  #turn(signal: AbortSignal): Promise<Slot | 'free'> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        reject(signal.reason)
      }
      const waiter: Waiter = {
        resolve: slot => {
          signal.removeEventListener('abort', leave)
          resolve(slot)
        },
        reject,
      }
      this.#waiting.push(waiter)
      signal.addEventListener('abort', leave, { once: true })
    })
  }

  #end(slot: Slot): void {
    clearTimeout(this.#slots.get(slot))
    const ending = slot.child.end().finally(() => this.#ending.delete(ending))
    this.#ending.add(ending)
    this.#forget(slot)
  }

  #ended(slot: Slot): void {
    takeAway(slot.folder)
    this.#forget(slot)
  }

  /** Makes room for another process. */
  #forget(slot: Slot): void {
    clearTimeout(this.#slots.get(slot))
    if (this.#slots.delete(slot)) this.#waiting.shift()?.resolve('free')
  }
}
