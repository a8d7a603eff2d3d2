import { mkdir, rmdir } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Folders that were made for files, and go again with the last file in them: an object store has no empty folders. */
export class MadeFolders {
  readonly #made = new Set<string>()

  /** Makes a folder and those above it. The topmost that was missing; undefined if all were there. */
  async make(folder: string): Promise<string | undefined> {
    const first = await mkdir(folder, { recursive: true })
    for (let made = folder; first !== undefined; made = dirname(made)) {
      this.#made.add(made)
      if (made === first || made === dirname(made)) break
    }
    return first
  }

  /** Takes a folder away, and those above it, as far as they were made here and nothing is in them. Those that went. */
  async removeEmpty(folder: string): Promise<string[]> {
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
