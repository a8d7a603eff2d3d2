import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl } from '../../columns/schema.ts'
import { WorkerPool } from '../../columns/workers/pool.ts'
import { isAlive } from '../../core/processes.ts'
import { cacheHome } from '../../core/xdg.ts'
import { schemaSql } from '../../fs/views/schema-sql.ts'
import { type Location, openStore, parseLocation, s3Text } from '../../storage/location.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { TableError } from '../../table/errors.ts'
import { copyNewTable } from '../../table/operations/copy.ts'
import { createFromCsv, createFromParquet, type ImportOptions } from '../../table/operations/import.ts'
import { checkNoTable, createTable, type Table } from '../../table/table.ts'
import { command, UsageError } from '../command.ts'
import { interruptible } from '../interrupt.ts'
import { note, print } from '../output.ts'
import { Progress } from '../progress.ts'
import { storeArgs, useStore } from '../store-args.ts'

export default command({
  name: 'create',
  summary: 'Create a table, empty or from CSV or Parquet files',
  examples: [
    'posixlake create ./people --schema "id:Int64,name:String,age:Int32,city:String"',
    'posixlake create ./sales --from-csv sales.csv',
    'zcat sales.csv.gz | posixlake create ./sales --from-csv -',
    "posixlake create ./events --from-parquet 'events/*.parquet'",
    'posixlake create ./sales --from-parquet sales/       # sales/year=2023/... gives a column year, too',
    'posixlake create ./empty        # the first save with a header line gives the columns',
  ],
  args: {
    table: {
      type: 'positional',
      required: true,
      description: 'The directory of the table, made if missing, or s3://bucket/prefix',
    },
    schema: {
      type: 'string',
      valueHint: 'COLUMNS',
      description: 'The columns: name:Type,...; with --from-csv their types, which are found otherwise',
    },
    'from-csv': {
      type: 'string',
      valueHint: 'FILE',
      description: 'CSV with a header line; several as FILE FILE ... or as a pattern; - is standard input',
    },
    delimiter: {
      type: 'string',
      valueHint: 'CHARACTER',
      description: 'What stands between the fields of CSV; found if not given: comma, semicolon, tab or bar',
    },
    'from-parquet': {
      type: 'string',
      valueHint: 'FILE',
      description:
        'Parquet; several as FILE FILE ... or as a pattern; a folder means all files in it; - is standard input',
    },
    name: { type: 'string', valueHint: 'NAME', description: 'The name in the metadata' },
    ...storeArgs,
  },
  rest: 'files',
  run: async (args, rest) => {
    useStore(args.table, args)
    const location = parseLocation(args.table)
    const schema = args.schema === undefined ? undefined : parseDdl(args.schema)
    const csv = args['from-csv']
    const parquet = args['from-parquet']
    if (csv !== undefined && parquet !== undefined) throw new UsageError('give --from-csv or --from-parquet, not both')
    if (parquet !== undefined && schema !== undefined)
      throw new UsageError('Parquet files bring their types: leave out --schema')
    if (args.delimiter !== undefined && csv === undefined) throw new UsageError('--delimiter goes with --from-csv')
    const source = csv ?? parquet
    if (source === undefined && rest.length > 0)
      throw new UsageError(`posixlake create does not know what to do with ${JSON.stringify(rest[0])}`)
    const options = {
      ...(schema === undefined ? {} : { schema }),
      ...(args.name === undefined ? {} : { name: args.name }),
    }
    const delimiter = args.delimiter === undefined ? undefined : delimiterByte(args.delimiter)
    await checkFree(location)
    const create = csv === undefined ? createFromParquet : createFromCsv
    const table =
      source === undefined
        ? await createEmpty(location, options)
        : await fromFiles(location, create, [source, ...rest], { ...options, delimiter })
    await print(describe(args.table, table))
    return undefined
  },
})

type TableOptions = Pick<ImportOptions, 'schema' | 'name' | 'delimiter'>

async function createEmpty(location: Location, { schema = [], ...options }: TableOptions): Promise<Table> {
  if (location.kind === 'local') mkdirSync(location.directory, { recursive: true })
  return createTable(openStore(location), { schema, ...options })
}

