import { describe, expect, test } from 'bun:test'
import { TextError } from '../../src/columns/errors.ts'
import { lastRowEnd, parseCsv, renderCsv, rowEnd } from '../../src/columns/text/csv.ts'
import type { DataType, Field } from '../../src/columns/types.ts'
import { cellAt, vectorOf } from '../../src/columns/vectors.ts'

const STRING: DataType = { kind: 'string' }
const LONG: DataType = { kind: 'long' }

/** Short texts of what CSV is made of, the same in each run. */
function* texts(count: number): Generator<Uint8Array> {
  const pieces = ['"', '""', ',', '\n', '\r', 'a', '1', ';', ',"', '"\n']
  let state = 1
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  for (let i = 0; i < count; i++) {
    const text = Array.from({ length: next(16) }, () => pieces[next(pieces.length)]!).join('')
    yield new TextEncoder().encode(text)
  }
}

const lineEnds = (bytes: Uint8Array): number => bytes.reduce((sum, byte) => sum + (byte === 0x0a ? 1 : 0), 0)

function fieldsOf(types: readonly DataType[], nullable: boolean): Field[] {
  return types.map((type, i) => ({ name: `c${i}`, type, nullable, metadata: {} }))
}

/** What is found in rows, or what is said of them. */
function found(bytes: Uint8Array, fields: readonly Field[], mayChange: boolean): unknown {
  try {
    const { rows, vectors, end } = parseCsv(bytes, fields, { mayChange })
    return { end, cells: vectors.map(vector => Array.from({ length: rows }, (_, row) => cellAt(vector, row))) }
  } catch (error) {
    if (!(error instanceof TextError)) throw error
    return error.message
  }
}

describe('CSV with quotes anywhere', () => {
  test('ends its last row where the last of its rows ends', () => {
    for (const bytes of texts(20_000))
      for (const delimiter of [0x2c, 0x3b]) {
        let last = 0
        for (let end = rowEnd(bytes, 0, delimiter); end > 0; end = rowEnd(bytes, last, delimiter)) last = end
        expect(lastRowEnd(bytes, delimiter)).toBe(last)
      }
  })

  test('is read the same where its bytes may be changed, and has as many line ends then; a text that is refused is as it was', () => {
    for (const types of [[STRING, STRING], [STRING, LONG], [STRING]] as const)
      for (const nullable of [true, false])
        for (const bytes of texts(4000)) {
          const fields = fieldsOf(types, nullable)
          const changed = bytes.slice()
          const result = found(changed, fields, true)
          expect(result).toEqual(found(bytes, fields, false))
          expect(lineEnds(changed)).toBe(lineEnds(bytes))
          if (typeof result === 'string') expect(Buffer.compare(changed, bytes)).toBe(0)
        }
  })

  test('is written with quotes around values that have to have them, and two for each in them', () => {
    const decoder = new TextDecoder()
    for (const tail of ['', 'a long tail', ' and é, ü'])
      for (const bytes of texts(4000)) {
        const value = decoder.decode(bytes) + tail
        const expected = value === '' || /[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value
        const batch = { rows: 2, vectors: [vectorOf(STRING, [value, 'x'])] }
        expect(decoder.decode(renderCsv(batch, fieldsOf([STRING], true)).bytes)).toBe(`${expected}\nx\n`)
      }
  })
})
