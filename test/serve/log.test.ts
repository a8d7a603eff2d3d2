import { describe, expect, test } from 'bun:test'
import {
  appendFileSync,
  closeSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { FsError } from '../../src/fs/filesystem.ts'
import { causesOf, fileLog, logLine, RefusalLog, versionSentence } from '../../src/serve/log.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

describe('the log of a server', () => {
  test('is bounded while it runs: the older part becomes a second file, and the process’s own output goes on', () => {
    using folder = temporaryFolder()
    const path = join(folder.path, 'log')
    appendFileSync(path, 'an earlier server\n')
    const stderr = openSync(path, 'a')
    const log = fileLog(path, 10_000)
    for (let i = 0; i < 1000; i++) {
      log(`sentence ${i}`)
      expect(statSync(path).size).toBeLessThan(10_100)
    }
    writeSync(stderr, 'the last words\n')
    closeSync(stderr)
    expect(statSync(`${path}.1`).size).toBeLessThan(10_100)
    const text = readFileSync(`${path}.1`, 'utf8') + readFileSync(path, 'utf8')
    const numbers = [...text.matchAll(/Z sentence (\d+)\n/g)].map(match => Number(match[1]))
    expect(numbers.at(-1)).toBe(999)
    expect(numbers).toEqual(Array.from(numbers, (_, i) => numbers[0]! + i))
    expect(text).toEndWith('the last words\n')
    expect(existsSync(`${path}.2`)).toBe(false)
  })

  test('that cannot be written to ends nothing', () => {
    using folder = temporaryFolder()
    for (const path of [join(folder.path, 'missing', 'log'), folder.path])
      expect(() => fileLog(path)('a sentence')).not.toThrow()
    expect(readdirSync(folder.path)).toEqual([])
  })

  test('has lines that begin with a time, and act on no terminal', () => {
    const line = logLine('column id: not "\u001b[31mred\u0007\r\t"\n    at stack')
    expect(line).toMatch(/^20\d\d-\d\d-\d\dT[\d:.]+Z column id: not " \[31mred {3}"\n {4}at stack\n$/)
    expect(logLine('é'.repeat(100_000)).length).toBeLessThan(10_000)
  })
})

describe('a commit in the log', () => {
  const sentence = (
    operation: string,
    metrics: Record<string, unknown>,
    durationMs: number | undefined = 12.4,
  ): string => versionSentence({ version: 7n, operation, metrics, engine: 'Apache-Spark/3.5', durationMs })

  test('is told with its rows and its time', () => {
    expect(sentence('WRITE', { numOutputRows: '1' })).toBe('version 7: WRITE, 1 row inserted, in 12 ms')
    expect(sentence('DELETE', { numDeletedRows: 3 }, 0.2)).toBe('version 7: DELETE, 3 rows deleted, in 1 ms')
    expect(
      sentence('MERGE', {
        numTargetRowsUpdated: '2',
        numTargetRowsInserted: '0',
        numTargetRowsDeleted: '1',
        numOutputRows: '2',
      }),
    ).toBe('version 7: MERGE, 2 rows updated, 1 row deleted, in 12 ms')
  })

  test('of another process says whose it is', () => {
    const { engine, ...rest } = {
      version: 7n,
      operation: 'OPTIMIZE',
      metrics: {},
      engine: 'x/1',
      durationMs: undefined,
    }
    expect(versionSentence({ ...rest, engine })).toBe('version 7: OPTIMIZE, by another process (x/1)')
    expect(versionSentence({ ...rest, engine }, true)).toBe('version 7: OPTIMIZE, by SQL')
    expect(versionSentence({ ...rest, engine: undefined })).toContain('does not say which engine')
    expect(sentence('ODD', { numOutputRows: 'many' })).toBe('version 7: ODD, in 12 ms')
  })
})

describe('a refusal in the log', () => {
  test('is told with its cause, and once', () => {
    const lines: string[] = []
    let nowMs = 0
    const log = new RefusalLog(line => lines.push(line), { nowMs: () => nowMs })
    const cause = new Error('ENOSPC: no space left on device, write', { cause: new Error('write failed') })
    log.call('write', new FsError('ENOSPC', 'f cannot be written', { cause }))
    log.save('data.csv: line 2: bad')
    log.call('write', new FsError('EINVAL', 'line 2: bad'))
    expect(lines).toEqual([
      'write was refused (ENOSPC): f cannot be written: ENOSPC: no space left on device, write: write failed',
      'refused: data.csv: line 2: bad',
    ])
    nowMs = 10_000
    log.call('write', new FsError('EINVAL', 'line 2: bad'))
    expect(lines).toHaveLength(3)
  })

  test('has causes that do not repeat each other, nor go on for ever', () => {
    const error = new Error('a')
    error.cause = error
    expect(causesOf(error)).toBe('a')
    expect(causesOf(new Error('a: b', { cause: new Error('b') }))).toBe('a: b')
    expect(causesOf('text')).toBe('text')
  })
})
