import { mkdir, rmdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { inTurns } from '../core/once.ts'

/** Folders that were made for files, and go again with the last file in them: an object store has no empty folders. */
export class MadeFolders {
  readonly #made = new Set<string>()
  /** Turns, so that making a folder and putting its first file there does not meet with taking away an empty one. */
  readonly #turns = inTurns()

  /**
   * Makes a folder and those above it, then does `fill`, which is given the topmost that was missing (undefined if all were
   * there). None of them is taken away here meanwhile.
   */
  make<T>(folder: string, fill: (topmost: string | undefined) => Promise<T>): Promise<T> {
    return this.#turns(async () => fill(await this.#make(folder)))
  }

  /** Takes a folder away, and those above it, as far as they were made here and nothing is in them. Those that went. */
  async removeEmpty(folder: string): Promise<string[]> {
    return this.#made.has(folder) ? this.#turns(() => this.#removeEmpty(folder)) : []
  }

  async #make(folder: string): Promise<string | undefined> {
    const first = await mkdir(folder, { recursive: true })
    for (let made = folder; first !== undefined; made = dirname(made)) {
      this.#made.add(made)
      if (made === first || made === dirname(made)) break
    }
    return first
  }

  async #removeEmpty(folder: string): Promise<string[]> {
    const gone: string[] = []
    for (let path = folder; this.#made.has(path); path = dirname(path)) {
      try {
        await rmdir(path)
      } catch {
        break // Something is in it.
      }
      this.#made.delete(path)
      gone.push(path)
    }
    return gone
  }
}
