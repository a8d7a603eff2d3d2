import { clientKey } from '../ends-of-file.ts'
import type { Lineage } from '../lineage.ts'
import type { Outcome } from './outcome.ts'
import type { Written } from './places.ts'

/** A WRITE that is answered by what becomes of it. */
export interface StableWrite extends Written {
  readonly lineage: Lineage
  /** Its handle was good when it came: it is not to suffer from what went wrong in front of it. */
  readonly isGood: boolean
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: unknown) => void
}

type Job =
  | { readonly kind: 'write'; readonly write: StableWrite }
  | { readonly kind: 'task'; readonly run: () => Promise<void> }

export interface SaveQueueOptions {
  /** Brings WRITEs to one lineage into its save: what they are all answered. */
  readonly answer: (writes: readonly StableWrite[]) => Promise<Outcome>
  readonly isUnderWay: (lineage: Lineage) => boolean
  readonly onIdle: () => void
}

/** Changes of one view, one after the other in the order in which they came; stable writes that wait share a commit. */
export class SaveQueue {
  readonly #options: SaveQueueOptions
  readonly #jobs: Job[] = []
  #pumping = false

  constructor(options: SaveQueueOptions) {
    this.#options = options
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
        else await this.#answer([job.write, ...this.#waitingWrites(job.write)])
      }
      this.#pumping = false
      this.#options.onIdle()
    })()
  }

  async #answer(writes: readonly StableWrite[]): Promise<void> {
    const { answer, isUnderWay } = this.#options
    const isBegun = isUnderWay(writes[0]!.lineage)
    try {
      const outcome = await answer(writes)
      for (const write of writes) write.resolve(outcome)
    } catch (error) {
      if (writes.length === 1 || isBegun) {
        for (const write of writes) write.reject(error)
        return
      }
      // One of them is bad; only its own program is to hear of it.
      for (const write of writes) await answer([write]).then(write.resolve, write.reject)
    }
  }

  /** True if a write may go with the first: into a save that is under way, one of another client may be put off. */
  #goTogether(first: StableWrite, next: StableWrite): boolean {
    return !this.#options.isUnderWay(first.lineage) || clientKey(first.caller) === clientKey(next.caller)
  }

  /** The stable writes to the same lineage that wait right behind: they share one commit. */
  #waitingWrites(first: StableWrite): StableWrite[] {
    const writes: StableWrite[] = []
    for (let job = this.#jobs[0]; job?.kind === 'write' && job.write.lineage === first.lineage; job = this.#jobs[0]) {
      if (!this.#goTogether(first, job.write)) break
      writes.push(job.write)
      this.#jobs.shift()
    }
    return writes
  }
}
