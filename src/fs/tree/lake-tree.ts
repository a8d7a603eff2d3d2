import { readFileSync, statfsSync } from 'node:fs'
import type { ByteCache } from '../../cache/byte-cache.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import { Askers } from '../askers.ts'
import { type Client, type FileSystem, FsError, type SpaceInfo } from '../filesystem.ts'
import { Refusals } from '../refusals.ts'
import type { FixedFolder as RealFolder } from '../scratch/real-tree.ts'
import { Scratch } from '../scratch/scratch.ts'
import type { ViewContext, ViewDefinition, ViewFolder } from '../views/context.ts'
import { views as allViews } from '../views/index.ts'
import { QUERIES_NAME } from '../views/result.ts'
import type { RunSql } from '../views/run-sql.ts'
import type { TableViewContext } from '../views/table-view.ts'
import { TableViews } from '../views/table-views.ts'
import type { View } from '../views/view.ts'
import { FixedFolder, UsersFolder } from './folder.ts'
import { DATA_ID, ROOT_ID } from './ids.ts'
import type { Tree, TreeNode } from './node.ts'
import { TreeFileSystem } from './tree-filesystem.ts'
import { UsersFile } from './users-file.ts'

/** The folders on disk that hold the users' files of the folders that are always there. */
const REAL_FOLDERS: readonly RealFolder[] = [
  { id: ROOT_ID, place: undefined },
  { id: DATA_ID, place: { parent: ROOT_ID, name: 'data' } },
]

export interface LakeTreeOptions extends Omit<TableViewContext, 'scratch' | 'data'> {
  readonly cache: ByteCache
  readonly runSql: RunSql
  /** Tells of statements that nobody waits for any more. */
  readonly askers?: Askers
  /** The real folder of the users' files. */
  readonly filesDirectory: string
  /** Views that are shown beside these. */
  readonly views?: readonly ViewDefinition[]
  readonly log: (sentence: string) => void
}

/** A Delta table as a tree: the views of the table, and the users' own files beside them. */
export class LakeTree implements Tree {
  readonly fileSystem: FileSystem
  readonly root: FixedFolder
  readonly #scratch: Scratch
  readonly #tables: TableViews
  /** Of each folder, in the order of their cookies. */
  readonly #views: Readonly<Record<ViewFolder, View[]>> = { root: [], data: [], queries: [] }
  #latest: Snapshot | undefined
  #changed: Promise<unknown> = Promise.resolve()
  #clientSeen = false

