import { describe, expect, test } from 'bun:test'
import { command, nearest, UsageError } from '../../src/cli/command.ts'
import { dialectOf } from '../../src/cli/dialect-args.ts'
import { cacheBytesOf, hostOf, portOf } from '../../src/cli/serve-args.ts'
import { snapshotOf } from '../../src/cli/version-args.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { memoryStore } from '../helpers/memory-store.ts'

async function usage(run: () => unknown): Promise<string> {
  try {
    await run()
  } catch (error) {
    if (error instanceof UsageError) return error.message
    throw error
  }
  throw new Error('it did not fail')
}

describe('the arguments of a command', () => {
  const seen: unknown[] = []
  const sample = command({
    name: 'sample',
    summary: 'A sample',
    examples: ['posixlake sample x'],
    args: {
      first: { type: 'positional', required: true, description: 'First' },
      second: { type: 'positional', required: false, description: 'Second' },
      size: { type: 'string', valueHint: 'BYTES', description: 'Size', alias: 's' },
      kind: { type: 'enum', options: ['red', 'green'], default: 'red', description: 'Kind' },
      'dry-run': { type: 'boolean', description: 'Dry' },
    },
    run: async args => {
      seen.push(args)
      return args['dry-run'] === true ? 7 : undefined
    },
  })
  const given = async (...raw: string[]): Promise<unknown> => {
    seen.length = 0
    await sample.execute(raw)
    return seen[0]
  }

  test('are taken in any order, with values behind an equals sign or a blank', async () => {
    expect(await given('a')).toMatchObject({ first: 'a', kind: 'red' })
    expect(await given('--size', '5', 'a', '--kind=green', 'b')).toMatchObject({
      first: 'a',
      second: 'b',
      size: '5',
      kind: 'green',
    })
    expect(await given('-s=5', 'a')).toMatchObject({ size: '5' })
    expect(await given('--size', '', 'a')).toMatchObject({ size: '' })
    expect(await given('--size=a=b', 'a')).toMatchObject({ size: 'a=b' })
    expect(await given('--size', '-1', 'a')).toMatchObject({ size: '-1' })
    expect(await given('-')).toMatchObject({ first: '-' })
  })

  test('behind -- are never flags', async () => {
    expect(await given('--', '--size', '-h')).toMatchObject({ first: '--size', second: '-h' })
    expect(await given('--kind', 'green', '--', '--')).toMatchObject({ first: '--', kind: 'green' })
  })

  test('that are not right are refused with the nearest that is', async () => {
    expect(await usage(() => given())).toBe('posixlake sample needs FIRST; see posixlake sample --help')
    expect(await usage(() => given('a', 'b', 'c'))).toContain('"c"')
    expect(await usage(() => given('a', '--sise', '5'))).toContain('no flag --sise (did you mean --size?)')
    expect(await usage(() => given('a', '--dryrun'))).toContain('did you mean --dry-run?')
    expect(await usage(() => given('a', '-x'))).toContain('no flag -x')
    expect(await usage(() => given('a', '--no-dry-run'))).toContain('no flag --no-dry-run')
    expect(await usage(() => given('a', '--first', 'b'))).toContain('no flag --first')
    expect(await usage(() => given('a', '--dry-run=false'))).toBe('--dry-run takes no value')
    expect(await usage(() => given('a', '--size'))).toBe('--size needs a value: --size BYTES')
    expect(await usage(() => given('a', '--kind', 'grean'))).toBe(
      '--kind is one of red, green, not grean (did you mean green?)',
    )
    expect(await usage(() => given('a', '--size', '1', '-s', '2'))).toBe('--size is given twice')
    expect(await usage(() => given('a', '--kind='))).toStartWith('--kind is one of red, green, not ')
  })

  test('decide the exit status', async () => {
    expect(await sample.execute(['a'])).toBe(0)
    expect(await sample.execute(['a', '--dry-run'])).toBe(7)
    expect(await sample.help()).toEndWith('EXAMPLES\n\n  posixlake sample x\n')
  })
})

