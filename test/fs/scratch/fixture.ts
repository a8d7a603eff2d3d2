import { Database } from 'bun:sqlite'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { FsError } from '../../../src/fs/filesystem.ts'
import { Scratch } from '../../../src/fs/scratch/scratch.ts'

export const ROOT = 1n
export const DATA = 2n
/** Those that are always there. */
export const FOLDERS = [
  { id: ROOT, place: undefined },
  { id: DATA, place: { parent: ROOT, name: 'data' } },
]

/** A Scratch in a temporary folder, which can be stopped and started again as a server is. */
export class Fixture implements Disposable {
  readonly base = mkdtempSync(join(tmpdir(), 'posixlake-scratch-'))
  readonly directory = join(this.base, 'files')
  readonly logged: string[] = []
  nowMs = Date.parse('2026-11-24T10:00:00Z')
  database = this.#open()
  scratch = this.#start()

  /** Another process takes over; with `killed`, the one before had no chance to close anything. */
  restart({ killed = false } = {}): Scratch {
    if (!killed) this.scratch.close()
    this.database.close(false)
    this.database = this.#open()
    this.scratch = this.#start()
    return this.scratch
  }

  path(...names: string[]): string {
    return join(this.directory, ...names)
  }

  async file(dirId: bigint, name: string, content: string | Uint8Array = ''): Promise<bigint> {
    const { node } = await this.scratch.create(dirId, name, { kind: 'unchecked', attributes: { mode: 0o644 } })
    const bytes = typeof content === 'string' ? Buffer.from(content) : content
    if (bytes.length > 0) await this.scratch.write(node.id, 0n, bytes, 'file_sync')
    return node.id
  }

  async folder(dirId: bigint, name: string): Promise<bigint> {
    return (await this.scratch.mkdir(dirId, name, { mode: 0o755 })).node.id
  }

  async text(id: bigint): Promise<string> {
    const { size } = await this.scratch.getattr(id)
    return Buffer.concat((await this.scratch.read(id, 0n, Number(size))).data).toString()
  }

  /** All names of a folder, by pages of `limit`. */
  async names(dirId: bigint, limit = 100): Promise<string[]> {
    const names: string[] = []
    for (let cookie = 0n; ; ) {
      const { entries, endOfDirectory } = await this.scratch.readdir(dirId, cookie, limit)
      names.push(...entries.map(entry => entry.name))
      if (endOfDirectory) return names
      cookie = entries.at(-1)!.cookie
    }
  }

  [Symbol.dispose](): void {
    this.scratch.close()
    this.database.close(false)
    rmSync(this.base, { recursive: true, force: true })
  }

  #open(): Database {
    return new Database(join(this.base, 'state.db'), { create: true })
  }

  #start(): Scratch {
    const { directory, database } = this
    return new Scratch({
      directory,
      folders: FOLDERS,
      database,
      clock: { nowMs: () => this.nowMs },
      owner: { uid: 501, gid: 20 },
      log: sentence => this.logged.push(sentence),
    })
  }
}

/** The code with which a promise is rejected; anything but an FsError is thrown on. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
  } catch (error) {
    if (error instanceof FsError) return error.code
    throw error
  }
  return 'none'
}
