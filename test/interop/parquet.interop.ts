import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Footer, readFooter } from '../../src/columns/parquet/read.ts'
import { schemaOfFooter } from '../../src/columns/parquet/schema.ts'
import { parseDdl, schemaToJson, sqlType } from '../../src/columns/schema.ts'
import type { Batch, Cell, DataType, Field, Schema } from '../../src/columns/types.ts'
import { cellAt } from '../../src/columns/vectors.ts'
import { messageOf } from '../../src/core/errors.ts'
import { execute } from '../../src/sql/engine.ts'
import { readsInPlace } from '../../src/sql/in-place.ts'
import { localStore } from '../../src/storage/local.ts'
import { createFromParquet } from '../../src/table/operations/import.ts'
import { openTable, type Table } from '../../src/table/table.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { localSource } from '../helpers/local-source.ts'
import { readRows } from '../table/fixture.ts'
import { python } from './environment.ts'

/** A file of the corpus, as its writer or another reader has it. */
interface Expected {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly unknown[])[]
  /** Whether the engine reads the file itself, so that two readers are compared. */
  readonly inPlace: boolean
}

let folder = ''
let names: readonly string[] = []
const pool = new WorkerPool({ threads: 1 })

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'posixlake-parquet-'))
  const made = Bun.spawnSync([python(), join(import.meta.dir, 'corpus.py'), folder], { stdin: 'ignore' })
  if (!made.success) throw new Error(`the corpus could not be made: ${made.stderr}`)
  names = JSON.parse(made.stdout.toString()) as string[]
}, 600_000)
afterAll(async () => {
  await pool.close()
  rmSync(folder, { recursive: true, force: true })
})

/** A value as corpus.py spells it. */
function canonical(cell: Cell, type: DataType): unknown {
  if (cell === null) return null
  switch (type.kind) {
    case 'float':
    case 'double': {
      const bytes = new DataView(new ArrayBuffer(8))
      bytes.setFloat64(0, cell as number)
      return Number.isNaN(cell) ? 'nan' : bytes.getBigUint64(0).toString(16).padStart(16, '0')
    }
    case 'binary':
      return `x${(cell as Uint8Array).toHex()}`
    case 'string':
    case 'boolean':
      return cell
    case 'struct':
      return type.fields.map((field, i) => canonical((cell as readonly Cell[])[i]!, field.type))
    case 'array':
      return (cell as readonly Cell[]).map(item => canonical(item, type.element))
    case 'map':
      return (cell as ReadonlyArray<readonly [Cell, Cell]>).map(([key, value]) => [
        canonical(key, type.key),
        canonical(value, type.value),
      ])
    default:
      return String(cell)
  }
}

function spelled(rows: readonly (readonly Cell[])[], schema: Schema): unknown[][] {
  return rows.map(row => row.map((cell, i) => canonical(cell, schema[i]!.type)))
}

/** By the column `id`: an edit may write rows to other files. */
function byId(rows: readonly (readonly Cell[])[], schema: Schema): (readonly Cell[])[] {
  const id = schema.findIndex(({ name }) => name.toLowerCase() === 'id')
  return [...rows].sort((a, b) => Number(a[id]) - Number(b[id]))
}

/** A table as another writer makes it of a file: without deletion vectors, without statistics. */
async function tableOf(name: string, schema: Schema, suffix: string): Promise<Table> {
  const directory = join(folder, `${name}-${suffix}`)
  mkdirSync(join(directory, '_delta_log'), { recursive: true })
  copyFileSync(join(folder, `${name}.parquet`), join(directory, 'part-0.parquet'))
  const features = { readerFeatures: ['timestampNtz'], writerFeatures: ['timestampNtz', 'appendOnly', 'invariants'] }
  const actions = [
    { protocol: { minReaderVersion: 3, minWriterVersion: 7, ...features } },
    {
      metaData: {
        id: Bun.randomUUIDv7(),
        format: { provider: 'parquet', options: {} },
        schemaString: schemaToJson(schema),
        partitionColumns: [],
        configuration: {},
      },
    },
    {
      add: {
        path: 'part-0.parquet',
        partitionValues: {},
        size: Bun.file(join(directory, 'part-0.parquet')).size,
        modificationTime: 1,
        dataChange: true,
      },
    },
  ]
  const text = actions.map(action => `${JSON.stringify(action)}\n`).join('')
  writeFileSync(join(directory, '_delta_log', '00000000000000000000.json'), text)
  return openTable(localStore(directory))
}