describe('the nearest name', () => {
  test('counts swapped letters as one mistake, and is none where nothing is near', () => {
    expect(nearest('qeury', ['serve', 'query'])).toBe(' (did you mean query?)')
    expect(nearest('umount', ['mount', 'unmount'])).toBe(' (did you mean unmount?)')
    expect(nearest('nount', ['mount', 'unmount'])).toBe(' (did you mean mount?)')
    expect(nearest('QUERY', ['query'])).toContain('query')
    expect(nearest('zebra', ['query', 'mount'])).toBe('')
  })
})

describe('values of flags', () => {
  test('are ports, addresses and sizes', async () => {
    expect([portOf(undefined), portOf('0'), portOf('65535')]).toEqual([undefined, 0, 65_535])
    for (const text of ['', '65536', '-1', '1.5', '1e3', 'x', ' 1'])
      expect(await usage(() => portOf(text))).toContain('--port takes a number')
    expect(await usage(() => hostOf(''))).toContain('--host')
    expect(['5', '1k', '1.5MB', '10 GB', '2T'].map(cacheBytesOf)).toEqual([5, 1000, 1_500_000, 10e9, 2e12])
    for (const text of ['', '5X', 'GB', '-1', '1,5G'])
      expect(await usage(() => cacheBytesOf(text))).toContain('--cache-size')
  })

  test('are dialects of CSV', async () => {
    expect(dialectOf({})).toEqual({})
    expect(dialectOf({ delimiter: 'tab' })).toEqual({ delimiter: '\t' })
    expect(dialectOf({ delimiter: '||', quote: "'", comment: '//' })).toEqual({
      delimiter: '||',
      quote: "'",
      escape: "'",
      comment: '//',
    })
    expect(dialectOf({ quote: 'none' })).toEqual({ quote: '', escape: '' })
    expect(dialectOf({ escape: '\\' })).toEqual({ escape: '\\' })
    for (const wrong of ['', 'a', '"', '\n', 'é', ';1'])
      expect(await usage(() => dialectOf({ delimiter: wrong }))).toContain('--delimiter takes one character or several')
    for (const wrong of ['', 'a', "''", ' ', '_']) {
      expect(await usage(() => dialectOf({ quote: wrong }))).toContain('--quote takes one character')
      expect(await usage(() => dialectOf({ escape: wrong }))).toContain('--escape takes one character')
    }
    expect(await usage(() => dialectOf({ quote: 'none', escape: '\\' }))).toContain('goes with quotes')
    expect(await usage(() => dialectOf({ delimiter: "';'", quote: "'" }))).toContain('--delimiter')
    for (const wrong of ['', ' #', '"', ',', ',#'])
      expect(await usage(() => dialectOf({ comment: wrong }))).toContain('--comment takes')
  })

  test('are versions and times of a table', async () => {
    const table = await createTable(memoryStore(), { schema: parseDdl('a:Int64') })
    expect((await snapshotOf(table, {})).version).toBe(0n)
    expect((await snapshotOf(table, { version: '0' })).version).toBe(0n)
    expect((await snapshotOf(table, { timestamp: new Date(Date.now() + 1000).toISOString() })).version).toBe(0n)
    expect(await usage(() => snapshotOf(table, { version: '-1' }))).toContain('--version takes a number')
    expect(await usage(() => snapshotOf(table, { version: '0', timestamp: '2020' }))).toContain('not both')
    for (const timestamp of ['yesterday', '5', '2020', '2026-13-01', '2026-01-01T25:00', '2026-01-01T10:00 CET', ''])
      expect(await usage(() => snapshotOf(table, { timestamp }))).toContain('--timestamp takes a time')
    const soon = new Date(Date.now() + 60_000).toISOString()
    for (const timestamp of [soon, soon.slice(0, -1), soon.replace('T', ' '), soon.replace('Z', '+00:00')])
      expect((await snapshotOf(table, { timestamp })).version).toBe(0n)
  })
})
