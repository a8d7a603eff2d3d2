import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const SOURCE = join(import.meta.dir, '..', '..', 'src')

/** Lines of the sources that match, with their places. */
function lines(pattern: RegExp, where: string, but: readonly string[] = []): string[] {
  const found: string[] = []
  for (const path of [...new Bun.Glob(where).scanSync(SOURCE)].sort()) {
    if (but.includes(path)) continue
    for (const [i, line] of readFileSync(join(SOURCE, path), 'utf8').split('\n').entries())
      if (pattern.test(line)) found.push(`${path}:${i + 1}: ${line.trim()}`)
  }
  return found
}

test('tables and columns reach files through storage/ alone', () => {
  const files = /from '(?:node:)?(?:fs|fs\/promises)'|\bBun\.(?:file|write)\(/
  expect(lines(files, '{table,columns}/**/*.ts')).toEqual([])
  expect(lines(files, 'storage/**/*.ts').length).toBeGreaterThan(0)
})

test('Parquet knows nothing of Delta, of the views, or of the table', () => {
  expect(lines(/'(?:delta|posixlake)\.|from '[^']*\/(?:table|fs)\//, 'columns/parquet/**/*.ts')).toEqual([])
})

test('what posixlake writes into logs and footers is named in one file', () => {
  const names = /'posixlake\.(?:text|order|live|deletionVectors)/
  expect(lines(names, '**/*.ts', ['table/tags.ts'])).toEqual([])
  expect(lines(names, 'table/tags.ts').length).toBe(7)
})

test('an operation is a file that names it, and no other file of table/ does', () => {
  const named = lines(/\bname: .*'(?:[A-Z]+ ?)+'/, 'table/**/*.ts').map(line => line.split(':')[0])
  expect([...new Set(named)]).toEqual([
    'table/operations/alter-columns.ts',
    'table/operations/alter.ts',
    'table/operations/append.ts',
    'table/operations/create.ts',
    'table/operations/delete.ts',
    'table/operations/merge.ts',
    'table/operations/optimize.ts',
    'table/operations/restore.ts',
    'table/operations/truncate.ts',
    'table/operations/update.ts',
    'table/operations/vacuum.ts',
  ])
})