async function bySql(table: Table, sql = 'SELECT * FROM data'): Promise<Cell[][]> {
  const outcome = await execute(table, sql)
  if (outcome.kind !== 'rows') throw new Error('a query gave no rows')
  const rows: Cell[][] = []
  for await (const batch of outcome.result.batches() as AsyncIterable<Batch>)
    for (let row = 0; row < batch.rows; row++) rows.push(batch.vectors.map(vector => cellAt(vector, row)))
  return rows
}

async function openFile(name: string): Promise<{ footer: Footer; schema: Schema }> {
  const path = join(folder, `${name}.parquet`)
  const footer = await readFooter(localSource(path, Bun.file(path).size))
  return { footer, schema: schemaOfFooter(footer, name).map(field => ({ ...field, nullable: true })) }
}

const swapped = (name: string): string =>
  name.replaceAll(/[a-z]/gi, letter => (letter === letter.toLowerCase() ? letter.toUpperCase() : letter.toLowerCase()))

/** Columns whose names are in another case than the file's, those inside others, too. */
function inOtherCase(schema: Schema): Field[] {
  const type = (of: DataType): DataType => {
    if (of.kind === 'struct') return { ...of, fields: inOtherCase(of.fields) }
    if (of.kind === 'array') return { ...of, element: type(of.element) }
    return of.kind === 'map' ? { ...of, key: type(of.key), value: type(of.value) } : of
  }
  return schema.map(field => ({ ...field, name: swapped(field.name), type: type(field.type) }))
}

/** Types that a table may give a column, whatever its file has. */
const OTHER_TYPES = parseDdl(`
  a:Int8, b:Int16, c:Int32, d:Int64, e:Float32, f:Float64, g:Decimal(5,2), h:Decimal(38,0), i:Decimal(38,20), j:Decimal(20,0),
  k:Decimal(12,3), l:String, m:Binary, n:Boolean, o:Date, p:Timestamp, q:Timestamp_ntz, r:array<int>, s:struct<a:int>,
  t:map<string,int>`)
const OTHER_NESTED_TYPES = parseDdl(`
  a:array<bigint>, b:array<string>, c:array<struct<a:bigint>>, d:array<struct<b:string,a:int,n:date>>, e:struct<x:bigint>,
  f:struct<y:struct<z:string,w:int>>, g:map<string,double>, h:map<string,decimal(20,0)>, i:map<bigint,struct<a:int>>,
  j:array<array<decimal(20,0)>>, k:struct<nope:int>, l:int, m:array<map<string,boolean>>, n:struct<l:array<struct<b:string>>>,
  o:struct<d:timestamp_ntz>, p:array<timestamp>, q:array<timestamp_ntz>`)

/** What is different between rows, said so that a reader finds it. */
function difference(what: string, found: readonly unknown[][], expected: readonly (readonly unknown[])[]): string[] {
  if (Bun.deepEquals(found, expected, true)) return []
  if (found.length !== expected.length) return [`${what}: ${found.length} rows, not ${expected.length}`]
  const row = found.findIndex((cells, i) => !Bun.deepEquals(cells, expected[i], true))
  const column = found[row]!.findIndex((cell, i) => !Bun.deepEquals(cell, expected[row]![i], true))
  const [is, was] = [found[row]![column], expected[row]![column]].map(cell => JSON.stringify(cell))
  return [`${what}: row ${row}, column ${column}: ${is}, not ${was}`]
}

/** Runs a check of each file that `prefix` begins; gives what was wrong with which. */
async function failures(
  prefix: string,
  check: (name: string, expected: Expected) => Promise<string[]>,
): Promise<string[]> {
  const found: string[] = []
  const chosen = names.filter(name => name.startsWith(prefix))
  expect(chosen.length).toBeGreaterThan(5)
  for (const name of chosen) {
    const expected = JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as Expected
    try {
      found.push(...(await check(name, expected)).map(sentence => `${name}: ${sentence}`))
    } catch (error) {
      found.push(`${name}: ${messageOf(error)}`)
    }
  }
  return found
}

