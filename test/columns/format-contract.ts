import { describe, expect, test } from 'bun:test'
import { TextError } from '../../src/columns/errors.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { inputOf, type TextFormat } from '../../src/columns/text/formats/index.ts'
import { ROW_INDEX_STRIDE } from '../../src/columns/text/rendered.ts'
import type { Batch, Cell, Schema } from '../../src/columns/types.ts'
import { batchOf, isNullAt } from '../../src/columns/vectors.ts'
import { ALL_TYPES, cellsOf, decode, encode, randomBatch, spelled } from './values.ts'

const ROWS = 300
const TABLES: readonly (readonly [what: string, schema: Schema, batch: Batch])[] = [
  ['every type', ALL_TYPES, randomBatch(ALL_TYPES, ROWS, 21)],
  ['numbers and texts', parseDdl('id:Int64,text:String'), randomBatch(parseDdl('id:Int64,text:String'), ROWS, 22)],
  ['one column, some of it NULL', parseDdl('text:String'), randomBatch(parseDdl('text:String'), ROWS, 23)],
  ['no rows', ALL_TYPES, randomBatch(ALL_TYPES, 0, 24)],
]

/** What every text form keeps to, whatever it looks like. */
export function formatContract(format: TextFormat): void {
  for (const [what, schema, batch] of TABLES) {
    describe(`of ${what}`, () => {
      const { bytes, rows, index } = format.render(batch, schema)

      test('is measured without being rendered', () => {
        expect(format.measure(batch, schema)).toBe(bytes.length)
      })

      test('is cut into its rows, to which the index leads', () => {
        expect(rows).toBe(batch.rows)
        expect(index.length).toBe(Math.ceil(rows / ROW_INDEX_STRIDE))
        const starts = startsOf(format, bytes)
        expect(starts.length).toBe(rows)
        expect([...index]).toEqual(starts.filter((_, row) => row % ROW_INDEX_STRIDE === 0))
      })

      test('is the text of its rows, one behind the other', () => {
        const starts = startsOf(format, bytes)
        for (const row of [0, 1, 64, 299].filter(candidate => candidate < rows)) {
          const alone = batchOf(
            schema.map(({ type }) => type),
            [cellsOf(batch)[row]!],
          )
          const text = decode(bytes.subarray(starts[row], starts[row + 1] ?? bytes.length))
          expect(text).toBe(decode(format.render(alone, schema).bytes))
        }
      })

      if (format.input !== undefined) readBack(format, schema, batch)
    })
  }

  test('grows by what it says when columns are added that are NULL', () => {
    const schema = parseDdl('id:Int64,text:String')
    const added = parseDdl('more:Float64,"last, one":array<string>')
    const before = randomBatch(schema, 50, 25)
    const after = batchOf(
      [...schema, ...added].map(({ type }) => type),
      cellsOf(before).map(cells => [...cells, null, null]),
    )
    const size = format.measure(after, [...schema, ...added])
    expect(size).toBe(format.measure(before, schema) + 50 * format.nullsSize(added))
  })

  if (format.frame !== undefined) {
    test('has a frame of which the first byte of the rows is a part', () => {
      const schema = parseDdl('id:Int64,text:String')
      expect(format.header(schema).length).toBe(0)
      expect(format.render(randomBatch(schema, 3, 26), schema).bytes[0]).not.toBe(format.frame!.open)
      expect(format.frame!.empty[0]).toBe(format.frame!.open)
    })
  }
}

function readBack(format: TextFormat, schema: Schema, batch: Batch): void {
  const input = inputOf(format)
  const { bytes } = format.render(batch, schema)

  test('is read back as the same rows, and names their columns', () => {
    const seen = new Set<string>()
    expect(sorted(cellsOf(input.parse(bytes, schema, { seen })))).toEqual(sorted(cellsOf(batch)))
    if (batch.rows > 0) expect([...seen].sort()).toEqual(schema.map(({ name }) => name).sort())
  })

  test('is read back as the same rows where it is cut between rows, wherever the bytes end', () => {
    const starts = startsOf(format, bytes)
    for (let length = 0; length < Math.min(bytes.length, 4000); length += 37) {
      const end = input.lastRowEnd(bytes.subarray(0, length))
      expect(end === 0 || end === bytes.length || starts.includes(end)).toBe(true)
      expect(starts.filter(start => start > end && start <= length)).toEqual([])
    }
    expect(input.lastRowEnd(bytes)).toBe(bytes.length)
  })

  test('has each field where it is looked for', () => {
    const starts = startsOf(format, bytes)
    for (const column of [0, schema.length - 1]) {
      const cut = input.fieldCut(column)
      for (const [row, start] of starts.entries()) {
        const end = starts[row + 1] ?? bytes.length
        const field = { start: -1, end: -1 }
        expect(cut(bytes, start, end, field)).toBe(!isNullAt(batch.vectors[column]!, row))
        if (field.start < 0) continue
        expect(field.start >= start && field.end > field.start && field.end <= end).toBe(true)
      }
    }
  })

  test('names its columns as the schema does', () => {
    const { naming } = input
    if (naming.by === 'header') {
      const header = format.header(schema)
      const text = Buffer.concat([header, bytes])
      expect(naming.parse(text)).toEqual({ names: schema.map(({ name }) => name), endOffset: header.length })
      expect(failureOf(() => naming.parse(encode('"never closed\n')))).toMatchObject({ code: 'bad_header', line: 1 })
      expect(naming.infer(schema.map(({ name }) => name)).result()).toHaveLength(schema.length)
      return
    }
    expect(format.header(schema).length).toBe(0)
    const inference = naming.infer(schema)
    inference.feed(bytes, { firstLine: 1 })
    expect(inference.result()).toEqual([])
  })

  if (batch.rows > 0) {
    test('is refused with the line where a row is none', () => {
      const one = bytes.subarray(0, startsOf(format, bytes)[1] ?? bytes.length)
      const lines = decode(one).split('\n').length - 1
      const broken = Buffer.concat([one, encode('"never closed\n')])
      const failure = failureOf(() => input.parse(broken, schema, { firstLine: 7 }))
      expect(failure).toBeInstanceOf(TextError)
      expect((failure as TextError).line).toBe(7 + lines)
    })
  }
}

/** Where rows begin in a text that ends with a row. */
function startsOf(format: TextFormat, bytes: Uint8Array): number[] {
  const next = format.cut(bytes)
  const starts: number[] = []
  for (let at = 0; at < bytes.length; ) {
    starts.push(at)
    const end = next(at)
    if (end <= at) throw new Error(`the row that begins at ${at} has no end`)
    at = end
  }
  return starts
}

/** A map in JSON may lose the order of its keys, not their values. */
function sorted(rows: Cell[][]): unknown[] {
  const inOrder = (cell: unknown): unknown => {
    if (!Array.isArray(cell)) return cell
    const items = cell.map(inOrder)
    const isMap = items.length > 0 && items.every(item => Array.isArray(item) && item.length === 2)
    return isMap ? items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)) : items
  }
  return rows.map(row => row.map(cell => inOrder(spelled(cell))))
}

function failureOf(run: () => unknown): unknown {
  try {
    run()
  } catch (error) {
    return error
  }
  return undefined
}
