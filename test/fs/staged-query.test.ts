import { describe, expect, test } from 'bun:test'
import type { FsError } from '../../src/fs/filesystem.ts'
import { bytesText, type Text } from '../../src/fs/text/text.ts'
import { StagedQuery } from '../../src/fs/views/staged-query.ts'
import { seeded } from '../nfs/random.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const text = (value: string): Text => bytesText(bytes(value))

async function shown(staged: StagedQuery): Promise<string> {
  const { text: image } = staged
  return new TextDecoder().decode(await image.read(0, image.size))
}

/** An answer of any size, of which nobody may read much. */
function vast(size: number): Text & { read: Text['read']; most: number } {
  const answer = {
    size,
    most: 0,
    read: async (start: number, end: number) => {
      answer.most = Math.max(answer.most, end - start)
      return new Uint8Array(end - start).fill(120)
    },
  }
  return answer
}

describe('the SQL that a save writes', () => {
  test('is all of the file, if it was emptied or written over', async () => {
    let staged = await StagedQuery.over(text('n\n1\n')).resized(0)
    staged = await staged.written(0, bytes('SELECT '))
    staged = await staged.written(7, bytes('1\n'))
    expect(await staged.sql()).toBe('SELECT 1\n')
    expect(await (await StagedQuery.over(text('n\n1\n')).written(0, bytes('SELECT 1'))).sql()).toBe('SELECT 1')
    // Other bytes than the answer's are no `>>`, however long.
    const over = await StagedQuery.over(text('n\n1\n')).written(0, bytes('n\n2\nx'))
    expect(await over.sql()).toBe('n\n2\nx')
  })

  test('is what stands behind the last answer, also if the client writes the page before once more', async () => {
    const behind = await StagedQuery.over(text('n\n1\n')).written(4, bytes('SELECT 2\n'))
    expect(await behind.sql()).toBe('SELECT 2\n')
    expect(await shown(behind)).toBe('n\n1\nSELECT 2\n')
    const page = await StagedQuery.over(text('n\n1\n')).written(2, bytes('1\nSELECT 2\n'))
    expect(await page.sql()).toBe('SELECT 2\n')
    expect(await StagedQuery.over(text('n\n1\n')).sql()).toBe('n\n1\n')
  })

  test('costs its own size, however large the answer before it is', async () => {
    const answer = vast(1e12)
    const staged = await StagedQuery.over(answer).written(1e12, bytes('SELECT 1'))
    expect(await staged.sql()).toBe('SELECT 1')
    const page = new Uint8Array(4096).fill(120)
    const again = await (await StagedQuery.over(answer).written(1e12 - 4096, page)).written(1e12, bytes('SELECT 2'))
    expect(await again.sql()).toBe('SELECT 2')
    expect(answer.most).toBeLessThanOrEqual(4096)
    expect(again.size).toBe(1e12 + 8)
    // Written over in the middle it is no SQL that anybody can have meant.
    const inside = await StagedQuery.over(answer).written(5, bytes('x'))
    expect(await inside.sql().catch((error: FsError) => error.code)).toBe('EFBIG')
  })

  test('is bounded', async () => {
    const staged = StagedQuery.over(text('n\n'))
    const code = (run: Promise<unknown>): Promise<string> =>
      run.then(
        () => 'OK',
        (error: FsError) => error.code,
      )
    expect(await code(staged.written(2, new Uint8Array(1 << 20)))).toBe('OK')
    expect(await code(staged.written(3, new Uint8Array(1 << 20)))).toBe('EFBIG')
    expect(await code(staged.written(1e15, bytes('x')))).toBe('EFBIG')
    expect(await code(staged.resized(1e15))).toBe('EFBIG')
    const far = await staged.written(0, bytes('x'))
    expect(await code(far.written(1 << 20, bytes('x')))).toBe('OK')
    expect(await code(far.written((1 << 20) + 2, bytes('x')))).toBe('EFBIG')
  })

  test('is that of a file to which the same was done', async () => {
    const { below: random } = seeded(7)
    for (let round = 0; round < 300; round++) {
      let file = bytes('name,n\na,1\nb,2\n'.slice(0, random(16)))
      let staged = StagedQuery.over(bytesText(file))
      for (let step = 0; step < 6; step++) {
        const size = random(40)
        if (random(3) === 0) {
          const next = new Uint8Array(size)
          next.set(file.subarray(0, size))
          file = next
          staged = await staged.resized(size)
        } else {
          const offset = random(30)
          const data = new Uint8Array(1 + random(9)).fill(65 + step)
          const next = new Uint8Array(Math.max(file.length, offset + data.length))
          next.set(file)
          next.set(data, offset)
          file = next
          staged = await staged.written(offset, data)
        }
        expect(await shown(staged)).toBe(new TextDecoder().decode(file))
      }
    }
  })
})
