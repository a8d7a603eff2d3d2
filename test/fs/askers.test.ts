import { describe, expect, test } from 'bun:test'
import { type Asker, type AskerLook, type AskerState, Askers, type Proc, ProcLook } from '../../src/fs/askers.ts'

/** Programs that wait, as a test says. */
class Programs implements AskerLook {
  readonly states = new Map<number, AskerState>()
  looks = 0

  async waiting(): Promise<Asker[]> {
    this.looks++
    return [...this.states].map(([pid]) => this.#asker(pid))
  }

  async stateOf({ pid }: Asker): Promise<AskerState> {
    this.looks++
    return this.states.get(pid) ?? 'gives up'
  }

  #asker(pid: number): Asker {
    return { pid, thread: pid, startTicks: '1', uid: pid < 1000 ? 0 : 1000 }
  }

  /** Resolves when they were looked at again. */
  async lookedAt(): Promise<void> {
    for (const until = this.looks + 2; this.looks < until; ) await Bun.sleep(1)
  }
}

function bench() {
  const programs = new Programs()
  const askers = new Askers({ look: programs, firstLookMs: 1, lookEveryMs: 1 })
  return { programs, watch: (uid = 0, socket: number | undefined = 7) => askers.watch({ uid, socket }) }
}

async function aborted({ signal }: { signal: AbortSignal }): Promise<void> {
  if (!signal.aborted) await new Promise(resolve => signal.addEventListener('abort', resolve))
}

describe('who asked for something', () => {
  test('is known to be gone when the program that waits is told to end, or has ended', async () => {
    for (const state of ['gives up', undefined] as const) {
      const { programs, watch } = bench()
      programs.states.set(1, 'waits')
      const call = watch()
      await programs.lookedAt()
      expect(call.signal.aborted).toBe(false)
      if (state === undefined) programs.states.delete(1)
      else programs.states.set(1, state)
      await aborted(call)
      call.end()
    }
  })

  test('may be any of those who wait: all of them have to be gone', async () => {
    const { programs, watch } = bench()
    for (const pid of [1, 2, 3]) programs.states.set(pid, 'waits')
    const call = watch()
    await programs.lookedAt()
    programs.states.set(1, 'gives up')
    // It waited for something else.
    programs.states.set(2, 'is elsewhere')
    await programs.lookedAt()
    expect(call.signal.aborted).toBe(false)
    programs.states.set(3, 'gives up')
    await aborted(call)
  })

  test('is not one who made an earlier call, nor another user', async () => {
    const { programs, watch } = bench()
    programs.states.set(1, 'waits')
    const first = watch()
    await programs.lookedAt()
    for (const pid of [2, 1000]) programs.states.set(pid, 'waits')
    const second = watch()
    await programs.lookedAt()
    programs.states.set(2, 'gives up')
    await aborted(second)
    expect(first.signal.aborted).toBe(false)
    // When the first call is over, its program may make another one.
    first.end()
    second.end()
    const third = watch()
    await programs.lookedAt()
    programs.states.set(1, 'gives up')
    await aborted(third)
  })

  test('cannot be told where nobody waits, or the connection is of elsewhere: then the call goes on', async () => {
    const { programs, watch } = bench()
    const call = watch()
    while (programs.looks === 0) await Bun.sleep(1)
    programs.states.set(1, 'gives up')
    const looks = programs.looks
    const remote = new Askers({ look: programs, firstLookMs: 1, lookEveryMs: 1 }).watch({ uid: 0, socket: undefined })
    await Bun.sleep(10)
    expect(programs.looks).toBe(looks)
    expect([call, remote].map(({ signal }) => signal.aborted)).toEqual([false, false])
  })

  test('is gone when its connection is', async () => {
    const connection = new AbortController()
    const call = new Askers({ look: new Programs() }).watch({ uid: 0, socket: 1, call: connection })
    connection.abort()
    await aborted(call)
    const late = new Askers({ look: new Programs() }).watch({ uid: 0, socket: 1, call: connection })
    expect(late.signal.aborted).toBe(true)
  })
})

describe('the look into /proc', () => {
  test('knows a program that does something else, and one that is gone', async () => {
    const stat = await Bun.file('/proc/self/stat').text()
    const startTicks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]!
    const self: Asker = { pid: process.pid, thread: process.pid, startTicks, uid: 0 }
    expect(await new ProcLook().stateOf(self)).toBe('is elsewhere')
    expect(await new ProcLook().stateOf({ ...self, startTicks: '1' })).toBe('gives up')
    const child = Bun.spawn(['true'])
    await child.exited
    expect(await new ProcLook().stateOf({ ...self, pid: child.pid, thread: child.pid })).toBe('gives up')
    // Whoever waits for a disk in this moment is no matter of ours.
    expect((await new ProcLook().waiting()).map(({ pid }) => pid)).not.toContain(process.pid)
  })
})

describe('a thread of /proc', () => {
  /** One thread that is in state D when it is looked at first, and what its kernel stack says. */
  const waiting = async (stack: string | undefined, stateLater: string): Promise<number[]> => {
    let looks = 0
    const stat = (state: string): string => `7 (cp a) b) ${state} 1 7 7 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 4711 0`
    const files = new Map<string, () => string | undefined>([
      ['/proc/7/task/7/stat', () => stat(looks++ === 0 ? 'D' : stateLater)],
      ['/proc/7/task/7/stack', () => stack],
      ['/proc/7/task/7/status', () => 'Name:\tcp\nUid:\t1000\t1000\t1000\t1000\n'],
    ])
    const proc: Proc = { text: async path => files.get(path)?.(), names: async () => ['7', 'self'] }
    return (await new ProcLook(proc).waiting()).map(({ pid }) => pid)
  }

  test('may wait for a file server if its place in the kernel says so, or is not to be known', async () => {
    expect(await waiting('[<0>] rpc_wait_bit_killable+0x11/0x80\n[<0>] nfs_wb_all+0x3a/0x110\n', 'D')).toEqual([7])
    expect(await waiting(undefined, 'D')).toEqual([7])
    expect(await waiting('', 'D')).toEqual([7])
  })

  test('waits for something else if that is said, and if it goes on in the middle of the look', async () => {
    expect(await waiting('[<0>] jbd2_log_wait_commit+0xf1/0x1a0\n', 'D')).toEqual([])
    expect(await waiting('', 'R')).toEqual([])
    expect(await waiting(undefined, 'S')).toEqual([])
  })
})
