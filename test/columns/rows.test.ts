import { describe, expect, test } from 'bun:test'
import type { Batch } from '../../src/columns/types.ts'
import { joinBatches, sliceBatch, takeRows } from '../../src/columns/vectors.ts'
import { ALL_TYPES, cellsOf, Random, randomBatch, spelled } from './values.ts'

/** The same rows in the other form of vectors: a list of cells. */
function asCells({ rows, vectors }: Batch): Batch {
  const cells = cellsOf({ rows, vectors })
  return { rows, vectors: vectors.map(({ type }, i) => ({ type, length: rows, values: cells.map(row => row[i]!) })) }
}

const batch = randomBatch(ALL_TYPES, 200, 7)
const cells = cellsOf(batch).map(spelled)

describe('rows of every type', () => {
  test('are taken from a batch, in any order and more than once', () => {
    const random = new Random(3)
    const numbers = Array.from({ length: 300 }, () => random.below(200))
    for (const given of [batch, asCells(batch), sliceBatch(joinBatches([batch, batch]), 200, 400)])
      expect(cellsOf(takeRows(given, numbers)).map(spelled)).toEqual(numbers.map(row => cells[row]!))
    expect(takeRows(batch, []).rows).toBe(0)
  })

  test('keep no bytes of others', () => {
    const text = ALL_TYPES.findIndex(({ name }) => name === 'text')
    const { values } = takeRows(batch, [0, 1]).vectors[text]!
    expect((values as { bytes: Uint8Array }).bytes.length).toBeLessThan(700)
  })

  test('are joined, in whatever form they come', () => {
    const parts = [
      sliceBatch(batch, 0, 1),
      asCells(sliceBatch(batch, 1, 90)),
      takeRows(batch, []),
      sliceBatch(batch, 90, 200),
    ]
    expect(cellsOf(joinBatches(parts)).map(spelled)).toEqual(cells)
    expect(cellsOf(joinBatches(parts.filter((_, i) => i !== 1))).map(spelled)).toEqual([cells[0]!, ...cells.slice(90)])
    expect(joinBatches([]).rows).toBe(0)
    expect(joinBatches([batch])).toBe(batch)
  })
})
