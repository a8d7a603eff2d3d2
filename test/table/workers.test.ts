import { afterAll, describe, expect, test } from 'bun:test'
import { truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ParquetError, TextError } from '../../src/columns/errors.ts'
import type { ByteSource } from '../../src/columns/parquet/source.ts'
import { parseDdl, schemaToJson } from '../../src/columns/schema.ts'
import { csvHeader, parseCsv, renderCsv } from '../../src/columns/text/csv.ts'
import { renderJsonLines } from '../../src/columns/text/json.ts'
import type { Cell, Schema } from '../../src/columns/types.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { type EncodedFiles, type EncodeTask, type RenderTask, runTask } from '../../src/table/workers/tasks.ts'
import { ALL_TYPES, cellsOf, encode, randomBatch, readRows, renderTask, spelled, written } from '../columns/values.ts'
import { localSource } from '../helpers/local-source.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const folder = temporaryFolder()
const pool = new WorkerPool({ threads: 1 })
afterAll(async () => {
  await pool.close()
  folder[Symbol.dispose]()
})

let files = 0

/** A file on disk, so that what goes wrong with files is seen, too. */
async function sourceOf(schema: Schema, rows: number): Promise<ByteSource> {
  const path = join(folder.path, `${files++}.parquet`)
  const { bytes } = await written(schema, [randomBatch(schema, rows, rows)], 100)
  writeFileSync(path, bytes)
  return localSource(path, bytes.length)
}

async function taskOf(schema: Schema, rows: number, format: RenderTask['format']): Promise<Omit<RenderTask, 'kind'>> {
  return renderTask(await sourceOf(schema, rows), schema, format)
}

function encodeTask(text: Uint8Array, schema: Schema, format: 'csv' | 'jsonl' = 'csv'): Omit<EncodeTask, 'kind'> {
  return { bytes: new Uint8Array(text), format, schemaJson: schemaToJson(schema), firstLine: 2 }
}

const failureOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => {
      throw new Error('it did not fail')
    },
    (error: unknown) => error,
  )