async function fromFiles(
  location: Location,
  create: typeof createFromCsv,
  patterns: readonly string[],
  options: TableOptions,
): Promise<Table> {
  const paths = await filesOf(patterns)
  const store = openStore(location)
  // What is wrong with the store, or with what is there, is said before all is read.
  await checkNoTable(store)
  const pool = new WorkerPool()
  const progress = new Progress('importing')
  try {
    return await interruptible(signal => {
      // What the threads are at is of no use any more.
      signal.addEventListener('abort', () => void pool.close())
      const imported = { pool, log: note, signal, ...options }
      const tell = (done: number, total: number): void => progress.update(done, total)
      if (location.kind === 'local') return create(location.directory, paths, { ...imported, progress: tell })
      return elsewhere(store, signal, tell, directory => create(directory, paths, { ...imported, progress: tell }))
    })
  } finally {
    progress.end()
    await pool.close()
  }
}

/** A table is made in a folder of this machine first: what is wrong with the files is found out before anything is sent. */
async function elsewhere(
  store: ObjectStore,
  signal: AbortSignal,
  progress: (done: number, total: number) => void,
  create: (directory: string) => Promise<Table>,
): Promise<Table> {
  const folder = join(cacheHome(), 'imports')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  // What processes that were killed left behind.
  for (const name of readdirSync(folder))
    if (!isAlive(Number.parseInt(name, 10))) rmSync(join(folder, name), { recursive: true, force: true })
  const directory = mkdtempSync(join(folder, `${process.pid}-`))
  try {
    const table = await create(directory)
    return await copyNewTable(table, store, { signal, progress })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** A folder with other files in it is no place for a table: VACUUM deletes all that is no part of one. */
async function checkFree(location: Location): Promise<void> {
  const names = location.kind === 'local' ? namesIn(location.directory) : await firstNames(openStore(location))
  if (names.includes('_delta_log')) return // Whoever creates the table says so.
  const strange = names.find(name => !/^[._]|^lost\+found$/.test(name))
  if (strange === undefined) return
  const where = location.kind === 'local' ? location.directory : s3Text(location)
  throw new TableError(
    'exists',
    `${where}: the folder holds other files (${strange}), which VACUUM of this table would delete; choose a new or an empty folder`,
  )
}

function namesIn(directory: string): string[] {
  const isFolder = statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true
  return isFolder ? readdirSync(directory) : []
}

async function firstNames(store: ObjectStore): Promise<string[]> {
  return [...new Set((await store.list('')).map(({ path }) => path.split('/')[0]!))]
}

function delimiterByte(text: string): number {
  const character = text === '\\t' || text === 'tab' ? '\t' : text
  if (!/^[\t\x20-\x7e]$/.test(character) || /[\w"]/.test(character))
    throw new UsageError(`--delimiter takes one character, such as ';' or tab, not ${JSON.stringify(text)}`)
  return character.charCodeAt(0)
}

/** Names of files, and patterns that the shell left for us. */
async function filesOf(patterns: readonly string[]): Promise<string[]> {
  const files: string[] = []
  for (const pattern of patterns) {
    if (pattern === '') throw new UsageError('the name of a file to import is empty')
    if (statSync(pattern, { throwIfNoEntry: false }) !== undefined || !/[*?[{]/.test(pattern)) {
      files.push(pattern)
      continue
    }
    const glob = new Bun.Glob(pattern)
    let found = (await Array.fromAsync(glob.scan({ onlyFiles: true }))).sort()
    // Where it matches folders alone, such as those of partitions, it means them.
    if (found.length === 0) found = (await Array.fromAsync(glob.scan({ onlyFiles: false }))).sort()
    if (found.length === 0) throw new TableError('missing_file', `no file matches ${pattern}`)
    files.push(...found)
  }
  return files
}

function describe(name: string, { snapshot }: Table): string {
  const rows = snapshot.files.reduce((sum, file) => sum + (file.rows ?? 0), 0)
  return `${name}: ${rows === 0 ? 'no rows' : `${rows} ${rows === 1 ? 'row' : 'rows'} in ${snapshot.files.length} ${snapshot.files.length === 1 ? 'file' : 'files'}`}\n${schemaSql(snapshot)}`
}