describe.each(['arrow-plain', 'arrow-odd', 'arrow-nested', 'duckdb', 'fastparquet'])('files of the kind %s', prefix => {
  test('mean the same to our reader, to SQL and to their writer', async () => {
    const wrong = await failures(prefix, async (name, { columns, rows, inPlace }) => {
      const { footer, schema } = await openFile(name)
      expect(schema.map(field => field.name)).toEqual([...columns])
      const table = await tableOf(name, schema, 'table')
      return [
        ...(readsInPlace(footer, schema) === inPlace ? [] : [`the engine reads it in place: ${!inPlace}`]),
        ...difference('our reader', spelled(await readRows(table), schema), rows),
        ...difference('SQL', spelled(await bySql(table), schema), rows),
      ]
    })
    expect(wrong).toEqual([])
  }, 600_000)

  test('keep every value of every row but the one that an edit changes, where files are written anew', async () => {
    const wrong = await failures(prefix, async (name, { rows }) => {
      if (rows.length < 2) return []
      const { schema } = await openFile(name)
      const table = await tableOf(name, schema, 'edited')
      const changed = Math.floor(rows.length / 3)
      const id = schema.findIndex(field => field.name === 'id')
      const expected = rows.map((row, i) => (i === changed && id >= 0 ? row.with(id, '-7') : row))
      await execute(table, `UPDATE data SET id = -7 WHERE id = ${changed}`)
      const { files } = table.snapshot
      expect(files.every(({ path, vector }) => path !== 'part-0.parquet' && vector === undefined)).toBe(true)
      // The changed row is first by its id.
      const ordered = [expected[changed]!, ...expected.toSpliced(changed, 1)]
      return [
        ...difference('our reader', spelled(byId(await readRows(table), schema), schema), ordered),
        ...difference('SQL', spelled(await bySql(table, 'SELECT * FROM data ORDER BY id'), schema), ordered),
      ]
    })
    expect(wrong).toEqual([])
  }, 600_000)

  test('are found by names in another case, in our reader and in SQL', async () => {
    const wrong = await failures(prefix, async (name, { rows }) => {
      const schema = inOtherCase((await openFile(name)).schema)
      const table = await tableOf(name, schema, 'case')
      return [
        ...difference('our reader', spelled(await readRows(table), schema), rows),
        ...difference('SQL', spelled(await bySql(table), schema), rows),
      ]
    })
    expect(wrong).toEqual([])
  }, 600_000)

  test('make tables of the same values', async () => {
    const wrong = await failures(prefix, async (name, { rows }) => {
      const { schema } = await openFile(name)
      const table = await createFromParquet(
        localStore(join(folder, `${name}-made`)),
        [join(folder, `${name}.parquet`)],
        { pool },
      )
      return [
        ...difference('our reader', spelled(await readRows(table), schema), rows),
        ...difference('SQL', spelled(await bySql(table), schema), rows),
      ]
    })
    expect(wrong).toEqual([])
  }, 600_000)
})

describe('a table that gives the columns of a file other types', () => {
  const cases = [
    ['arrow-plain-some-v1', OTHER_TYPES],
    ['arrow-odd-some-v1', OTHER_TYPES],
    ['arrow-nested-some-v1', OTHER_NESTED_TYPES],
    ['arrow-nested_odd-some-v1', OTHER_NESTED_TYPES],
  ] as const
  test.each(cases)(
    'reads the same values by our reader and by SQL, or neither reads any: %s',
    async (name, types) => {
      const wrong: string[] = []
      const { schema: own } = await openFile(name)
      for (const field of own) {
        for (const { type } of types) {
          // Bytes at random are no text.
          if (field.type.kind === 'binary' && type.kind === 'string') continue
          const schema = [{ ...field, type }]
          const table = await tableOf(name, schema, `${field.name}-${types.findIndex(other => other.type === type)}`)
          const [ours, theirs] = await Promise.all([readRows(table).catch(messageOf), bySql(table).catch(messageOf)])
          const what = `${field.name} as ${sqlType(type)}`
          if (typeof ours === 'string' || typeof theirs === 'string') {
            if (typeof ours !== typeof theirs)
              wrong.push(`${what}: ${String(ours).slice(0, 200)}, ${String(theirs).slice(0, 200)}`)
          } else wrong.push(...difference(what, spelled(theirs, schema), spelled(ours, schema)))
        }
      }
      expect(wrong).toEqual([])
    },
    600_000,
  )
})