  constructor(options: LakeTreeOptions) {
    const { filesDirectory, database, clock, owner, log, views = allViews } = options
    const now = (): bigint => BigInt(clock.nowMs()) * 1_000_000n
    const hides = (folder: bigint, name: string): boolean => this.#viewsAt(folder).some(view => view.hides(name))
    const own = new Scratch({
      directory: filesDirectory,
      folders: REAL_FOLDERS,
      reserved: hides,
      database,
      clock,
      owner,
      log,
    })
    const fixed = { own, owner, now, node: this.node.bind(this) }
    const refresh = (): Promise<Snapshot> => this.#refresh(options.table)
    const data = new FixedFolder({ ...fixed, id: DATA_ID, name: 'data', views: this.#views.data, look: refresh })
    this.root = new FixedFolder({ ...fixed, id: ROOT_ID, name: 'the root', views: this.#views.root })
    this.#scratch = own
    this.#tables = new TableViews(clock, () => data.touch())
    const refusals = new Refusals(options.errors, clock)
    const alone = <T>(run: () => Promise<T>): Promise<T> => this.#alone(run)
    this.#make(views, {
      ...options,
      scratch: own,
      askers: options.askers ?? new Askers(),
      tables: this.#tables,
      root: this.root,
      data,
      now,
      refresh,
      latest: () => this.#latest,
      settledSnapshot: async () => {
        await this.#tables.settled()
        return refresh()
      },
      alone,
      onRoot: () => this.root.touch(),
      onData: () => data.touch(),
      onErrorsRead: () => refusals.reset(),
    })
    this.fileSystem = new TreeFileSystem(this, {
      writeVerifier: bootVerifier(),
      space: () => spaceOf(options.stateDirectory),
      alone,
      onRefused: sentence => refusals.tell(sentence),
      log,
    })
  }

  #make(views: readonly ViewDefinition[], context: ViewContext): void {
    for (const definition of views) this.#views[definition.folder].push(definition.node(context, definition))
    for (const folder of Object.values(this.#views)) folder.sort((a, b) => (a.cookie < b.cookie ? -1 : 1))
  }

  node(id: bigint, client: Client): TreeNode {
    this.#noteClient(client)
    if (id === this.root.id) return this.root
    const node = { ...client, id }
    for (const folder of [this.#views.data, this.#views.root, this.#views.queries]) {
      for (const view of folder) {
        const found = view.find(node)
        if (found !== undefined) return found
      }
    }
    const { kind, name } = this.#scratch.kindOf(id)
    if (kind === 'file') return new UsersFile(id, name, this.#scratch)
    return new UsersFolder({ id, name, own: this.#scratch, views: this.#viewsAt(id), node: this.node.bind(this) })
  }

  /** The views of a folder. `queries/` is the users' own: it may be removed, and made again. */
  #viewsAt(id: bigint): readonly View[] {
    if (id === ROOT_ID) return this.#views.root
    if (id === DATA_ID) return this.#views.data
    const entry = this.#scratch.entryOf(id)
    return entry?.dirId === ROOT_ID && entry.name === QUERIES_NAME ? this.#views.queries : []
  }

  /** Takes up what an earlier process left. To be called before serving. */
  async recover(): Promise<void> {
    await this.#tables.recover()
    try {
      await this.#scratch.mkdir(ROOT_ID, QUERIES_NAME, {})
    } catch (error) {
      if (!(error instanceof FsError && error.code === 'EEXIST')) throw error
    }
  }

  /** Resolves when no save is held any more. */
  settled(): Promise<void> {
    return this.#tables.settled()
  }

  /** Brings every held save to its end now, as nobody will write any more. */
  finish(): Promise<void> {
    return this.#tables.finish()
  }

  /** The saves that are held, in sentences. */
  held(): string[] {
    return this.#tables.held()
  }

  /** True if no save is under way, and no name of a view away. */
  get isQuiet(): boolean {
    return this.#tables.isQuiet
  }

  /** Views show the newest version from now on, as they would when somebody looks. */
  goOn(): Promise<void> {
    return this.#tables.goOn()
  }

  close(): void {
    this.#tables.close()
    this.#scratch.close()
  }

  async #refresh(table: TableViewContext['table']): Promise<Snapshot> {
    const snapshot = await table.recent()
    this.#latest = snapshot
    this.#tables.noteVersion(snapshot)
    return snapshot
  }

  #alone<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#changed.then(run)
    this.#changed = result.catch(() => undefined)
    return result
  }

  #noteClient({ caller }: Client): void {
    if (this.#clientSeen) return
    this.#clientSeen = true
    this.#tables.clientSeen(caller)
  }
}

function spaceOf(directory: string): SpaceInfo {
  const { bsize, blocks, bfree, bavail, files, ffree } = statfsSync(directory, { bigint: true })
  return {
    totalBytes: bsize * blocks,
    freeBytes: bsize * bfree,
    availableBytes: bsize * bavail,
    totalFiles: files,
    freeFiles: ffree,
    availableFiles: ffree,
  }
}

/** Changes when the machine was booted anew: only then may bytes that were answered UNSTABLE be lost (RFC 1813, writeverf3). */
function bootVerifier(): bigint {
  let boot = ''
  try {
    boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
  } catch {
    boot = String(Date.now() - Math.trunc(performance.now()))
  }
  return BigInt.asUintN(64, Bun.hash.wyhash(boot))
}
