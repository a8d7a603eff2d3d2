import { beforeAll, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { ParquetError } from '../../src/columns/errors.ts'
import { readFooter } from '../../src/columns/parquet/read.ts'
import { schemaOfFooter } from '../../src/columns/parquet/schema.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import type { Schema } from '../../src/columns/types.ts'
import { damaged } from '../helpers/damage.ts'
import { memorySource } from '../helpers/memory-source.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { seeded } from '../nfs/random.ts'
import { ALL_TYPES, randomBatch, readRows, written } from './values.ts'

/*
 * Damaged Parquet files: each gives rows, or is refused in a sentence; nothing hangs or takes more memory than it has bytes for.
 * CASES=1000000 SEED=7 bun test test/columns/fuzz.test.ts tries more, or others; a failure names its seed.
 */
const CASES = Number(process.env['CASES'] ?? 4000)
const SEED = Number(process.env['SEED'] ?? 1)
/** The longest that one file of a few thousand bytes may keep the reader, on a busy machine too. */
const SLOW_MS = 5000
const FLAT = parseDdl('i:Int32,l:Int64,d:Float64,m:Decimal(9,2),t:String,b:Boolean')

interface Original {
  readonly name: string
  readonly bytes: Uint8Array
  readonly schema: Schema
}

const originals: Original[] = []

beforeAll(async () => {
  using folder = temporaryFolder()
  const ours = async (name: string, schema: Schema, rows: number, rowGroupRows?: number): Promise<void> => {
    const { bytes } = await written(schema, [randomBatch(schema, rows, 3)], rowGroupRows)
    originals.push({ name, bytes, schema })
  }
  await ours('ours, all types', ALL_TYPES, 40)
  await ours('ours, flat', FLAT, 300, 100)
  const duckdb = await (await DuckDBInstance.create(':memory:')).connect()
  for (const options of ['COMPRESSION uncompressed', 'PARQUET_VERSION V2, COMPRESSION zstd', 'COMPRESSION snappy']) {
    const path = join(folder.path, `${originals.length}.parquet`)
    await duckdb.run(`COPY (SELECT i AS l, i::INTEGER * 3 AS i, i / 7 AS d, 'text ' || (i % 10) AS few, 'ü' || i AS many,
      (i % 3 = 0) AS flag, (i * 1.25)::DECIMAL(18,3) AS m, [i, NULL] AS list, {'a': i, 'b': [{'c': 'x'}]} AS s,
      TIMESTAMP '2020-01-01' + to_seconds(i) AS wall FROM range(60) t(i)) TO '${path}' (FORMAT parquet, ${options})`)
    const bytes = new Uint8Array(readFileSync(path))
    const schema = schemaOfFooter(await readFooter(memorySource(path, bytes)), path)
    originals.push({ name: `DuckDB's, ${options}`, bytes, schema })
  }
})

describe('a damaged Parquet file', () => {
  test(
    `gives rows, or is refused in a sentence (${CASES} cases from seed ${SEED})`,
    async () => {
      const counts = { refused: 0, read: 0 }
      for (let seed = SEED; seed < SEED + CASES; seed++) {
        const random = seeded(seed)
        const { name, bytes, schema } = originals[random.below(originals.length)]!
        const started = performance.now()
        try {
          for (const row of await readRows(changed(bytes, random), schema)) expect(row.length).toBe(schema.length)
          counts.read++
        } catch (error) {
          if (!(error instanceof ParquetError) || error.message.length > 12_000)
            throw new Error(`seed ${seed}, ${name}`, { cause: error })
          counts.refused++
        }
        const took = performance.now() - started
        if (took > SLOW_MS) throw new Error(`seed ${seed}, ${name}: ${took} ms`)
      }
      if (CASES > 10_000) process.stdout.write(`${JSON.stringify(counts)}\n`)
      expect(counts.refused).toBeGreaterThan(CASES / 20)
      expect(counts.read).toBeGreaterThan(CASES / 50)
    },
    Math.max(60_000, CASES * 20),
  )
})

/** Damages a file anywhere, or its footer alone: there memory and places are announced. */
function changed(bytes: Uint8Array, random: ReturnType<typeof seeded>): Uint8Array {
  if (random.below(2) === 0) return damaged(bytes, random)
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(bytes.length - 8, true)
  const start = bytes.length - 8 - length
  const footer = damaged(bytes.slice(start, bytes.length - 8), random)
  const end = new Uint8Array(8)
  new DataView(end.buffer).setUint32(0, footer.length, true)
  end.set(bytes.subarray(bytes.length - 4), 4)
  return Buffer.concat([bytes.subarray(0, start), footer, end])
}
