import { describe, expect, test } from 'bun:test'
import { type Table, tableFromIPC, type Vector } from 'apache-arrow'
import { arrowStream } from '../../src/columns/arrow.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import type { Batch, Cell, DataType, Schema } from '../../src/columns/types.ts'
import { ALL_TYPES, cellsOf, randomBatch, spelled } from './values.ts'

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}

async function arrowTable(schema: Schema, batches: readonly Batch[]): Promise<Table> {
  const pieces: Uint8Array[] = []
  for await (const piece of arrowStream(schema, each(batches))) pieces.push(piece)
  return tableFromIPC(Buffer.concat(pieces))
}

/** A value of Arrow as a cell, from the memory that holds it: the library's own getters round times and decimals. */
function cellOf(vector: Vector, row: number, type: DataType): Cell {
  if (!vector.isValid(row)) return null
  const chunk = vector.data[0]!
  switch (type.kind) {
    case 'date':
      return (chunk.values as Int32Array)[row]!
    case 'timestamp':
    case 'timestamp_ntz': {
      const { buffer, byteOffset } = chunk.values as Int32Array
      return new DataView(buffer, byteOffset + 8 * row).getBigInt64(0, true)
    }
    case 'decimal': {
      const words = (chunk.values as Uint32Array).subarray(4 * row, 4 * row + 4)
      return BigInt.asIntN(
        128,
        words.reduceRight((sum, word) => (sum << 32n) | BigInt(word), 0n),
      )
    }
    case 'string': {
      const offsets = chunk.valueOffsets
      return new TextDecoder('utf-8', { ignoreBOM: true }).decode(
        (chunk.values as Uint8Array).subarray(offsets[row], offsets[row + 1]),
      )
    }
    case 'array':
      return range(chunk.valueOffsets, row).map(i => cellOf(vector.getChildAt(0)!, i, type.element))
    case 'map': {
      const entries = vector.getChildAt(0)!
      return range(chunk.valueOffsets, row).map(
        i => [cellOf(entries.getChildAt(0)!, i, type.key), cellOf(entries.getChildAt(1)!, i, type.value)] as const,
      )
    }
    case 'struct':
      return type.fields.map((field, i) => cellOf(vector.getChildAt(i)!, row, field.type))
    default:
      return vector.get(row) as Cell
  }
}

function range(offsets: Int32Array, row: number): number[] {
  return Array.from({ length: offsets[row + 1]! - offsets[row]! }, (_, i) => offsets[row]! + i)
}

describe('an Arrow stream', () => {
  test('holds every value of every type exactly', async () => {
    const batch = randomBatch(ALL_TYPES, 150, 44)
    const table = await arrowTable(ALL_TYPES, [batch])
    expect(table.schema.fields.map(field => [field.name, field.nullable])).toEqual(
      ALL_TYPES.map(({ name, nullable }) => [name, nullable]),
    )
    const expected = cellsOf(batch)
    for (const [column, { type }] of ALL_TYPES.entries()) {
      const vector = table.getChildAt(column)!
      const found = Array.from({ length: 150 }, (_, row) => cellOf(vector, row, type))
      expect(spelled(found)).toEqual(spelled(expected.map(cells => cells[column]!)))
      expect(vector.nullCount).toBe(expected.filter(cells => cells[column] === null).length)
    }
  })

  test('has one record batch for each batch, also for those without rows', async () => {
    const schema = parseDdl('a:Int64,s:String')
    const table = await arrowTable(schema, [
      randomBatch(schema, 3, 1),
      randomBatch(schema, 0, 2),
      randomBatch(schema, 5, 3),
    ])
    expect(table.numRows).toBe(8)
    expect((await arrowTable(schema, [])).schema.fields.map(String)).toEqual(['a: Int64', 's: Utf8'])
  })

  test('fails as its batches fail', async () => {
    const schema = parseDdl('a:Int64')
    const broken = (async function* () {
      yield randomBatch(schema, 3, 1)
      throw new Error('the file is gone')
    })()
    const read = async (): Promise<void> => {
      for await (const piece of arrowStream(schema, broken)) expect(piece.length).toBeGreaterThan(0)
    }
    await expect(read()).rejects.toThrow('the file is gone')
  })
})
