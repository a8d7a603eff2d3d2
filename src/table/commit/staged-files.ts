import { type ObjectStore, type ObjectWriter, StorageError } from '../../storage/object-store.ts'

/** Files whose bytes are on their way to the disk at the same time, each of which is open. */
const SYNCS_MAX = 8

/**
 * The files that somebody writes for a commit, until the log names them. What is not kept when it is disposed of is taken
 * away, files that are only begun included; what cannot be taken away does no harm, for no version names it.
 */
export class StagedFiles implements AsyncDisposable {
  readonly #store: ObjectStore
  readonly #paths = new Set<string>()
  readonly #open = new Set<ObjectWriter>()
  readonly #syncs: Promise<void>[] = []
  #isOver = false

  constructor(store: ObjectStore) {
    this.#store = store
  }

  /** A new file, written piece by piece: see ObjectStore.create. It is durable when `durable` has resolved after its `close`. */
  async create(path: string): Promise<ObjectWriter> {
    this.#begin(path)
    const out = await this.#reaching(path, this.#store.create(path))
    this.#open.add(out)
    return {
      write: bytes => this.#reaching(path, out.write(bytes)),
      close: async () => {
        const ended = await this.#reaching(path, out.end?.() ?? out.close().then(() => undefined))
        this.#open.delete(out)
        if (ended !== undefined) await this.#synced(ended.durable)
      },
      abort: async () => {
        this.#open.delete(out)
        await out.abort()
      },
    }
  }

  /** A new file, whole and durable when it resolves. */
  async write(path: string, bytes: Uint8Array): Promise<void> {
    this.#begin(path)
    await this.#reaching(path, this.#store.write(path, bytes))
  }

  /** Waits until all that was written is durable. Rejects with StorageError. */
  async durable(): Promise<void> {
    await Promise.all(this.#syncs)
  }

  /** Waits for files before, if too many are on their way. */
  async #synced(durable: Promise<void>): Promise<void> {
    // Whoever commits hears of it.
    durable.catch(() => undefined)
    this.#syncs.push(durable)
    await this.#syncs.at(-SYNCS_MAX - 1)
  }

  /** Gives files away: the log names them, or nobody can tell whether it does. */
  keep(paths: Iterable<string>): void {
    for (const path of paths) this.#paths.delete(path)
  }

  /** Takes away files that turned out not to be needed. */
  async discard(paths: Iterable<string>): Promise<void> {
    for (const path of [...paths]) {
      if (!this.#paths.delete(path)) continue
      await this.#store.delete(path).catch(() => undefined)
    }
  }

  /** Takes away all that is left. Nothing can be written from then on: nobody would take it away. */
  async discardAll(): Promise<void> {
    this.#isOver = true
    for (const out of this.#open) await out.abort().catch(() => undefined)
    this.#open.clear()
    await this.discard(this.#paths)
  }

  /** A file that never reached a store that is away need not be taken away: its program hears of the failure that much sooner. */
  async #reaching<T>(path: string, work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      if (error instanceof StorageError && error.code === 'unavailable' && !error.mayHaveTakenEffect)
        this.#paths.delete(path)
      throw error
    }
  }

  #begin(path: string): void {
    if (this.#isOver) throw new Error(`${path}: the change that this file would be part of is over`)
    this.#paths.add(path)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.discardAll()
  }
}