describe('a worker', () => {
  test('renders every row group in every format as the main thread does, partition values too', async () => {
    for (const format of ['csv', 'jsonl', 'json'] as const) {
      const source = await sourceOf(ALL_TYPES, 250)
      const constants = new Map<string, Cell>([
        ['p', 12_345_678_901_234_567_890n],
        ['q', Uint8Array.of(0, 255)],
      ])
      const wider = [...parseDdl('p:Decimal(20,2),q:Binary'), ...ALL_TYPES]
      for (const rowGroup of [0, 1, 2]) {
        for (const [schema, options] of [
          [ALL_TYPES, { rowGroup }],
          [wider, { rowGroup, constants }],
        ] as const) {
          const task = (): Promise<Omit<RenderTask, 'kind'>> => renderTask(source, schema, format, options)
          const there = await pool.render(await task())
          const here = await runTask<RenderTask>({ ...(await task()), kind: 'render' })
          expect(there.rows).toBe(rowGroup === 2 ? 50 : 100)
          expect(Buffer.compare(there.bytes, here.bytes)).toBe(0)
          expect([...there.index]).toEqual([...here.index])
        }
      }
    }
  })

  test('encodes text to the same file as the main thread does', async () => {
    const batch = randomBatch(ALL_TYPES, 300, 9)
    for (const [format, text] of [
      ['csv', renderCsv(batch, ALL_TYPES).bytes],
      ['jsonl', renderJsonLines(batch, ALL_TYPES).bytes],
    ] as const) {
      const there = encodeTask(text, ALL_TYPES, format)
      const here = encodeTask(text, ALL_TYPES, format)
      const encoded = await pool.encode(there)
      const same = await runTask<EncodeTask>({ ...here, kind: 'encode' })
      expect(encoded).toEqual(same)
      const bytesOf = ({ files }: EncodedFiles): Buffer => Buffer.concat(files.flatMap(({ pieces }) => pieces))
      expect(Buffer.compare(bytesOf(encoded), bytesOf(same))).toBe(0)
      expect(spelled(await readRows(bytesOf(encoded), ALL_TYPES))).toEqual(spelled(cellsOf(batch)))
    }
  })

  test('counts lines across the pieces of a long text', async () => {
    const schema = parseDdl('id:Int64,name:String')
    const row = `1,"${'x'.repeat(1000)}\n"\n`
    const rows = 6000
    const task = encodeTask(encode(`${row.repeat(rows)}bad,y\n`), schema)
    expect(await failureOf(pool.encode(task))).toMatchObject({ code: 'bad_value', line: 2 + 2 * rows, column: 'id' })
    const lines = `${`{"id":1,"name":"${'x'.repeat(1000)}"}\n`.repeat(5000)}{"id":"x"}\n`
    expect(await failureOf(pool.encode(encodeTask(encode(lines), schema, 'jsonl')))).toMatchObject({ line: 5002 })
  })

  test('hands its errors over as what they are', async () => {
    const schema = parseDdl('id:Int32')
    const text = await failureOf(pool.encode(encodeTask(encode('1\nx\n'), schema)))
    expect(text).toBeInstanceOf(TextError)
    expect(text).toMatchObject({ code: 'bad_value', line: 3, column: 'id' })
    const source = await sourceOf(schema, 10)
    const task = await renderTask(source, schema, 'csv')
    const damaged = task.rowGroup.columns.map(column => ({ ...column, bytes: column.bytes.map(b => b.slice(0, 3)) }))
    const parquet = await failureOf(pool.render({ ...task, rowGroup: { ...task.rowGroup, columns: damaged } }))
    expect(parquet).toBeInstanceOf(ParquetError)
    expect((parquet as Error).message).toContain(source.name)
  })

  test('is not asked for what is not there: its bytes are fetched first', async () => {
    const schema = parseDdl('id:Int32')
    const source = await sourceOf(schema, 10)
    const gone = localSource(`${source.name}.gone`, source.sizeBytes)
    expect(await failureOf(renderTask(gone, schema, 'csv'))).toMatchObject({ code: 'ENOENT' })
    truncateSync(source.name, 20)
    const cut = await failureOf(renderTask(source, schema, 'csv'))
    expect(cut).toBeInstanceOf(ParquetError)
    expect((cut as Error).message).toContain(source.name)
  })

  test('does its next task after bytes that were given away before', async () => {
    const schema = parseDdl('id:Int32')
    const task = encodeTask(encode('1\n2\n'), schema)
    expect((await pool.encode(task)).files[0]?.rows).toBe(2)
    await failureOf(pool.encode(task))
    expect((await pool.encode(encodeTask(encode('7\n'), schema))).files[0]?.rows).toBe(1)
  })
})

describe('a pool', () => {
  test('does many tasks with few threads, and each gets its own answer', async () => {
    const schema = parseDdl('id:Int32,name:String')
    const tasks = await Promise.all(Array.from({ length: 20 }, (_, i) => taskOf(schema, i + 1, 'csv')))
    const texts = await Promise.all(tasks.map(task => pool.render(task)))
    for (const [i, { bytes, rows }] of texts.entries()) {
      expect(rows).toBe(i + 1)
      expect(spelled(cellsOf(parseCsv(bytes, schema)))).toEqual(spelled(cellsOf(randomBatch(schema, i + 1, i + 1))))
    }
    expect(pool.waiting).toBe(0)
    expect(csvHeader(schema).length).toBe(8)
  })

  test('that is closed rejects what is under way, what waits and what comes', async () => {
    const closing = new WorkerPool({ threads: 1 })
    const tasks = await Promise.all(['csv', 'csv', 'csv'].map(() => taskOf(parseDdl('id:Int32'), 100, 'csv')))
    const [one, two, three] = tasks as [(typeof tasks)[0], (typeof tasks)[0], (typeof tasks)[0]]
    const failures = [failureOf(closing.render(one)), failureOf(closing.render(two))]
    await closing.close()
    failures.push(failureOf(closing.render(three)))
    for (const failure of await Promise.all(failures)) expect(String(failure)).toContain('closed')
    await closing.close()
  })
})
