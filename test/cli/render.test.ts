import { describe, expect, test } from 'bun:test'
import { cellText, megabytes, renderTable, tableColumns } from '../../src/cli/render.ts'

async function rendered(rows: string[][], width?: number): Promise<string> {
  const columns = [{ name: 'id', alignRight: true }, { name: 'text' }]
  return (await Array.fromAsync(renderTable(columns, rows, { width }))).join('')
}

describe('a table for people', () => {
  test('has columns as wide as their values, numbers to the right', async () => {
    expect(
      await rendered([
        ['1', 'a'],
        ['100', 'ü€'],
      ]),
    ).toBe(' id  text\n  1  a\n100  ü€\n')
    expect(await rendered([])).toBe('id  text\n')
  })

  test('is cut to the terminal’s width, wide characters counted as two', async () => {
    for (const line of (
      await rendered(
        [
          ['1', '漢字'.repeat(30)],
          ['2', 'x'.repeat(100)],
        ],
        30,
      )
    )
      .trimEnd()
      .split('\n')) {
      expect(Bun.stringWidth(line)).toBeLessThanOrEqual(30)
    }
    expect(await rendered([['1', 'x'.repeat(100)]], 20)).toContain('…')
  })

  test('is not cut where it goes to a file', async () => {
    expect(await rendered([['1', 'x'.repeat(500)]])).toContain('x'.repeat(500))
  })

  test('makes NULL and control characters visible', () => {
    expect(cellText(null, { kind: 'string' })).toBe('NULL')
    expect(cellText('a\nb\tc\u001b', { kind: 'string' })).toBe('a\\nb\\tc\\x1b')
    expect(tableColumns([{ name: 'a\u001b[31m', type: { kind: 'string' }, nullable: true, metadata: {} }])).toEqual([
      { name: 'a\\x1b[31m', alignRight: false },
    ])
    expect(cellText([1, null], { kind: 'array', element: { kind: 'integer' }, containsNull: true })).toBe('[1,null]')
  })

  test('has sizes in units', () => {
    expect([0, 999, 1500, 12_345_678, 5e12].map(megabytes)).toEqual(['0 B', '999 B', '1.5 kB', '12 MB', '5.0 TB'])
  })
})
