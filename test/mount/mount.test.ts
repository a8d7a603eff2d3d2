import { describe, expect, test } from 'bun:test'
import { ask, startControl } from '../../src/mount/control.ts'
import { darwinMountCommand } from '../../src/mount/darwin.ts'
import { mountAt, mountCommand, mounts } from '../../src/mount/linux.ts'
import { readRecords, removeRecord, socketPath, writeRecord } from '../../src/mount/registry.ts'
import { shellQuoted } from '../../src/mount/run.ts'

const unique = (): string => `/nowhere/${crypto.randomUUID()}`

describe('the control socket', () => {
  test('answers status, and settles and stops when it is asked to', async () => {
    const location = unique()
    const asked: string[] = []
    const control = startControl(location, {
      status: () => ({ pid: 1, version: '0', held: ['a save'] }),
      settle: async () => void asked.push('settle'),
      stop: async () => void asked.push('stop'),
    })
    expect(await ask(location, 'status')).toEqual({ pid: 1, version: '0', held: ['a save'] })
    await ask(location, 'settle')
    await ask(location, 'stop')
    expect(asked).toEqual(['settle', 'stop'])
    control.close()
    expect(await ask(location, 'status')).toBeUndefined()
  })

  test('tells why something could not be done', async () => {
    const location = unique()
    const fail = async (): Promise<void> => {
      throw new Error('the disk is full')
    }
    const control = startControl(location, {
      status: () => ({ pid: 1, version: '0', held: [] }),
      settle: fail,
      stop: fail,
    })
    const failure: unknown = await ask(location, 'settle').catch((error: unknown) => error)
    expect((failure as Error).message).toContain('the disk is full')
    control.close()
  })

  test('of a server that died is no server, and gives way to the next one', async () => {
    const location = unique()
    await Bun.write(socketPath(location), 'not a socket')
    expect(await ask(location, 'status')).toBeUndefined()
    const control = startControl(location, {
      status: () => ({ pid: 2, version: '0', held: [] }),
      settle: async () => undefined,
      stop: async () => undefined,
    })
    expect(await ask(location, 'status')).toMatchObject({ pid: 2 })
    control.close()
  })
})

describe('the registry', () => {
  test('keeps a record of each server until it is removed', () => {
    const location = unique()
    const record = {
      pid: 1,
      location,
      host: '127.0.0.1',
      port: 1,
      exportPath: '/x',
      readOnly: false,
      command: ['a b'],
      startedMs: 0,
    }
    writeRecord(record)
    expect(readRecords()).toContainEqual(record)
    removeRecord(location)
    expect(readRecords().filter(known => known.location === location)).toEqual([])
  })
})

describe('mounting', () => {
  const request = { host: '127.0.0.1', port: 12049, exportPath: '/secret', mountPoint: '/mnt/a b', readOnly: true }

  test('has commands that a user may type', () => {
    const linux = mountCommand(request).map(shellQuoted).join(' ')
    expect(linux).toContain(`127.0.0.1:/secret '/mnt/a b'`)
    for (const option of [
      'vers=3',
      'tcp',
      'nolock',
      'port=12049',
      'mountport=12049',
      'lookupcache=none',
      'hard',
      ',ro',
    ])
      expect(linux).toContain(option)
    expect(darwinMountCommand(request).join(' ')).toContain('rdonly')
    expect(shellQuoted("it's")).toBe(`'it'\\''s'`)
  })

  test('knows what is mounted where', () => {
    expect(mounts().length).toBeGreaterThan(0)
    expect(mountAt('/proc')?.type).toBe('proc')
    expect(mountAt('/nowhere')).toBeUndefined()
  })
})
