import type { ObjectStore, ObjectWriter } from '../../storage/object-store.ts'

/**
 * The files that somebody writes for a commit, until the log names them. What is not kept when it is disposed of is taken
 * away, files that are only begun included; what cannot be taken away does no harm, for no version names it.
 */
export class StagedFiles implements AsyncDisposable {
  readonly #store: ObjectStore
  readonly #paths = new Set<string>()
  readonly #open = new Set<ObjectWriter>()
  #isOver = false

  constructor(store: ObjectStore) {
    this.#store = store
  }

  /** A new file, written piece by piece: see ObjectStore.create. */
  async create(path: string): Promise<ObjectWriter> {
    this.#begin(path)
    const out = await this.#store.create(path)
    this.#open.add(out)
    return {
      write: bytes => out.write(bytes),
      close: async () => {
        await out.close()
        this.#open.delete(out)
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
    await this.#store.write(path, bytes)
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

  #begin(path: string): void {
    if (this.#isOver) throw new Error(`${path}: the change that this file would be part of is over`)
    this.#paths.add(path)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.discardAll()
  }
}
