import { describe, expect, test } from 'bun:test'
import { rowEnd } from '../../../src/columns/text/csv.ts'
import { csv } from '../../../src/columns/text/formats/index.ts'
import { diffText, type RowText } from '../../../src/fs/edits/diff.ts'
import { bytesText } from '../../../src/fs/text/text.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

function rowText(text: string): RowText {
  const bytes = encoder.encode(text)
  const starts = [0]
  for (let at = rowEnd(bytes, 0); at > 0; at = rowEnd(bytes, at)) starts.push(at)
  return { ...bytesText(bytes), rowStart: async offset => starts.findLast(start => start <= offset)! }
}

function rowsOf(text: string): string[] {
  const bytes = encoder.encode(text)
  const rows: string[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = rowEnd(bytes, at)
    const stop = end < 0 ? bytes.length : end
    rows.push(`${decoder.decode(bytes.subarray(at, stop)).replace(/\n$/, '')}\n`)
    at = stop
  }
  return rows
}

async function diff(
  base: string,
  image: string,
): Promise<{ removed: string[]; added: { rows: string; behind: string }[] }> {
  const result = await diffText(rowText(base), bytesText(encoder.encode(image)), {
    cut: csv.cut,
    baseStart: 0,
    imageStart: 0,
  })
  const baseBytes = encoder.encode(base)
  const imageBytes = encoder.encode(image)
  return {
    removed: result.removed.map(({ start, end }) => decoder.decode(baseBytes.subarray(start, end))),
    added: result.added.map(({ start, end, anchor }) => ({
      rows: decoder.decode(imageBytes.subarray(start, end)),
      behind: rowsOf(decoder.decode(baseBytes.subarray(0, anchor))).at(-1) ?? '',
    })),
  }
}

const lines = (from: number, to: number): string =>
  Array.from({ length: to - from }, (_, i) => `${from + i},row ${from + i}\n`).join('')

describe('the difference between two texts of rows', () => {
  test('equal texts have none', async () => {
    expect(await diff(lines(0, 100), lines(0, 100))).toEqual({ removed: [], added: [] })
  })

  test('rows behind the end are an append', async () => {
    expect(await diff('a\nb\n', 'a\nb\nc\nd\n')).toEqual({ removed: [], added: [{ rows: 'c\nd\n', behind: 'b\n' }] })
  })

  test('a changed row is a removed and an added one at its place', async () => {
    expect(await diff('a\nb\nc\n', 'a\nB\nc\n')).toEqual({ removed: ['b\n'], added: [{ rows: 'B\n', behind: 'a\n' }] })
  })

  test('a changed first row stands in front of all', async () => {
    expect(await diff('a\nb\n', 'A\nb\n')).toEqual({ removed: ['a\n'], added: [{ rows: 'A\n', behind: '' }] })
  })

  test('a row that only begins like another is another', async () => {
    expect(await diff('1,x\n', '1,x\n1,xy\n')).toEqual({ removed: [], added: [{ rows: '1,xy\n', behind: '1,x\n' }] })
    expect(await diff('1,x\n', '1,xy\n')).toEqual({ removed: ['1,x\n'], added: [{ rows: '1,xy\n', behind: '' }] })
  })

  test('a missing final newline is no difference', async () => {
    expect(await diff('a\nb\n', 'a\nb')).toEqual({ removed: [], added: [] })
    expect(await diff('a\nb\nc\n', 'a\nb')).toEqual({ removed: ['c\n'], added: [] })
    expect(await diff('a\nb\n', 'a\nb\nc')).toEqual({ removed: [], added: [{ rows: 'c', behind: 'b\n' }] })
  })

  test('rows in quotes may span lines, and hold lines that look like other rows', async () => {
    const base = '1,"x\ny"\n2,z\n3,"a\n2,z\nb"\n4,end\n'
    expect(await diff(base, base.replace('4,end', '4,END'))).toEqual({
      removed: ['4,end\n'],
      added: [{ rows: '4,END\n', behind: '3,"a\n2,z\nb"\n' }],
    })
    expect(await diff(base, base.replace('\ny"', '\nY"'))).toEqual({
      removed: ['1,"x\ny"\n'],
      added: [{ rows: '1,"x\nY"\n', behind: '' }],
    })
  })

  test('a quote that is opened and not closed makes all that follows one row', async () => {
    const { removed, added } = await diff('1,a\n2,b\n3,c\n', '1,a\n2,"b\n3,c\n')
    expect(removed).toEqual(['2,b\n3,c\n'])
    expect(added).toEqual([{ rows: '2,"b\n3,c\n', behind: '1,a\n' }])
  })

  test('rows that only changed places are no difference', async () => {
    expect(await diff(lines(0, 1000), rowsOf(lines(0, 1000)).toReversed().join(''))).toEqual({ removed: [], added: [] })
  })

  test('a row that is there twice needs two partners', async () => {
    const { removed, added } = await diff('b\na\na\nc\n', 'c\na\nb\n')
    expect(removed.join('')).toBe('a\n')
    expect(added).toEqual([])
  })

  test('a block put in the middle of megabytes is found as one block at its place', async () => {
    const block = Array.from({ length: 400_000 }, (_, i) => `new ${i},${'x'.repeat(20)}\n`).join('')
    const { removed, added } = await diff(lines(0, 300_000), lines(0, 100_000) + block + lines(100_000, 300_000))
    expect(removed).toEqual([])
    expect(added.length).toBe(1)
    expect(added[0]!.rows === block).toBe(true)
    expect(added[0]!.behind).toBe('99999,row 99999\n')
  })

  test('every line of megabytes changed is all old rows against all new ones', async () => {
    const base = lines(0, 400_000)
    const { removed, added } = await diff(base, base.replaceAll('row', 'line'))
    expect(removed.join('') === base).toBe(true)
    expect(added.length).toBe(1)
    expect(added[0]!.behind).toBe('')
  })

  test('for random edits, removed and added rows turn the old rows into the new ones', async () => {
    let seed = 42
    const random = (n: number): number => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      return Math.floor((seed / 2 ** 32) * n)
    }
    const words = ['a', 'b', 'c,d', '"q\nq"', '""', '"x"",\n"']
    for (let round = 0; round < 400; round++) {
      const row = (): string => `${words[random(words.length)]},${random(4)}\n`
      const base = Array.from({ length: random(30) }, row)
      const image = [...base]
      for (let edits = random(6); edits > 0; edits--) {
        const at = random(image.length + 1)
        const kind = random(4)
        if (kind === 0) image.splice(at, 0, ...Array.from({ length: random(5) }, row))
        else if (kind === 1) image.splice(at, random(5))
        else if (kind === 2 && at < image.length) image[at] = row()
        else image.push(...image.splice(at, random(6)))
      }
      const { removed, added } = await diff(base.join(''), image.join(''))
      const left = [...base]
      for (const gone of removed.flatMap(rowsOf)) left.splice(left.indexOf(gone), 1)
      expect([...left, ...added.flatMap(({ rows }) => rowsOf(rows))].toSorted()).toEqual(image.toSorted())
      const net = new Set(added.flatMap(({ rows }) => rowsOf(rows)))
      expect(removed.flatMap(rowsOf).filter(gone => net.has(gone))).toEqual([])
    }
  })
})
