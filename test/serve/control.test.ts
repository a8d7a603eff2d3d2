import { describe, expect, test } from 'bun:test'
import { rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { ask, type ControlHandlers, type Operation, startControl } from '../../src/serve/control.ts'
import { startDaemon } from '../../src/serve/daemon.ts'
import {
  readRecords,
  removeRecord,
  runtimeDirectory,
  type ServerRecord,
  socketPath,
  writeRecord,
} from '../../src/serve/registry.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const unique = (): string => `/nowhere/${crypto.randomUUID()}`

function handlers(changes: Partial<ControlHandlers> = {}): ControlHandlers {
  return {
    status: async () => ({ pid: 1, version: '0', held: [] }),
    settle: async () => null,
    stop: async () => null,
    join: async () => ({ kind: 'mount', host: '127.0.0.1', port: 1, exportPath: '/x' }),
    mounted: async () => null,
    leave: async () => ({ ended: false }),
    ...changes,
  }
}

/** Sends bytes to a server's socket, and resolves with all that it answers. */
function send(location: string, ...pieces: readonly string[]): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let answer = ''
  const socket = connect(socketPath(location), () => {
    for (const piece of pieces) socket.write(piece)
  })
  socket.on('data', bytes => {
    answer += bytes.toString()
  })
  socket.on('close', () => resolve(answer))
  socket.on('error', reject)
  return promise
}

describe('the control socket', () => {
  test('answers status, and settles and stops when it is asked to', async () => {
    const location = unique()
    const asked: string[] = []
    const note = async (operation: string): Promise<null> => {
      asked.push(operation)
      return null
    }
    const control = startControl(
      location,
      handlers({
        status: async () => ({ pid: 1, version: '0', held: ['a save'] }),
        settle: () => note('settle'),
        stop: () => note('stop'),
      }),
    )
    expect(await ask(location, 'status')).toEqual({ pid: 1, version: '0', held: ['a save'] })
    await ask(location, 'settle')
    await ask(location, 'stop')
    expect(asked).toEqual(['settle', 'stop'])
    control.unlisten()
    await control.close()
    expect(await ask(location, 'status')).toBeUndefined()
  })

  test('tells why something could not be done', async () => {
    const location = unique()
    const fail = async (): Promise<null> => {
      throw new Error('the disk is full')
    }
    const control = startControl(location, handlers({ settle: fail, stop: fail }))
    const failure: unknown = await ask(location, 'settle').catch((error: unknown) => error)
    expect((failure as Error).message).toContain('the disk is full')
    control.unlisten()
    await control.close()
  })

  test('of a server that died is no server, and gives way to the next one', async () => {
    const location = unique()
    await Bun.write(socketPath(location), 'not a socket')
    expect(await ask(location, 'status')).toBeUndefined()
    const control = startControl(location, handlers({ status: async () => ({ pid: 2, version: '0', held: [] }) }))
    expect(await ask(location, 'status')).toMatchObject({ pid: 2 })
    control.unlisten()
    await control.close()
  })

  test('is nobody else’s to open', async () => {
    const location = unique()
    const control = startControl(location, handlers())
    expect(statSync(runtimeDirectory()).mode & 0o077).toBe(0)
    control.unlisten()
    await control.close()
    expect(statSync(socketPath(location), { throwIfNoEntry: false })).toBeUndefined()
  })

  test('answers what it does not know with a sentence, and cuts off who talks without end', async () => {
    const location = unique()
    const control = startControl(location, handlers())
    expect(JSON.parse(await send(location, 'st', 'atus', '\n'))).toMatchObject({ ok: true, answer: { pid: 1 } })
    expect(JSON.parse(await send(location, 'dance\n'))).toEqual({ ok: false, message: 'there is no operation dance' })
    expect(await send(location, 'x'.repeat(100_000))).toBe('')
    const refused: unknown = await ask(location, 'dance' as Operation).catch((error: unknown) => error)
    expect((refused as Error).message).toBe(`the server of ${location} could not dance: there is no operation dance`)
    control.unlisten()
    await control.close()
  })

  test('brings the sentences whole, however many and in whatever alphabet', async () => {
    const location = unique()
    const held = Array.from({ length: 20_000 }, (_, i) => `„дата.csv“ wartet seit ${i} s – 漢字`)
    const control = startControl(location, handlers({ status: async () => ({ pid: 1, version: '0', held }) }))
    expect((await ask(location, 'status'))?.held).toEqual(held)
    control.unlisten()
    await control.close()
  })

  test('serves several who ask at the same time', async () => {
    const location = unique()
    const { promise, resolve } = Promise.withResolvers<null>()
    const control = startControl(location, handlers({ settle: () => promise }))
    const settling = ask(location, 'settle')
    expect(await ask(location, 'status')).toMatchObject({ pid: 1 })
    resolve(null)
    expect(await settling).toBeNull()
    control.unlisten()
    await control.close()
  })

  test('that is cut off in the middle of settling is a failure, and otherwise no server', async () => {
    const location = unique()
    const server = createServer(socket => {
      socket.once('data', () => socket.destroy())
    })
    await new Promise<void>(resolve => {
      server.listen(socketPath(location), resolve)
    })
    expect(await ask(location, 'status')).toBeUndefined()
    const failure: unknown = await ask(location, 'settle').catch((error: unknown) => error)
    expect((failure as Error).message).toContain('ended while it was asked to settle')
    server.close()
  })
})

describe('the registry', () => {
  test('keeps a record of each server until it is removed', () => {
    const location = unique()
    const rights = { readOnly: false, allowOther: false }
    const endpoint = { host: '127.0.0.1', port: 1 }
    const record = {
      pid: 1,
      location,
      settings: { location, ...endpoint, ...rights, untilUnmounted: true },
      endpoints: [endpoint],
      ...endpoint,
      exportPath: '/x',
      readOnly: false,
      exports: [{ path: '/x', ...rights }],
      mountPoints: [],
      command: ['a b'],
      startedMs: 0,
    } as unknown as ServerRecord
    writeRecord(record)
    expect(readRecords()).toContainEqual(record)
    removeRecord(location)
    expect(readRecords().filter(known => known.location === location)).toEqual([])
  })

  test('passes over what is no record', () => {
    const path = join(runtimeDirectory(), `${crypto.randomUUID()}.json`)
    try {
      for (const text of ['', '{', 'null', '[]', '{}', '"x"', '{"location":1}']) {
        writeFileSync(path, text)
        expect(readRecords().every(record => typeof record.location === 'string')).toBe(true)
      }
    } finally {
      rmSync(path)
    }
  })
})

describe('a server in the background', () => {
  test('that ends at once is told with its own last words', async () => {
    using folder = temporaryFolder()
    const log = join(folder.path, 'log')
    writeFileSync(log, 'posixlake: old news\n')
    const start = (...command: string[]): Promise<string> =>
      startDaemon({ command, log }).then(
        () => 'it started',
        (error: unknown) => (error as Error).message,
      )
    expect(await start('sh', '-c', 'echo starting; echo "posixlake: the port is taken" >&2; exit 1')).toBe(
      'the port is taken',
    )
    expect(await start('sh', '-c', 'exit 3')).toBe(`the server ended at once (exit status 3); its log is ${log}`)
    expect(await start('sh', '-c', 'kill -9 $$')).toContain('SIGKILL')
    expect(await start(join(folder.path, 'missing'))).toContain('ENOENT')
  })
})
