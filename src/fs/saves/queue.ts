import type { Caller } from '../filesystem.ts'
import type { Line } from '../lines.ts'
import type { Outcome } from './outcome.ts'

/** A WRITE that is answered by what becomes of it. */
export interface StableWrite {
  readonly line: Line
  readonly offset: number
  readonly bytes: Uint8Array
  readonly caller: Caller
  /** Its handle was good when it came: it is not to suffer from what went wrong in front of it. */
  readonly isGood: boolean
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: unknown) => void
}

type Job =
  | { readonly kind: 'write'; readonly write: StableWrite }
  | { readonly kind: 'task'; readonly run: () => Promise<void> }

/** Changes of one view, one after the other in the order in which they came; stable writes that wait go together. */
export class SaveQueue {
  readonly #jobs: Job[] = []
  readonly #writeTogether: (writes: readonly StableWrite[]) => Promise<void>
  readonly #onIdle: () => void
  #pumping = false

  constructor(writeTogether: (writes: readonly StableWrite[]) => Promise<void>, onIdle: () => void) {
    this.#writeTogether = writeTogether
    this.#onIdle = onIdle
  }

  get isIdle(): boolean {
    return this.#jobs.length === 0 && !this.#pumping
  }

  /** Resolves and rejects as `run` does, when its turn is over. */
  task(run: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#jobs.push({ kind: 'task', run: () => run().then(resolve, reject) })
      this.#pump()
    })
  }

  write(write: Omit<StableWrite, 'resolve' | 'reject'>): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.#jobs.push({ kind: 'write', write: { ...write, resolve, reject } })
      this.#pump()
    })
  }

  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    void (async () => {
      for (let job = this.#jobs.shift(); job !== undefined; job = this.#jobs.shift()) {
        if (job.kind === 'task') await job.run()
        else await this.#writeTogether([job.write, ...this.#waitingWrites(job.write.line)])
      }
      this.#pumping = false
      this.#onIdle()
    })()
  }

  /** The stable writes to the same line that wait right behind: they share one commit. */
  #waitingWrites(line: Line): StableWrite[] {
    const writes: StableWrite[] = []
    for (let job = this.#jobs[0]; job?.kind === 'write' && job.write.line === line; job = this.#jobs[0]) {
      writes.push(job.write)
      this.#jobs.shift()
    }
    return writes
  }
}
