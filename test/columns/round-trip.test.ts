import { afterAll, describe, expect, test } from 'bun:test'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tableFromIPC } from 'apache-arrow'
import { arrowStream } from '../../src/columns/arrow.ts'
import { ParquetError, TextError } from '../../src/columns/errors.ts'
import { readFooter, readRowGroup } from '../../src/columns/parquet/read.ts'
import { schemaOfFooter } from '../../src/columns/parquet/schema.ts'
import { parseDdl, schemaFromJson, schemaToJson, sqlType } from '../../src/columns/schema.ts'
import { lastRowEnd, parseCsv, parseHeader, ROW_INDEX_STRIDE, renderCsv, rowEnd } from '../../src/columns/text/csv.ts'
import { parseJsonLines, renderJsonArrayRows, renderJsonLines } from '../../src/columns/text/json.ts'
import type { Cell } from '../../src/columns/types.ts'
import { textSizes } from '../../src/table/data-files/text-sizes.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { localSource } from '../helpers/local-source.ts'
import { memorySource } from '../helpers/memory-source.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { ALL_TYPES, cellsOf, decode, encode, inferSchema, Random, randomBatch, renderTask, written } from './values.ts'

const pool = new WorkerPool({ threads: 1 })
afterAll(() => pool.close())

describe('values of every Delta type', () => {
  const batch = randomBatch(ALL_TYPES, 700, 1)

  test('are the same after CSV', () => {
    const { bytes, rows, index } = renderCsv(batch, ALL_TYPES)
    expect(rows).toBe(700)
    expect(cellsOf(parseCsv(bytes, ALL_TYPES))).toEqual(cellsOf(batch))
    // The sparse index leads to the starts of rows.
    let at = 0
    for (let row = 0; row < rows; row++) {
      if (row % ROW_INDEX_STRIDE === 0) expect(index[row / ROW_INDEX_STRIDE]).toBe(at)
      at = rowEnd(bytes, at)
    }
    expect(at).toBe(bytes.length)
  })

  test('are the same after JSON lines, which other programs can read', () => {
    const { bytes } = renderJsonLines(batch, ALL_TYPES)
    const lines = decode(bytes).trimEnd().split('\n')
    expect(lines.length).toBe(700)
    for (const line of lines) JSON.parse(line)
    // A map in JSON may lose the order of its keys, not their values.
    const sorted = (rows: Cell[][]): string[] =>
      rows.map(row =>
        JSON.stringify(row, (_, value: unknown) =>
          typeof value === 'bigint'
            ? `${value}n`
            : Object.is(value, -0)
              ? '-0'
              : typeof value === 'number' && !Number.isFinite(value)
                ? String(value)
                : value,
        ),
      )
    expect(sorted(cellsOf(parseJsonLines(bytes, ALL_TYPES)))).toEqual(sorted(cellsOf(batch)))
    expect(decode(renderJsonArrayRows(batch, ALL_TYPES).bytes)).toBe(`,${lines.join('\n,')}\n`)
  })

  test('are the same after Parquet, in one row group or many, and the recorded sizes are those of the texts', async () => {
    for (const rowGroupRows of [10_000, 64, 7]) {
      const { bytes, file } = await written(ALL_TYPES, [batch], rowGroupRows)
      const source = memorySource('test.parquet', bytes)
      const footer = await readFooter(source)
      expect(footer.rows).toBe(700)
      const rows: Cell[][] = []
      let csvBytes = 0
      for (let group = 0; group < footer.rowGroups.length; group++) {
        const read = await readRowGroup(source, footer, group, ALL_TYPES)
        rows.push(...cellsOf(read))
        const csv = renderCsv(read, ALL_TYPES).bytes.length
        expect(textSizes(footer)?.groups[group]).toMatchObject({
          csvBytes: csv,
          jsonlBytes: renderJsonLines(read, ALL_TYPES).bytes.length,
        })
        csvBytes += csv
      }
      expect(rows).toEqual(cellsOf(batch))
      expect(file).toMatchObject({ sizeBytes: bytes.length, rows: 700, csvBytes })
    }
  })

  test('keep their types in a Parquet schema and in Delta schema text', async () => {
    const { bytes } = await written(ALL_TYPES, [batch])
    const found = schemaOfFooter(await readFooter(memorySource('test.parquet', bytes)), 'test.parquet')
    expect(found.map(({ name, type }) => `${name} ${sqlType(type)}`)).toEqual(
      ALL_TYPES.map(({ name, type }) => `${name} ${sqlType(type)}`),
    )
    expect(schemaFromJson(schemaToJson(ALL_TYPES))).toEqual([...ALL_TYPES])
  })

  test('reach Arrow exactly', async () => {
    const schema = parseDdl('i:Int64,d:Decimal(38,10),t:Timestamp,s:String,l:array<int>,f:Float64')
    const some = randomBatch(schema, 100, 5)
    const pieces: Uint8Array[] = []
    for await (const piece of arrowStream(
      schema,
      (async function* () {
        yield some
        yield some
      })(),
    ))
      pieces.push(piece)
    const table = tableFromIPC(Buffer.concat(pieces))
    expect(table.numRows).toBe(200)
    for (let row = 0; row < 100; row++) {
      const [i, d, t, s, l, f] = cellsOf(some)[row]!
      const found = table.get(100 + row)!
      expect(found['i'] as bigint | null).toBe(i as bigint | null)
      // The Arrow library takes a byte-order mark off when it decodes a string.
      expect(found['s'] as string | null).toBe((s as string | null)?.replace(/^\ufeff/, '') ?? null)
      expect(found['f'] as number | null).toBe(f as number | null)
      expect(found['l'] === null ? null : [...(found['l'] as Iterable<number | null>)]).toEqual(
        l as (number | null)[] | null,
      )
      const words = found['d'] as Uint32Array | null
      const unscaled =
        words === null
          ? null
          : BigInt.asIntN(
              128,
              words.reduceRight((sum, word) => (sum << 32n) | BigInt(word), 0n),
            )
      expect(unscaled).toBe(d as bigint | null)
      expect(table.getChild('t')!.isValid(100 + row)).toBe(t !== null)
    }
  })

  test('are rendered and encoded by workers as in the main thread', async () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'file.parquet')
    writeFileSync(path, (await written(ALL_TYPES, [batch])).bytes)
    const sizeBytes = readFileSync(path).length
    for (const [format, render] of [
      ['csv', renderCsv],
      ['jsonl', renderJsonLines],
      ['json', renderJsonArrayRows],
    ] as const) {
      const task = await renderTask(localSource(path, sizeBytes), ALL_TYPES, format)
      expect(Buffer.compare((await pool.render(task)).bytes, render(batch, ALL_TYPES).bytes)).toBe(0)
    }
    const { files } = await pool.encode({
      bytes: renderCsv(batch, ALL_TYPES).bytes.slice(),
      format: 'csv',
      schemaJson: schemaToJson(ALL_TYPES),
      firstLine: 2,
    })
    expect(files.map(({ rows }) => rows)).toEqual([700])
    const source = memorySource('encoded', Buffer.concat(files[0]!.pieces))
    expect(cellsOf(await readRowGroup(source, await readFooter(source), 0, ALL_TYPES))).toEqual(cellsOf(batch))
    const bad = {
      bytes: encode('1\nx\n'),
      format: 'csv' as const,
      schemaJson: schemaToJson(parseDdl('id:Int32')),
      firstLine: 2,
    }
    const failure: unknown = await pool.encode(bad).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(TextError)
    expect(failure).toMatchObject({ code: 'bad_value', line: 3, column: 'id' })
    const missing = renderTask(localSource(`${path}x`, sizeBytes), ALL_TYPES, 'csv')
    expect(await missing.catch((error: unknown) => error)).toMatchObject({ code: 'ENOENT' })
  })
})

