import { describe, expect, test } from 'bun:test'
import { rmSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import {
  type Asker,
  ask,
  type ControlHandlers,
  type Joined,
  type Operation,
  question,
  startControl,
} from '../../src/serve/control.ts'
import { startDaemon } from '../../src/serve/daemon.ts'
import { detach } from '../../src/serve/detach.ts'
import { ServeError } from '../../src/serve/errors.ts'
import {
  readRecords,
  removeRecord,
  runtimeDirectory,
  type ServerRecord,
  socketPath,
  writeRecord,
} from '../../src/serve/registry.ts'
import { serverLimits } from '../../src/sql/limits.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const unique = (): string => `/nowhere/${crypto.randomUUID()}`

function handlers(changes: Partial<ControlHandlers> = {}): ControlHandlers {
  return {
    status: async () => ({ pid: 1, version: '0', held: [] }),
    look: async () => null,
    settle: async () => null,
    stop: async () => null,
    join: async () => ({ kind: 'mount', host: '127.0.0.1', port: 1, exportPath: '/x' }),
    mounted: async () => null,
    leave: async () => ({ ended: false, isUsed: false }),
    watch: async () => null,
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

  test('says that it is at work, and is told from one that hangs', async () => {
    const location = unique()
    const control = startControl(location, handlers())
    expect(await send(location, 'settle\n')).toBe(`\n${JSON.stringify({ ok: true, answer: null })}\n`)
    control.unlisten()
    await control.close()
    const hanging = createServer(() => undefined)
    await new Promise<void>(resolve => {
      hanging.listen(socketPath(location), resolve)
    })
    const asked = question(location, 'settle', undefined, 20)
    const failure: unknown = await asked.answer.catch((error: unknown) => error)
    expect(failure).toMatchObject({ code: 'not_answering', message: expect.stringContaining('has not answered') })
    asked.close()
    hanging.close()
  })

  test('passes on what was foreseen with its code, and what is no JSON as a failure', async () => {
    const location = unique()
    const control = startControl(
      location,
      handlers({
        join: async () => {
          throw new ServeError('busy', 'the folder is taken')
        },
      }),
    )
    const request = { mountPoint: '/a', readOnly: false, allowOther: false }
    await expect(ask(location, 'join', request)).rejects.toMatchObject({ code: 'busy', message: 'the folder is taken' })
    expect(JSON.parse(await send(location, 'join {\n'))).toMatchObject({ ok: false })
    control.unlisten()
    await control.close()
  })

  test('keeps who has joined connected, until either of them has enough', async () => {
    const location = unique()
    const askers: Asker[] = []
    const joined: Joined = { kind: 'mount', host: '127.0.0.1', port: 1, exportPath: '/x' }
    const control = startControl(
      location,
      handlers({
        join: async (_, asker) => {
          askers.push(asker)
          return joined
        },
      }),
    )
    const request = { mountPoint: '/a', readOnly: false, allowOther: false }
    const [first, second, third] = [0, 1, 2].map(() => question(location, 'join', request))
    for (const asked of [first, second, third]) expect(await asked?.answer).toEqual(joined)
    first?.close()
    await askers[0]?.gone
    askers[1]?.end()
    await second?.closed
    control.unlisten()
    await control.close()
    await third?.closed
  })
})

function recordFor(location: string): ServerRecord {
  const rights = { readOnly: false, allowOther: false }
  const endpoint = { host: '127.0.0.1', port: 1 }
  return {
    pid: 1,
    location,
    settings: { location, ...endpoint, ...rights, sqlLimits: serverLimits(), untilUnmounted: true },
    endpoints: [endpoint],
    ...endpoint,
    exportPath: '/x',
    readOnly: false,
    exports: [{ path: '/x', ...rights }],
    mountPoints: [],
    command: ['a b'],
    startedMs: 0,
  } as unknown as ServerRecord
}

describe('unmounting', () => {
  test('returns when the server has ended, not when it says that it will', async () => {
    const location = unique()
    writeRecord(recordFor(location))
    const stopped = Promise.withResolvers<void>()
    const stop = async (): Promise<null> => {
      stopped.resolve()
      return null
    }
    const control = startControl(location, handlers({ stop }))
    const order: string[] = []
    const detached = detach(location, location, false).then(() => order.push('unmounted'))
    await stopped.promise
    // The answer is on its way before those to later questions.
    for (let i = 0; i < 5; i++) await ask(location, 'status')
    order.push('the lock is released')
    control.unlisten()
    removeRecord(location)
    await control.close()
    await detached
    expect(order).toEqual(['the lock is released', 'unmounted'])
  })
})

describe('the registry', () => {
  test('keeps a record of each server until it is removed', () => {
    const location = unique()
    const record = recordFor(location)
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

  test('reports what has come of it, and by which code', async () => {
    using folder = temporaryFolder()
    const log = join(folder.path, 'log')
    const script = (report: string): string[] => [
      process.execPath,
      '-e',
      `import { reportOutcome } from ${JSON.stringify(join(import.meta.dir, '../../src/serve/daemon.ts'))}
       import { ServeError } from ${JSON.stringify(join(import.meta.dir, '../../src/serve/errors.ts'))}
       ${report}; console.error('posixlake: other words')`,
    ]
    await startDaemon({ command: script('reportOutcome()'), log })
    const failed = startDaemon({ command: script(`reportOutcome(new ServeError('address_in_use', 'taken'))`), log })
    await expect(failed).rejects.toMatchObject({ code: 'address_in_use', message: 'taken' })
    const controller = new AbortController()
    // A log of its own: what the others were still writing is no word of this one.
    const other = join(folder.path, 'other')
    const aborted = startDaemon({ command: ['sleep', '1000'], log: other, signal: controller.signal })
    controller.abort()
    await expect(aborted).rejects.toThrow('SIGTERM')
  })
})
