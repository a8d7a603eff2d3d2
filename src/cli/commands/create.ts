import { mkdirSync, statSync } from 'node:fs'
import { parseDdl } from '../../columns/schema.ts'
import type { Schema } from '../../columns/types.ts'
import { WorkerPool } from '../../columns/workers/pool.ts'
import { schemaSql } from '../../fs/views/schema-sql.ts'
import { openStore, parseLocation } from '../../storage/location.ts'
import { createFromCsv, createFromParquet } from '../../table/operations/import.ts'
import { createTable, type Table } from '../../table/table.ts'
import { command, UsageError } from '../command.ts'
import { print } from '../output.ts'
import { Progress } from '../progress.ts'

export default command({
  name: 'create',
  summary: 'Create a table, empty or from CSV or Parquet files',
  examples: [
    'posixlake create ./people --schema "id:Int64,name:String,age:Int32,city:String"',
    'posixlake create ./sales --from-csv sales.csv',
    "posixlake create ./events --from-parquet 'events/*.parquet'",
    'posixlake create ./empty        # the first save with a header line gives the columns',
  ],
  args: {
    table: { type: 'positional', required: true, description: 'The directory of the table; made if missing' },
    schema: {
      type: 'string',
      valueHint: 'COLUMNS',
      description: 'The columns: name:Type,...; with --from-csv their types, which are found otherwise',
    },
    'from-csv': {
      type: 'string',
      valueHint: 'FILE',
      description: 'CSV with a header line; several as FILE FILE ... or as a pattern',
    },
    'from-parquet': {
      type: 'string',
      valueHint: 'FILE',
      description: 'Parquet; several as FILE FILE ... or as a pattern',
    },
    name: { type: 'string', valueHint: 'NAME', description: 'The name in the metadata' },
  },
  rest: 'files',
  run: async (args, rest) => {
    const location = parseLocation(args.table)
    if (location.kind !== 'local') openStore(location) // Refuses what is not supported, in its words.
    const directory = location.kind === 'local' ? location.directory : ''
    const schema = args.schema === undefined ? undefined : parseDdl(args.schema)
    const csv = args['from-csv']
    const parquet = args['from-parquet']
    if (csv !== undefined && parquet !== undefined) throw new UsageError('give --from-csv or --from-parquet, not both')
    if (parquet !== undefined && schema !== undefined)
      throw new UsageError('Parquet files bring their types: leave out --schema')
    const source = csv ?? parquet
    if (source === undefined && rest.length > 0)
      throw new UsageError(`posixlake create does not know what to do with ${JSON.stringify(rest[0])}`)
    const table =
      source === undefined
        ? await createEmpty(directory, schema ?? [], args.name)
        : await fromFiles(
            directory,
            csv === undefined ? 'parquet' : 'csv',
            await filesOf([source, ...rest]),
            schema,
            args.name,
          )
    await print(describe(table))
    return undefined
  },
})

async function createEmpty(directory: string, schema: Schema, name: string | undefined): Promise<Table> {
  mkdirSync(directory, { recursive: true })
  return createTable(openStore({ kind: 'local', directory }), { schema, ...(name === undefined ? {} : { name }) })
}

async function fromFiles(
  directory: string,
  format: 'csv' | 'parquet',
  paths: readonly string[],
  schema: Schema | undefined,
  name: string | undefined,
): Promise<Table> {
  const pool = new WorkerPool()
  const progress = new Progress('importing')
  try {
    const options = {
      pool,
      progress: (done: number, total: number) => progress.update(done, total),
      ...(schema === undefined ? {} : { schema }),
      ...(name === undefined ? {} : { name }),
    }
    return await (format === 'csv' ? createFromCsv : createFromParquet)(directory, paths, options)
  } finally {
    progress.end()
    await pool.close()
  }
}

/** Names of files, and patterns that the shell left for us. */
async function filesOf(patterns: readonly string[]): Promise<string[]> {
  const files: string[] = []
  for (const pattern of patterns) {
    if (statSync(pattern, { throwIfNoEntry: false }) !== undefined || !/[*?[{]/.test(pattern)) {
      files.push(pattern)
      continue
    }
    const found = (await Array.fromAsync(new Bun.Glob(pattern).scan({ onlyFiles: true }))).sort()
    if (found.length === 0) throw new UsageError(`no file matches ${pattern}`)
    files.push(...found)
  }
  return files
}

function describe({ snapshot, store }: Table): string {
  const rows = snapshot.files.reduce((sum, file) => sum + (file.rows ?? 0), 0)
  return `${store.location}: ${rows === 0 ? 'no rows' : `${rows} ${rows === 1 ? 'row' : 'rows'} in ${snapshot.files.length} ${snapshot.files.length === 1 ? 'file' : 'files'}`}\n${schemaSql(snapshot)}`
}
