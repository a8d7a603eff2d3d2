import { Database } from 'bun:sqlite'
import { join } from 'node:path'
import { MemoryCache } from '../../../src/cache/memory.ts'
import { parseDdl } from '../../../src/columns/schema.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { ErrorJournal } from '../../../src/fs/error-journal.ts'
import type { Export, FileSystem, Node } from '../../../src/fs/filesystem.ts'
import { Segments } from '../../../src/fs/text/segments.ts'
import { LakeTree, type LakeTreeOptions } from '../../../src/fs/tree/lake-tree.ts'
import { createTable } from '../../../src/table/operations/create.ts'
import { WorkerPool } from '../../../src/table/workers/pool.ts'
import { memoryStore } from '../../helpers/memory-store.ts'
import { temporaryFolder } from '../../helpers/temporary.ts'

export const THROUGH: Export = { frozen: true, readOnly: false, others: false }
const caller = { connection: 1, uid: 0, socket: undefined }

/** A table in memory with its tree, whose server can be started anew. */
export class LakeInMemory implements AsyncDisposable {
  readonly #folder = temporaryFolder()
  readonly #pool = new WorkerPool({ threads: 1 })
  #options: Partial<LakeTreeOptions>
  readonly #table: LakeTreeOptions['table']
  #database: Database
  #tree: LakeTree

  private constructor(table: LakeTreeOptions['table'], options: Partial<LakeTreeOptions>) {
    this.#table = table
    this.#options = options
    this.#database = this.#open()
    this.#tree = this.#start()
  }

  static async make(options: Partial<LakeTreeOptions> = {}): Promise<LakeInMemory> {
    const table = await createTable(memoryStore(), { schema: parseDdl('id:Int64,name:String') })
    const lake = new LakeInMemory(table, options)
    await lake.#tree.recover()
    return lake
  }

  get fileSystem(): FileSystem {
    return this.#tree.fileSystem
  }

  get table(): LakeTreeOptions['table'] {
    return this.#table
  }

  /** `options`: what is other than before. */
  async restart(options: Partial<LakeTreeOptions> = {}): Promise<void> {
    this.#options = { ...this.#options, ...options }
    this.#tree.close()
    this.#database.close()
    this.#database = this.#open()
    this.#tree = this.#start()
    await this.#tree.recover()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tree.finish()
    this.#tree.close()
    this.#database.close()
    await this.#pool.close()
    await this.#table.close()
    this.#folder[Symbol.dispose]()
  }

  #open(): Database {
    return new Database(join(this.#folder.path, 'state.sqlite'), { create: true })
  }

  #start(): LakeTree {
    const cache = new MemoryCache(1 << 24)
    const { path } = this.#folder
    const errors = new ErrorJournal({ path: join(path, 'errors.log'), clock: systemClock })
    return new LakeTree({
      table: this.#table,
      segments: new Segments({ cache, pool: this.#pool, store: this.#table.store, report: () => undefined }),
      cache,
      database: this.#database,
      errors,
      stateDirectory: path,
      filesDirectory: join(path, 'files'),
      runSql: () => Promise.reject(new Error('there is no SQL here')),
      clock: systemClock,
      owner: { uid: 0, gid: 0 },
      log: () => undefined,
      ...this.#options,
    })
  }
}

/** The root of a file system, for a client. */
export function rootOf(fs: FileSystem): Node {
  return { ...fs.root(THROUGH), caller }
}

/** What a path leads to, from a folder. */
export async function walk(fs: FileSystem, from: Node, path: string): Promise<Node> {
  let at = from
  for (const name of path.split('/')) at = { ...(await fs.lookup(at, name)).node, caller }
  return at
}

export async function textOf(fs: FileSystem, node: Node): Promise<string> {
  const { size } = await fs.getattr(node)
  return Buffer.concat((await fs.read(node, 0n, Number(size))).data).toString()
}

/** The code of the error that a call is rejected with; OK if it is not. */
export async function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'OK',
    (error: { code?: string }) => error.code ?? String(error),
  )
}
