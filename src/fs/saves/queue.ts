import type { Line } from '../lines.ts'
import type { Outcome } from './outcome.ts'
import type { Written } from './places.ts'

/** A WRITE that is answered by what becomes of it. */
export interface StableWrite extends Written {
  readonly line: Line
  /** Its handle was good when it came: it is not to suffer from what went wrong in front of it. */
  readonly isGood: boolean
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: unknown) => void
}

type Job =
  | { readonly kind: 'write'; readonly write: StableWrite }
  | { readonly kind: 'task'; readonly run: () => Promise<void> }

export interface SaveQueueOptions {
  readonly writeTogether: (writes: readonly StableWrite[]) => Promise<void>
  /** Whether a WRITE to the same line may share a commit with one in front of it. */
  readonly goTogether: (first: StableWrite, next: StableWrite) => boolean
  readonly onIdle: () => void
}

/** Changes of one view, one after the other in the order in which they came; stable writes that wait go together. */
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
        else await this.#options.writeTogether([job.write, ...this.#waitingWrites(job.write)])
      }
      this.#pumping = false
      this.#options.onIdle()
    })()
  }

  /** The stable writes to the same line that wait right behind: they share one commit. */
  #waitingWrites(first: StableWrite): StableWrite[] {
    const writes: StableWrite[] = []
    for (let job = this.#jobs[0]; job?.kind === 'write' && job.write.line === first.line; job = this.#jobs[0]) {
      if (!this.#options.goTogether(first, job.write)) break
      writes.push(job.write)
      this.#jobs.shift()
    }
    return writes
  }
}
