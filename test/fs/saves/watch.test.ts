import { describe, expect, test } from 'bun:test'
import type { Caller } from '../../../src/fs/filesystem.ts'
import type { Killed, Opener, Openers, Openings } from '../../../src/fs/saves/openers.ts'
import { Watch } from '../../../src/fs/saves/watch.ts'

const FILE = 7n
const CALLER: Caller = { connection: 1, uid: 0, socket: 99 }
const bash = opener({ pid: 10, command: 'bash', descriptor: 4 })
const cp = opener({ pid: 20, parent: 10, command: 'cp', descriptor: 5 })

function opener(of: Partial<Opener>): Opener {
  const { pid = 1 } = of
  return {
    pid,
    parent: 1,
    startTime: `${pid}`,
    command: 'x',
    descriptor: 3,
    position: 0,
    append: false,
    waits: false,
    ...of,
  }
}

/** A kernel that shows what a test says. */
class Shown implements Openers {
  openers: readonly Opener[] = []
  dying: Openings['dying'] = []
  sees = true
  killed: Killed | undefined
  waiting = false
  looks = 0
  /** What is shown after so many looks. */
  afterLook: (() => void) | undefined

  canSee = async (): Promise<boolean> => this.sees
  look = async (fileId: bigint): Promise<Openings> => {
    expect(fileId).toBe(FILE)
    this.looks++
    const { openers, dying } = this
    this.afterLook?.()
    return { openers, dying }
  }
  killedBy = (): Killed | undefined => this.killed
  isWaiting = (): boolean => this.waiting
}

async function watched(shown: Shown): Promise<Watch> {
  const watch = new Watch(shown, FILE)
  await watch.note(CALLER)
  return watch
}

describe('who has the file of a save open', () => {
  test('is not known before a call has come, nor of processes that cannot be seen', async () => {
    const shown = new Shown()
    expect(await new Watch(shown, FILE).look('rewrite')).toEqual({ kind: 'unknown' })
    const watch = await watched(shown)
    expect(await watch.look('rewrite')).toEqual({ kind: 'closed' })
    shown.sees = false
    await watch.note({ ...CALLER, connection: 2 })
    expect(await watch.look('rewrite')).toEqual({ kind: 'unknown' })
    shown.sees = true
    await watch.note({ ...CALLER, connection: 3 })
    expect(await watch.look('rewrite')).toEqual({ kind: 'unknown' })
  })

  test('is told as long as one descriptor is there', async () => {
    const shown = new Shown()
    const watch = await watched(shown)
    shown.openers = [cp]
    expect(await watch.look('rewrite')).toEqual({ kind: 'open', by: 'cp (process 20)' })
    shown.openers = []
    expect(await watch.look('rewrite')).toEqual({ kind: 'closed' })
  })

  test('does not hang on descriptors that only append, unless it is an append', async () => {
    const shown = new Shown()
    const watch = await watched(shown)
    shown.openers = [{ ...cp, append: true }]
    expect((await watch.look('rewrite')).kind).toBe('closed')
    expect((await watch.look('in place')).kind).toBe('closed')
    expect((await watch.look('append')).kind).toBe('open')
  })

  test('does not hang on who had it open before it was cut to nothing, until that one writes', async () => {
    const shown = new Shown()
    const watch = await watched(shown)
    shown.openers = [bash]
    await watch.beginTruncation()
    shown.openers = [bash, cp]
    expect(await watch.look('rewrite')).toEqual({ kind: 'open', by: 'cp (process 20)' })
    // A child has inherited the descriptor.
    shown.openers = [bash, opener({ pid: 30, parent: 10, command: 'cat', descriptor: 4 })]
    expect((await watch.look('rewrite')).kind).toBe('closed')
    shown.openers = [{ ...bash, position: 12 }]
    expect(await watch.look('rewrite')).toEqual({ kind: 'open', by: 'bash (process 10)' })
  })

  test('knows who cuts it by ftruncate(2), and waits for the answer', async () => {
    const shown = new Shown()
    const watch = await watched(shown)
    shown.openers = [{ ...bash, waits: true }]
    await watch.beginTruncation()
    shown.openers = [bash]
    expect((await watch.look('rewrite')).kind).toBe('open')
  })

  test('concludes nothing while an open(2) that has cut the file is under way', async () => {
    const shown = new Shown()
    const watch = await watched(shown)
    await watch.beginTruncation()
    expect(await watch.look('rewrite')).toEqual({ kind: 'open', by: 'a program that is opening it' })
    watch.answered()
    expect(await watch.lookClosely('rewrite', () => false)).toEqual({ kind: 'closed' })
    await watch.beginTruncation()
    watch.answered()
    // What was written comes from who has opened it.
    watch.written()
    expect(await watch.look('rewrite')).toEqual({ kind: 'closed' })
  })

  test('is looked at twice where no call has told of a close', async () => {
    const shown = new Shown()
    const watch = await watched(shown)
    let hasChanged = false
    shown.afterLook = () => {
      hasChanged = true
    }
    expect((await watch.lookClosely('rewrite', () => hasChanged)).kind).toBe('open')
    shown.afterLook = () => {
      shown.openers = [cp]
    }
    expect((await watch.lookClosely('rewrite', () => false)).kind).toBe('open')
    shown.afterLook = undefined
    shown.openers = []
    // One who had it open waits for something; it may be for this very answer.
    shown.waiting = true
    shown.looks = 0
    expect((await watch.lookClosely('rewrite', () => false)).kind).toBe('closed')
    expect(shown.looks).toBeGreaterThan(2)
  })

  test('tells who was killed, of those that had it open', async () => {
    const shown = new Shown()
    const watch = await watched(shown)
    shown.openers = [cp]
    await watch.look('rewrite')
    shown.openers = []
    shown.killed = { pid: 20, command: 'cp', signal: 2 }
    expect(await watch.look('rewrite')).toEqual({ kind: 'killed', by: shown.killed })
    // It stays so when the process is gone.
    shown.killed = undefined
    expect((await watch.look('rewrite')).kind).toBe('killed')
  })

  test('takes a process of the same user that dies with its flush for the writer, if nobody else was seen', async () => {
    const dying = { pid: 20, command: 'cat', signal: 9, uid: 0 }
    const shown = new Shown()
    const watch = await watched(shown)
    shown.dying = [{ ...dying, uid: 5 }]
    expect((await watch.look('append')).kind).toBe('closed')
    shown.dying = [dying]
    expect((await watch.look('append')).kind).toBe('killed')
    const other = await watched(shown)
    shown.openers = [cp]
    await other.look('append')
    shown.openers = []
    expect((await other.look('append')).kind).toBe('closed')
  })
})
