import { afterEach, beforeEach, expect, test } from 'bun:test'
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ErrorJournal } from '../../src/fs/error-journal.ts'

let directory: string
const clock = { nowMs: () => Date.parse('2026-11-24T10:00:00Z') }

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'posixlake-journal-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

function open(maxEntries?: number, path = join(directory, 'state', 'errors')): ErrorJournal {
  return new ErrorJournal({ path, clock, ...(maxEntries === undefined ? {} : { maxEntries }) })
}

function textOf(journal: ErrorJournal): string {
  return new TextDecoder().decode(journal.render())
}

test('is empty when nothing went wrong', () => {
  expect(open().render()).toEqual(new Uint8Array(0))
})

test('tells each sentence on its own line, the newest last, also after a restart', () => {
  const journal = open()
  journal.append('Row 3 does not parse.')
  journal.append('Row 4 neither.')
  const expected = '2026-11-24T10:00:00.000Z Row 3 does not parse.\n2026-11-24T10:00:00.000Z Row 4 neither.\n'
  expect([textOf(journal), textOf(open())]).toEqual([expected, expected])
})

test('folds a sentence with newlines or other control characters into one line', () => {
  const journal = open()
  journal.append('a\r\nb\n\n  c\u001b[31m\u2028d\n')
  expect(textOf(journal)).toBe('2026-11-24T10:00:00.000Z a b   c [31m d\n')
})

test('keeps the newest entries, and its file does not grow for ever', () => {
  const journal = open(10)
  for (let i = 0; i < 95; i++) journal.append(`sentence ${i}`)
  const lines = textOf(journal).trimEnd().split('\n')
  expect([lines.length, lines[0]!.slice(25), lines[9]!.slice(25)]).toEqual([10, 'sentence 85', 'sentence 94'])
  expect(textOf(open(10))).toBe(textOf(journal))
  expect(readFileSync(join(directory, 'state', 'errors'), 'utf8').split('\n').length).toBeLessThanOrEqual(21)
})

test('is empty once cleared, also after a restart', () => {
  const journal = open()
  journal.append('x')
  journal.clear()
  expect([textOf(journal), textOf(open())]).toEqual(['', ''])
  journal.append('y')
  expect(textOf(open())).toBe('2026-11-24T10:00:00.000Z y\n')
})

test('goes on in memory where the file cannot be written, and writes it once it can', () => {
  const path = join(directory, 'errors')
  mkdirSync(path)
  const journal = open(5, path)
  journal.append('first')
  expect(textOf(journal)).toContain('first')
  rmSync(path, { recursive: true })
  journal.append('second')
  expect(textOf(open(5, path))).toBe(textOf(journal))
  expect(textOf(journal).split('\n')).toHaveLength(3)
})

test('a line that a crash cut off does not swallow the next one', () => {
  const path = join(directory, 'errors')
  writeFileSync(path, '2026-11-24T09:00:00.000Z whole\n2026-11-24T09:00:01.000Z ha')
  open(5, path).append('next')
  expect(textOf(open(5, path)).split('\n')).toEqual([
    '2026-11-24T09:00:00.000Z whole',
    '2026-11-24T09:00:01.000Z ha',
    '2026-11-24T10:00:00.000Z next',
    '',
  ])
})

test('bytes that are no text do not keep it from starting', () => {
  const path = join(directory, 'errors')
  appendFileSync(path, Buffer.from([0xff, 0xfe, 0x00, 0x0a]))
  const journal = open(5, path)
  journal.append('next')
  expect(textOf(journal)).toEndWith('next\n')
})

test('a sentence of enormous length is cut', () => {
  const journal = open()
  journal.append('x'.repeat(1_000_000))
  expect(journal.render().length).toBeLessThan(5000)
})
