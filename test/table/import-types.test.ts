import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sqlType } from '../../src/columns/schema.ts'
import { messageOf } from '../../src/core/errors.ts'
import { localStore } from '../../src/storage/local.ts'
import { createFromParquet } from '../../src/table/operations/import.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { ENCODING, type HandmadeField, handmade, pageV1, REQUIRED, TYPE } from '../columns/handmade.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { readRows } from './fixture.ts'

const pool = new WorkerPool({ threads: 1 })
afterAll(() => pool.close())

const NANOS = { type: TYPE.INT64, logical: { field_8: { field_1: false, field_2: { field_3: {} } } } }

/** A file with the columns `a` and `b`, of one type and of the same 64-bit values. */
function file(field: Omit<HandmadeField, 'name' | 'repetition'>, ...values: bigint[]): Uint8Array {
  const body = new Uint8Array(BigInt64Array.from(values).buffer)
  const chunk = { pages: [pageV1(values.length, ENCODING.PLAIN, body)], values: values.length }
  const fields = ['a', 'b'].map(name => ({ ...field, name, repetition: REQUIRED }))
  return handmade(fields, [{ rows: values.length, chunks: { a: chunk, b: chunk } }])
}

describe('a table from Parquet files', () => {
  test('says once of each column that nanoseconds are cut, and nothing where none are lost', async () => {
    using folder = temporaryFolder()
    const path = (name: string): string => join(folder.path, name)
    writeFileSync(path('whole'), file(NANOS, 1000n, -5000n))
    writeFileSync(path('odd'), file(NANOS, 1000n, -5001n, 2001n))
    const said: string[] = []
    const log = (sentence: string): number => said.push(sentence)
    await createFromParquet(localStore(path('t1')), [path('whole')], { pool, log })
    expect(said).toEqual([])
    const table = await createFromParquet(localStore(path('t2')), [path('whole'), path('odd'), path('odd')], {
      pool,
      log,
    })
    const ends = 'counts nanoseconds; they are cut to microseconds, the most that Delta has'
    expect(said).toEqual(['a', 'b'].map(name => `${path('odd')}: column ${name} ${ends}`))
    expect(table.snapshot.schema.map(({ type }) => sqlType(type))).toEqual(['TIMESTAMP_NTZ', 'TIMESTAMP_NTZ'])
    const rows = [1n, -5n, 1n, -6n, 2n, 1n, -6n, 2n].map(micros => [micros, micros])
    expect(await readRows(table)).toEqual(rows)
  })

  test('is not made of a type that nothing stands for: the column is named', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'odd')
    writeFileSync(path, handmade([{ name: 'span', type: TYPE.FIXED, typeLength: 12, converted: 21 }], []))
    const made = createFromParquet(localStore(join(folder.path, 'table')), [path], { pool })
    expect(await made.then(() => '', messageOf)).toBe(
      `${path}: column span is of the type INTERVAL, which Delta has no type for; convert it first`,
    )
    expect(existsSync(join(folder.path, 'table'))).toBe(false)
  })
})
