import { describe, expect, test } from 'bun:test'
import { readFooter, readRowGroup } from '../../src/columns/parquet/read.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { renderCsv } from '../../src/columns/text/csv.ts'
import { renderJsonLines } from '../../src/columns/text/json.ts'
import { csvSize, jsonLinesSize } from '../../src/columns/text/sizes.ts'
import type { Cell, DataType, Field, Schema, Vector } from '../../src/columns/types.ts'
import { asUtf8 } from '../../src/columns/utf8.ts'
import { cellAt, vectorOf } from '../../src/columns/vectors.ts'
import { memorySource } from '../helpers/memory-source.ts'
import { decode, Random, written } from './values.ts'

const STRING: DataType = { kind: 'string' }
const BINARY: DataType = { kind: 'binary' }

function column(...texts: readonly (Uint8Array | null)[]): Vector {
  return { ...vectorOf(BINARY, texts), type: STRING }
}

const bytes = (...parts: (string | number)[]): Uint8Array =>
  Buffer.concat(parts.map(part => (typeof part === 'string' ? Buffer.from(part) : Buffer.of(part))))

/** The columns of a file in which text is what bytes are in the batch. */
async function readAsText(schema: Schema, asBytes: Schema, rows: readonly (readonly Cell[])[]): Promise<Vector[]> {
  const vectors = asBytes.map(({ type }, i) =>
    vectorOf(
      type,
      rows.map(row => row[i] ?? null),
    ),
  )
  const { bytes: file } = await written(asBytes, [{ rows: rows.length, vectors }])
  const source = memorySource('test.parquet', file)
  return [...(await readRowGroup(source, await readFooter(source), 0, schema)).vectors]
}

describe('text in a Parquet file', () => {
  test('that is UTF-8 is taken as it is, wherever it is cut', () => {
    for (const vector of [
      column(bytes('a'), null, bytes(''), bytes('ü€𝄞'), bytes('\ufeffx'), bytes('\ufffd')),
      column(),
      column(null, null),
    ])
      expect(asUtf8(vector)).toBe(vector)
  })

  test('that is not UTF-8 has U+FFFD in place of what is not, and its first row is told', () => {
    const e = [0xc3, 0xa9] as const
    const vector = asUtf8(column(bytes('ok'), null, bytes('a', 0xff, 'b'), bytes(e[0]), bytes(e[1], 'x'), bytes(...e)))
    expect(vector.notUtf8).toBe(2)
    expect(Array.from({ length: 6 }, (_, row) => cellAt(vector, row))).toEqual([
      'ok',
      null,
      'a\ufffdb',
      '\ufffd',
      '\ufffdx',
      'é',
    ])
    // Two values may only be UTF-8 together, and a lone surrogate is none.
    expect(asUtf8(column(bytes(e[0]), bytes(e[1]))).notUtf8).toBe(0)
    expect(asUtf8(column(...Array.from({ length: 9 }, () => bytes('')), bytes(0xff))).notUtf8).toBe(9)
    expect(asUtf8(column(bytes('x'), bytes(0xed, 0xa0, 0x80))).notUtf8).toBe(1)
  })

  test('is judged as the decoder judges each value, for any bytes', () => {
    const random = new Random(77)
    const strict = new TextDecoder('utf-8', { fatal: true })
    const isGood = (text: Uint8Array): boolean => {
      try {
        strict.decode(text)
        return true
      } catch {
        return false
      }
    }
    const pieces = [bytes('a'), bytes('é'), bytes('€'), bytes('𝄞'), bytes(0xc3), bytes(0xa9), bytes(0x80), bytes(0xff)]
    for (let round = 0; round < 300; round++) {
      const kinds = random.below(3) === 0 ? pieces : pieces.slice(0, 4)
      const texts = Array.from({ length: random.below(6) }, () =>
        random.below(8) === 0 ? null : Buffer.concat(Array.from({ length: random.below(4) }, () => random.of(kinds))),
      )
      const bad = texts.findIndex(text => text !== null && !isGood(text))
      const vector = asUtf8(column(...texts))
      expect(vector.notUtf8).toBe(bad < 0 ? undefined : bad)
      for (const [row, text] of texts.entries())
        expect(cellAt(vector, row)).toBe(
          text === null ? null : new TextDecoder('utf-8', { ignoreBOM: true }).decode(text),
        )
    }
  })

  test('is the same in CSV and JSON, of the size that is foretold, in nested values too', async () => {
    const field = (name: string, type: DataType): Field => ({ name, type, nullable: true, metadata: {} })
    const list = (element: DataType): DataType => ({ kind: 'array', element, containsNull: true })
    const asBytes = [field('id', { kind: 'long' }), field('s', BINARY), field('l', list(BINARY))]
    const schema = [asBytes[0]!, field('s', STRING), field('l', list(STRING))]
    const rows = [
      [1n, bytes('good'), [bytes('x'), null]],
      [2n, null, null],
      [3n, bytes('a', 0xff, ',"'), [bytes('y'), bytes(0xc3)]],
      [4n, bytes('good'), []],
    ]
    const vectors = await readAsText(schema, asBytes, rows)
    expect(vectors.map(({ notUtf8 }) => notUtf8)).toEqual([undefined, 2, 2])
    const batch = { rows: rows.length, vectors }
    const csv = renderCsv(batch, schema).bytes
    const jsonl = renderJsonLines(batch, schema).bytes
    expect(decode(csv)).toBe('1,good,"[""x"",null]"\n2,,\n3,"a\ufffd,""","[""y"",""\ufffd""]"\n4,good,[]\n')
    expect(decode(jsonl).split('\n')[2]).toBe('{"id":3,"s":"a\ufffd,\\"","l":["y","\ufffd"]}')
    expect([csvSize(batch, schema), jsonLinesSize(batch, schema)]).toEqual([csv.length, jsonl.length])
    const fine = await readAsText(parseDdl('s:String,l:array<string>'), asBytes.slice(1), [
      rows[0]!.slice(1),
      rows[3]!.slice(1),
    ])
    expect(fine.map(({ notUtf8 }) => notUtf8)).toEqual([undefined, undefined])
  })
})