describe('CSV on input', () => {
  const schema = parseDdl('id:Int64,name:String')
  const rows = (text: string): Cell[][] => cellsOf(parseCsv(encode(text), schema))

  test('takes CR LF, a missing final newline, empty lines, and quotes where none are needed', () => {
    expect(rows('1,a\r\n2,b\r\n')).toEqual([
      [1n, 'a'],
      [2n, 'b'],
    ])
    expect(rows('1,a\n2,b')).toEqual([
      [1n, 'a'],
      [2n, 'b'],
    ])
    expect(rows('"1","a"\n\n2,"x""y"\n')).toEqual([
      [1n, 'a'],
      [2n, 'x"y'],
    ])
    expect(rows(',\n,""\n')).toEqual([
      [null, null],
      [null, ''],
    ])
  })

  test('names the line and the column of what cannot be taken', () => {
    const failure = (text: string): Partial<TextError> => {
      try {
        parseCsv(encode(text), schema, { firstLine: 2 })
      } catch (error) {
        if (error instanceof TextError) return { code: error.code, line: error.line!, column: error.column! }
      }
      throw new Error('it was taken')
    }
    expect(failure('1,a\nx,b\n')).toMatchObject({ code: 'bad_value', line: 3, column: 'id' })
    expect(failure('1,"a\nb"\n9223372036854775808,b\n')).toMatchObject({ line: 4, column: 'id' })
    expect(failure('1,a\n2\n')).toMatchObject({ line: 3 })
    expect(failure('1,a,b\n')).toMatchObject({ line: 2 })
    expect(failure('1,"a\n2,b\n')).toMatchObject({ code: 'unterminated', line: 2 })
    expect(failure('1,"a"b\n')).toMatchObject({ line: 2 })
  })

  test('finds row ends with quotes in mind', () => {
    expect(lastRowEnd(encode('1,a\n2,"b\nc'))).toBe(4)
    expect(lastRowEnd(encode('1,a\n2,b\n3'))).toBe(8)
    expect(rowEnd(encode('"a\n""b"\nc\n'), 0)).toBe(8)
    expect(rowEnd(encode('a'), 0)).toBe(-1)
  })

  test('has a header of distinct names, a byte-order mark aside', () => {
    expect(parseHeader(encode('\ufeffid,"a ""b""",c\r\n1'))).toEqual({ names: ['id', 'a "b"', 'c'], endOffset: 19 })
    expect(() => parseHeader(encode('a,A\n'))).toThrow('named twice')
    expect(() => parseHeader(encode('a,,b\n'))).toThrow('no name')
  })

  test('gives each column the narrowest type that takes all its values', () => {
    const kinds = (text: string, ...names: string[]): string[] =>
      inferSchema(encode(text), names).map(({ type }) => type.kind)
    expect(kinds('1,1.5,true,2024-01-02,x,\n2,2,false,2024-01-03,y,\n', 'a', 'b', 'c', 'd', 'e', 'f')).toEqual([
      'long',
      'double',
      'boolean',
      'date',
      'string',
      'string',
    ])
    expect(kinds('007,1,2024-01-02\n1,x,2024-01-02T03:04:05Z\n', 'a', 'b', 'c')).toEqual([
      'string',
      'string',
      'timestamp',
    ])
  })
})

describe('a damaged Parquet file', () => {
  const schema = parseDdl('id:Int64,name:String,list:array<int>')

  test('is an error that names it, wherever it is cut off', async () => {
    const { bytes } = await written(schema, [randomBatch(schema, 50, 3)])
    for (let length = 0; length < bytes.length; length += 13) {
      await expect(readFooter(memorySource('cut.parquet', bytes.subarray(0, length)))).rejects.toThrow(ParquetError)
    }
  })

  test('is an error or the right number of rows, never a crash, whichever byte is changed', async () => {
    const { bytes } = await written(schema, [randomBatch(schema, 50, 3)])
    const random = new Random(9)
    for (let round = 0; round < 400; round++) {
      const changed = bytes.slice()
      changed[random.below(changed.length)]! ^= 1 << random.below(8)
      const source = memorySource('changed.parquet', changed)
      try {
        const footer = await readFooter(source)
        for (let group = 0; group < footer.rowGroups.length; group++) {
          const batch = await readRowGroup(source, footer, group, schema)
          for (const vector of batch.vectors) expect(vector.length).toBe(batch.rows)
        }
      } catch (error) {
        expect(error).toBeInstanceOf(ParquetError)
      }
    }
  })
})
