import { describe, expect, test } from 'bun:test'
import { type PathColumn, PathIndex } from '../../src/table/log/path-index.ts'
import { isPlainPath } from '../../src/table/log/paths.ts'
import { seeded } from '../nfs/random.ts'

/** A column of paths, of which some rows have none. */
function columnOf(paths: readonly (string | undefined)[]): PathColumn {
  const starts: number[] = []
  const ends: number[] = []
  let bytes = Buffer.alloc(0)
  const index = paths.map(path => {
    if (path === undefined) return -1
    starts.push(bytes.length)
    bytes = Buffer.concat([bytes, Buffer.from(path)])
    ends.push(bytes.length)
    return starts.length - 1
  })
  return {
    paths: { bytes, starts: Uint32Array.from(starts), ends: Uint32Array.from(ends), index: Int32Array.from(index) },
    rows: Int32Array.from(paths.flatMap((path, row) => (path === undefined ? [] : [row]))),
  }
}

describe('an index of paths', () => {
  test('finds each, and no other', () => {
    const { below } = seeded(5)
    const paths = Array.from({ length: 3000 }, (_, i) => `p=${below(9)}/${'x'.repeat(below(70))}${i}.parquet`)
    const columns = [paths.slice(0, 1000), [undefined, ...paths.slice(1000, 1001), undefined], paths.slice(1001)]
    const index = PathIndex.of(columns.map(columnOf))!
    for (const [i, path] of paths.entries()) {
      expect(index.find(path)).toBe(i)
      const { column, row } = index.placeOf(i)
      expect(columns[column]![row]).toBe(path)
      expect(index.find(`${path}x`)).toBeUndefined()
      expect(index.find(path.slice(1))).toBeUndefined()
    }
    expect(index.find('')).toBeUndefined()
    expect(PathIndex.of([])!.find('a')).toBeUndefined()
  })

  test('is not made where a path stands twice', () => {
    expect(PathIndex.of([columnOf(['a', 'b']), columnOf(['c', 'a'])])).toBeUndefined()
  })

  test('is made of plain paths alone', () => {
    const { below } = seeded(6)
    const letters = ['a', 'Z', '0', '_', '-', '=', '.', '/', '%', ' ', 'é', ':', '\0']
    const paths = Array.from({ length: 5000 }, () =>
      Array.from({ length: below(6) }, () => letters[below(letters.length)]).join(''),
    )
    for (const path of paths)
      expect([path, PathIndex.of([columnOf([path])]) !== undefined]).toEqual([path, isPlainPath(path)])
  })
})
