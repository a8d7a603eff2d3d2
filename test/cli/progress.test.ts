import { afterEach, beforeEach, describe, expect, setSystemTime, spyOn, test } from 'bun:test'
import { Progress } from '../../src/cli/progress.ts'

describe('a progress bar', () => {
  const { isTTY } = process.stderr
  let written: string
  let writing: ReturnType<typeof spyOn>

  beforeEach(() => {
    written = ''
    writing = spyOn(process.stderr, 'write').mockImplementation(((text: string) => {
      written += text
      return true
    }) as typeof process.stderr.write)
    process.stderr.isTTY = true
    setSystemTime(1_000_000)
  })
  afterEach(() => {
    writing.mockRestore()
    process.stderr.isTTY = isTTY
    setSystemTime()
  })

  test('is drawn on a terminal once a second has gone by, and is gone at the end', () => {
    const progress = new Progress('importing')
    progress.update(1, 100)
    setSystemTime(1_000_999)
    progress.update(10, 100)
    expect(written).toBe('')
    setSystemTime(1_002_000)
    progress.update(25_000_000, 100_000_000)
    expect(written).toContain('importing ████████░')
    expect(written).toContain('25 %  25 MB of 100 MB, 6 s left')
    setSystemTime(1_002_050)
    const before = written
    progress.update(30_000_000, 100_000_000)
    expect(written).toBe(before)
    progress.end()
    expect(written).toEndWith('\r\x1b[K')
  })

  test('stays within its bounds', () => {
    const progress = new Progress('x')
    setSystemTime(1_005_000)
    progress.update(200, 100)
    setSystemTime(1_006_000)
    progress.update(0, 0)
    setSystemTime(1_007_000)
    progress.update(0, 100)
    expect(written.match(/\d+ %/g)).toEqual(['100 %', '100 %', '0 %'])
  })

  test('is not drawn where standard error is no terminal, and leaves nothing to wipe out', () => {
    process.stderr.isTTY = false
    const progress = new Progress('x')
    setSystemTime(1_009_000)
    progress.update(50, 100)
    progress.end()
    expect(written).toBe('')
  })
})
