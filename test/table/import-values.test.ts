import { afterAll, describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import Papa from 'papaparse'
import { sqlType } from '../../src/columns/schema.ts'
import { textFormat } from '../../src/columns/text/formats/index.ts'
import { openText } from '../../src/fs/text/layout.ts'
import { Segments } from '../../src/fs/text/segments.ts'
import { localStore } from '../../src/storage/local.ts'
import { createFromCsv } from '../../src/table/operations/import.ts'
import type { Table } from '../../src/table/table.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { Random } from '../columns/values.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const pool = new WorkerPool({ threads: 2 })
afterAll(() => pool.close())

async function catOf(table: Table): Promise<string> {
  const cache = {
    get: async () => undefined,
    put: async () => undefined,
    stats: () => ({ entries: 0, sizeBytes: 0, capacityBytes: 0, hits: 0, misses: 0 }),
    close: async () => undefined,
  }
  const text = await openText(
    table,
    table.snapshot,
    new Segments({ cache, pool, store: table.store }),
    textFormat('csv'),
  )
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(await text.read(0, text.size))
}

/** A decimal number as digits without zeros at either end, and the power of ten that they are of: no arithmetic, no rounding. */
function exactly(text: string): string | undefined {
  const match = /^([+-]?)(\d*)\.?(\d*)(?:e([+-]?\d+))?$/i.exec(text)
  if (match === null || `${match[2]}${match[3]}` === '') return undefined
  const digits = `${match[2]}${match[3]}`.replace(/^0+/, '')
  const significant = digits.replace(/0+$/, '')
  if (significant === '') return `${match[1] === '-' ? '-' : ''}0`
  const power = Number(match[4] ?? 0) - match[3]!.length + digits.length - significant.length
  return `${match[1] === '-' ? '-' : ''}${significant}e${power}`
}

const digits = (random: Random, length: number): string => Array.from({ length }, () => random.below(10)).join('')

const VALUES: readonly ((random: Random) => string)[] = [
  random => String(random.below(1000)),
  random => `${random.of(['', '-', '+'])}${1 + random.below(9)}${digits(random, random.below(22))}`,
  random => `${random.below(1000)}.${digits(random, 2)}`,
  random => `${random.of(['', '-'])}${random.below(100)}.${digits(random, random.below(20))}`,
  random => `${random.below(1000) - 500}.${random.below(10)}0`,
  random => `.${digits(random, 1 + random.below(4))}`,
  random =>
    `${random.below(10)}.${digits(random, 3)}${random.of(['e', 'E'])}${random.of(['', '-', '+'])}${random.below(310)}`,
  random => `${random.below(100)}E${random.below(10)}`,
  random => String(random.below(2 ** 31) / (1 + random.below(1000))),
  random => digits(random, 1 + random.below(6)),
  random => random.of(['-0', '-0.00', '0', '0.00', '+0', '5e-324', '1e400', '1.7976931348623157e308', 'NaN', '-inf']),
  random => random.of(['true', 'False', 'TRUE']),
  random =>
    random.of(['x', ' 1', '1 ', '0x1f', '1_0', 'null', '1,5', '"', 'a\nb', 'cr\rlf', 'ü', '\0', '12E3', '\ufeff1']),
]

/** Texts of one column: of a kind or two, sometimes with one of any kind at the end. */
function columnOf(random: Random, rows: number): (string | null)[] {
  const kinds = [random.of(VALUES), random.of(random.below(2) === 0 ? VALUES : VALUES.slice(0, 1))]
  return Array.from({ length: rows }, (_, row) => {
    if (random.below(8) === 0) return random.below(3) === 0 ? '' : null
    return (row === rows - 1 && random.below(4) === 0 ? random.of(VALUES) : random.of(kinds))(random)
  })
}

function fieldOf(random: Random, value: string | null): string {
  if (value === null) return ''
  if (value === '' || /[",\r\n]/.test(value) || random.below(10) === 0) return `"${value.replaceAll('"', '""')}"`
  return value
}

/** Whether a value is shown as what it was in the file, or as another spelling of the very same value. */
function isKept(was: string | null, shown: string, type: string): boolean {
  if (type === 'STRING') return shown === (was ?? '')
  if (was === null || was === '') return shown === ''
  if (type === 'BOOLEAN') return shown === was.toLowerCase()
  if (/^[+-]?(?:nan|inf)/i.test(was))
    return type === 'DOUBLE' && String(Number(shown)) === was.replace('inf', 'Infinity')
  const value = exactly(was)
  return value !== undefined && value === exactly(shown)
}

describe('a CSV file of any values', () => {
  test('shows every one of them when it was imported', async () => {
    const types = new Map<string, number>()
    for (let seed = 1; seed <= 120; seed++) {
      using folder = temporaryFolder()
      const random = new Random(seed)
      const columns = Array.from({ length: 12 }, () => columnOf(random, 1 + random.below(8)))
      const rows = Math.max(...columns.map(({ length }) => length))
      const csv = join(folder.path, 'in.csv')
      const header = `${columns.map((_, i) => `c${i}`).join(',')}\n`
      const lines = Array.from({ length: rows }, (_, row) =>
        columns.map(column => fieldOf(random, column[row] ?? null)).join(','),
      )
      writeFileSync(csv, `${header}${lines.join('\n')}`)
      const table = await createFromCsv(localStore(join(folder.path, 'table')), [csv], { pool })
      const shown = Papa.parse<string[]>(await catOf(table), { newline: '\n' }).data
      for (const [i, field] of table.snapshot.schema.entries()) {
        const type = sqlType(field.type)
        types.set(type, (types.get(type) ?? 0) + 1)
        for (let row = 0; row < rows; row++) {
          const was = columns[i]![row] ?? null
          const is = shown[1 + row]![i]!
          if (!isKept(was, is, type))
            throw new Error(
              `seed ${seed}: ${JSON.stringify(was)} is shown as ${JSON.stringify(is)} in a column of ${type}`,
            )
        }
      }
    }
    // That everything was a STRING would not show much.
    for (const type of ['BIGINT', 'DOUBLE', 'DECIMAL(18,2)', 'BOOLEAN', 'STRING'])
      expect([type, (types.get(type) ?? 0) > 5]).toEqual([type, true])
  }, 60_000)

  test('shows those, too, that come long after the types were found', async () => {
    for (const [first, last, type, shown = last] of [
      ['1', '007', 'STRING'],
      ['1', '-0', 'DOUBLE', '-0.0'],
      ['1', '+5', 'BIGINT', '5'],
      ['0.5', '0.10000000000000001', 'STRING'],
      ['0.5', '1e400', 'STRING'],
      ['12.25', '12E3', 'DOUBLE', '12000.0'],
      ['34567', '12E3', 'STRING'],
      ['1.50', '2.125', 'DOUBLE'],
      ['1.50', '-0.00', 'DOUBLE', '-0.0'],
      ['1.50', '12345678901234567.89', 'DECIMAL(38,2)'],
      ['true', 'FALSE', 'BOOLEAN', 'false'],
      ['true', 'yes', 'STRING'],
      ['2024-01-01', '2024-01-01 10:00:00', 'TIMESTAMP', '2024-01-01T10:00:00Z'],
      ['2024-01-01', '2024-1-1', 'STRING'],
    ] as const) {
      using folder = temporaryFolder()
      const csv = join(folder.path, 'in.csv')
      writeFileSync(csv, `v,filler\n${`${first},${'x'.repeat(60_000)}\n`.repeat(80)}${last},y\n`)
      const table = await createFromCsv(localStore(join(folder.path, 'table')), [csv], { pool })
      const text = await catOf(table)
      expect([
        first,
        last,
        sqlType(table.snapshot.schema[0]!.type),
        text.slice(text.lastIndexOf('\n', text.length - 2)),
      ]).toEqual([first, last, type, `\n${shown},y\n`])
    }
  }, 60_000)
})
