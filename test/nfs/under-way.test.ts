import { describe, expect, test } from 'bun:test'
import { type CallerCall, FsError } from '../../src/fs/filesystem.ts'
import { CallsUnderWay } from '../../src/nfs/rpc/under-way.ts'
import { serve } from './fixture.ts'

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise(resolve => signal.addEventListener('abort', resolve))
}

describe('a call whose client is gone', () => {
  test('is given up when it is not repeated in time', async () => {
    const calls = new CallsUnderWay(1)
    const connection = {}
    const [seen, late] = [calls.enter('a', connection), calls.enter(undefined, connection)]
    const { signal } = seen
    calls.closed(connection)
    expect(signal.aborted).toBe(false)
    await aborted(signal)
    // Whoever asks for the signal only then sees it, too.
    while (!late.signal.aborted) await Bun.sleep(1)
    seen.leave()
    late.leave()
  })

  test('goes on when the client repeats it over another connection, or still waits on one', async () => {
    const calls = new CallsUnderWay(1)
    const [first, second, third] = [{}, {}, {}]
    const call = calls.enter('a', first)
    const other = calls.enter('b', first)
    const { signal } = call
    calls.enter('a', second)
    calls.closed(first)
    await aborted(other.signal)
    expect(signal.aborted).toBe(false)
    calls.closed(second)
    const repeated = calls.enter('a', third)
    await Bun.sleep(5)
    expect(signal.aborted).toBe(false)
    expect(repeated.signal).toBe(signal)
    calls.closed(third)
    await aborted(signal)
  })

  test('is over when it is answered; the same name is another call then', async () => {
    const calls = new CallsUnderWay(1)
    const connection = {}
    const call = calls.enter('a', connection)
    const { signal } = call
    call.leave()
    calls.closed(connection)
    const { signal: next } = calls.enter('a', {})
    await Bun.sleep(5)
    expect(signal.aborted).toBe(false)
    expect(next).not.toBe(signal)
  })

  test('tells the file system, and its name is that of its repetition', async () => {
    await using served = await serve({ limits: { repeatWithinMs: 1 } })
    const [client, root] = await served.mounted()
    const { promise, resolve } = Promise.withResolvers<void>()
    let call: CallerCall | undefined
    served.fs.mkdir = async directory => {
      call = directory.caller.call
      await promise
      throw new FsError('EIO', 'nobody is there to hear it')
    }
    const made = client.mkdir(root, 'folder').catch(() => undefined)
    while (call === undefined) await Bun.sleep(1)
    const { name, signal } = call as CallerCall
    expect(name).toContain('127.0.0.1')
    expect(signal.aborted).toBe(false)
    client.close()
    await aborted(signal)
    resolve()
    await made
  })
})
