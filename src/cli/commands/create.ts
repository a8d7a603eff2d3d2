import { readdirSync, type Stats, statSync } from 'node:fs'
import { parseDdl } from '../../columns/schema.ts'
import { errnoOf } from '../../core/errors.ts'
import { counted } from '../../core/units.ts'
import { schemaSql } from '../../fs/views/schema-sql.ts'
import { localMatches } from '../../storage/local-files.ts'
import { type Location, openStore, parseLocation, s3Text } from '../../storage/location.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { TableError } from '../../table/errors.ts'
import { createTable } from '../../table/operations/create.ts'
import { createFromCsv, createFromParquet, type ImportOptions } from '../../table/operations/import.ts'
import type { Table } from '../../table/table.ts'
import { WorkerPool } from '../../table/workers/pool.ts'
import { command, UsageError } from '../command.ts'
import { dialectArgs, dialectOf } from '../dialect-args.ts'
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
    ...dialectArgs,
    'from-parquet': {
      type: 'string',
      valueHint: 'FILE',
      description:
        'Parquet; several as FILE FILE ... or as a pattern; a folder means all files in it; - is standard input',
    },
    'partition-by': {
      type: 'string',
      valueHint: 'COLUMNS',
      description: 'Columns by whose values the files are kept apart: p,day',
    },
    'no-deletion-vectors': {
      type: 'boolean',
      description:
        'Rewrite files where rows are changed, so that readers without deletion vectors always read the table',
    },
    'column-mapping': {
      type: 'boolean',
      description: 'Let columns be renamed and dropped, which readers of the table have to know',
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
    const dialect = dialectOf(args)
    const [strange] = Object.keys(dialect)
    if (strange !== undefined && csv === undefined) throw new UsageError(`--${strange} goes with --from-csv`)
    const source = csv ?? parquet
    if (source === undefined && rest.length > 0)
      throw new UsageError(`posixlake create does not know what to do with ${JSON.stringify(rest[0])}`)
    const options = {
      ...(schema === undefined ? {} : { schema }),
      ...(args.name === undefined ? {} : { name: args.name }),
      ...(args['partition-by'] === undefined ? {} : { partitionColumns: namesOf(args['partition-by']) }),
      ...(args['no-deletion-vectors'] === true ? { deletionVectors: false } : {}),
      ...(args['column-mapping'] === true ? { columnMapping: true } : {}),
    }
    await checkFree(location)
    const table =
      source === undefined
        ? await createEmpty(location, options)
        : await fromFiles(location, csv === undefined ? createFromParquet : createFromCsv, [source, ...rest], {
            ...options,
            dialect,
          })
    await print(describe(args.table, table))
    return undefined
  },
})

type TableOptions = Pick<
  ImportOptions,
  'schema' | 'name' | 'dialect' | 'partitionColumns' | 'deletionVectors' | 'columnMapping'
>

function namesOf(list: string): string[] {
  const names = list.split(',').map(name => name.trim())
  if (names.includes(''))
    throw new UsageError(`--partition-by takes names of columns, as p,day, not ${JSON.stringify(list)}`)
  return names
}

async function createEmpty(location: Location, { schema = [], ...options }: TableOptions): Promise<Table> {
  return createTable(openStore(location), { schema, ...options })
}

async function fromFiles(
  location: Location,
  create: typeof createFromCsv,
  patterns: readonly string[],
  options: TableOptions,
): Promise<Table> {
  const paths = await filesOf(patterns)
  const pool = new WorkerPool()
  const progress = new Progress('importing')
  try {
    return await interruptible(signal => {
      // What the threads are at is of no use any more.
      signal.addEventListener('abort', () => void pool.close())
      return create(openStore(location), paths, {
        pool,
        progress: (done, total) => progress.update(done, total),
        log: note,
        signal,
        ...options,
      })
    })
  } finally {
    progress.end()
    await pool.close()
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
  const info = infoOf(directory)
  if (info === undefined) return []
  if (!info.isDirectory())
    throw new TableError('exists', `${directory}: something of that name is there already, and is no folder`)
  return readdirSync(directory)
}

async function firstNames(store: ObjectStore): Promise<string[]> {
  return [...new Set((await store.list('')).map(({ path }) => path.split('/')[0]!))]
}

/** Undefined if nothing is there. That there can be nothing, for a part of the path is a file, is the system's error. */
function infoOf(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** Names of files, and patterns that the shell left for us. */
async function filesOf(patterns: readonly string[]): Promise<string[]> {
  const files: string[] = []
  for (const pattern of patterns) {
    if (pattern === '') throw new UsageError('the name of a file to import is empty')
    const found = await localMatches(pattern)
    if (found.length === 0) throw new TableError('missing_file', `no file matches ${pattern}`)
    files.push(...found)
  }
  return files
}

function describe(name: string, { snapshot }: Table): string {
  const rows = snapshot.files.reduce((sum, file) => sum + (file.rows ?? 0), 0)
  const content = rows === 0 ? 'no rows' : `${counted(rows, 'row')} in ${counted(snapshot.files.length, 'file')}`
  return `${name}: ${content}\n${schemaSql(snapshot)}`
}
