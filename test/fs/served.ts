import { cpSync, existsSync, linkSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import { errnoOf } from '../../src/core/errors.ts'
import type { CompactionOptions } from '../../src/fs/compactor.ts'
import type { HoldTimes } from '../../src/fs/saves/hold-times.ts'
import { type Seams, serveTable, type TableServer } from '../../src/serve/table-server.ts'
import { execute } from '../../src/sql/engine.ts'
import { openStore } from '../../src/storage/location.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { optimize } from '../../src/table/operations/optimize.ts'
import { openTable } from '../../src/table/table.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { type Handle, NfsClient, type NfsClientError } from '../nfs/client.ts'

const HOUR_MS = 3_600_000

/** What is held, is held for longer than any test runs: only what a test does ends it. */
export const HELD: HoldTimes = {
  quietMs: 1,
  openAppendMs: 1,
  incompleteMs: HOUR_MS,
  pageMs: HOUR_MS,
  truncatedMs: HOUR_MS,
  removedMs: HOUR_MS,
  awayMs: HOUR_MS,
  resumedMs: HOUR_MS,
  abandonedMs: HOUR_MS,
  answeredMs: HOUR_MS,
  pinnedMs: HOUR_MS,
  finishedMs: 2000,
  // Programs of one client work one after the other, and quickly.
  togetherMs: 0,
}

/** A table that is served over TCP, and a client that sends the calls which a kernel would. */
export interface ServedTable extends AsyncDisposable {
  /** The table's folder. */
  readonly directory: string
  readonly server: TableServer
  readonly client: NfsClient
  readonly root: Handle
  readonly data: Handle
  /** The handle of data.csv that an open gets now. */
  csv(): Promise<Handle>
  /** A file, by its path from the root, as a program that opens it now reads it. */
  read(path?: string): Promise<string>
  /** How many versions the table has beyond its creation. */
  commits(): Promise<number>
  names(): Promise<string[]>
  /** Another process changes the table, by SQL. */
  elsewhere(sql: string): Promise<void>
  /** Another process puts all files together; true if there were several. */
  compacted(): Promise<boolean>
  /**
   * The table of a server that was killed at this moment and started again; the one before it is over. `onKilled` gets the folder
   * that the killed one left behind, before the next one takes it up.
   */
  killed(holdTimes?: HoldTimes, onKilled?: (directory: string) => void): Promise<ServedTable>
  /** The same table, where it is, after its server has ended and was started again; the one before it is over. */
  restarted(seams?: Partial<Seams>): Promise<ServedTable>
}

/** Serves a new table with the columns of `ddl`, whose rows are those of a first save, if there are any. */
export async function serveNew(
  ddl: string,
  rows: string,
  holdTimes: HoldTimes = HELD,
  seams?: Partial<Seams>,
  others: ServedOthers = {},
): Promise<ServedTable> {
  const folder = temporaryFolder()
  const directory = join(folder.path, 'table')
  mkdirSync(directory)
  const { configuration = {} } = others
  await createTable(openStore({ kind: 'local', directory }), { schema: parseDdl(ddl), configuration })
  return serveFolder(folder, holdTimes, rows, undefined, seams, others)
}

/** What only some tests ask for. */
export interface ServedOthers {
  readonly configuration?: Readonly<Record<string, string>>
  readonly compaction?: CompactionOptions
  readonly log?: (sentence: string) => void
}

/** Serves a table that `make` makes in the folder that it is given, by another writer as a rule. */
export async function serveMade(make: (directory: string) => Promise<void>): Promise<ServedTable> {
  const folder = temporaryFolder()
  const directory = join(folder.path, 'table')
  mkdirSync(directory)
  await make(directory)
  return serveFolder(folder, HELD, '')
}

type Folder = ReturnType<typeof temporaryFolder>

async function serveFolder(
  folder: Folder,
  holdTimes: HoldTimes,
  rows: string,
  known?: bigint,
  seams?: Partial<Seams>,
  { compaction, log = () => undefined }: ServedOthers = {},
): Promise<ServedTable> {
  const directory = join(folder.path, 'table')
  const server = await serveTable({
    location: directory,
    host: '127.0.0.1',
    port: 0,
    readOnly: false,
    allowOther: true,
    cacheDirectory: join(folder.path, 'cache'),
    holdTimes,
    seams,
    compaction,
    log,
  })
  const client = await NfsClient.connect({ port: server.port })
  const root = await client.mount(server.exportPath)
  const data = await client.walk(root, 'data')
  const csv = (): Promise<Handle> => client.walk(data, 'data.csv')
  const version = async (): Promise<bigint> => (await server.lake.table.refresh()).version
  if (rows !== '') await client.write(await csv(), (await client.getattr(await csv())).size, rows)
  const first = known ?? (await version())
  let isOver = false
  const dispose = async (): Promise<void> => {
    if (isOver) return
    isOver = true
    client.close()
    await server.stop()
    folder[Symbol.dispose]()
  }
  const stop = async (): Promise<void> => {
    isOver = true
    client.close()
    await server.stop()
  }
  return {
    directory,
    server,
    client,
    root,
    data,
    csv,
    read: async (path = 'data/data.csv') => client.readText(await client.walk(root, path)),
    commits: async () => Number((await version()) - first),
    names: async () => (await client.list(data)).map(({ name }) => name).filter(name => !name.endsWith('.parquet')),
    elsewhere: async sql => {
      await execute(await openTable(openStore({ kind: 'local', directory })), sql)
    },
    compacted: async () => (await optimize(await openTable(openStore({ kind: 'local', directory })))).commits > 0,
    killed: async (times = holdTimes, onKilled) => {
      const after = temporaryFolder()
      copyNow(directory, join(after.path, 'table'))
      onKilled?.(join(after.path, 'table'))
      await dispose()
      return serveFolder(after, times, '', first)
    },
    restarted: async others => {
      await stop()
      return serveFolder(folder, holdTimes, '', first, others)
    },
    [Symbol.asyncDispose]: dispose,
  }
}

/** What is on disk now is what a process that is killed now leaves behind. The cache is its to lose. */
function copyNow(from: string, to: string): void {
  for (let attempt = 1; ; attempt++) {
    try {
      cpSync(from, to, { recursive: true, preserveTimestamps: true })
      linkAgain(join(from, '_posixlake', 'files'), join(to, '_posixlake', 'files'))
      return
    } catch (error) {
      // A checkpoint in the background renamed its temporary file meanwhile.
      if (errnoOf(error) !== 'ENOENT' || attempt === 10) throw error
      rmSync(to, { recursive: true, force: true })
    }
  }
}

/** The status of a call's reply. */
export async function codeOf(call: Promise<unknown>): Promise<string> {
  return call.then(
    () => 'OK',
    (error: NfsClientError) => error.code,
  )
}

/** Users' own files are known by their inodes, which a restart leaves as they are. */
function linkAgain(from: string, to: string): void {
  if (!existsSync(from)) return
  for (const entry of readdirSync(from, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(to, relative(from, entry.parentPath), entry.name)
    rmSync(path, { force: true })
    linkSync(join(entry.parentPath, entry.name), path)
  }
}
