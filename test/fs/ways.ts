import { expect } from 'bun:test'
import type { Fault } from '../helpers/faults.ts'
import { codeOf, HELD, type ServedTable } from './served.ts'

/*
 * The ways of saving, each with a call that fails: what its program is told, the table and `.errors` must agree.
 */

export const DDL = 'id:Int64,name:String'
const HEADER = 'id,name\n'
export const ROWS = '1,Alice\n2,Bob\n3,Carol\n'
export const BEFORE = HEADER + ROWS
const APPENDED = `${BEFORE}4,Dave\n`
const CHANGED = `${HEADER}1,Alice\n2,Bobby\n3,Carol\n`
const JSON_LINE = '{"id":4,"name":"Dave"}\n'
/** What `.errors` says of a failure that these tests make. */
export const SENTENCE =
  /injected|no space left to stage|no space is left on the disk|the disk is full|the disk reported an error/
/** `rm` is held for a moment, as nothing else is here. */
export const TIMES = { ...HELD, removedMs: 1 }
/** So often a client asks again, as one does that hears JUKEBOX. */
const ASKED_MAX = 5
const HEALED_AFTER = 2

/** Lets a call fail. */
export interface FaultSource {
  /** A call has failed since `arm`. */
  readonly hasFailed: boolean
  arm(fault: Fault): void
  heal(): void
}

/** A way of saving: what its program calls, each call as often as the client would, and the text that it leads to. */
export interface Way {
  readonly name: string
  readonly after: string
  /** Calls that are made first, while nothing fails. */
  readonly prepare?: (s: ServedTable) => Promise<unknown>
  /** Ends with the status of the call that ends the save, or with that of the first that failed. */
  readonly save: (s: ServedTable, call: Call) => Promise<string>
}

/** Makes a call again while the answer is JUKEBOX; the result is its status. */
export type Call = (make: () => Promise<unknown>) => Promise<string>

export const WAYS: readonly Way[] = [
  {
    name: 'an append',
    after: APPENDED,
    save: async (s, call) => {
      const csv = await s.csv()
      const { size } = await s.client.getattr(csv)
      return call(() => s.client.write(csv, size, '4,Dave\n'))
    },
  },
  {
    name: 'an append in two WRITEs and a COMMIT',
    after: `${APPENDED}5,Eve\n`,
    save: async (s, call) => {
      const csv = await s.csv()
      const { size } = await s.client.getattr(csv)
      const first = await call(() => s.client.write(csv, size, '4,Dave\n', 'UNSTABLE'))
      if (first !== 'OK') return first
      const second = await call(() => s.client.write(csv, size + 7n, '5,Eve\n', 'UNSTABLE'))
      return second === 'OK' ? call(() => s.client.commit(csv)) : second
    },
  },
  {
    name: 'a rewrite',
    after: APPENDED,
    save: async (s, call) => {
      const csv = await s.csv()
      const cut = await call(() => s.client.setattr(csv, { size: 0n }))
      return cut === 'OK' ? call(() => s.client.write(csv, 0n, APPENDED)) : cut
    },
  },
  {
    name: 'a change in place',
    after: CHANGED,
    save: async (s, call) => {
      const csv = await s.csv()
      return call(() => s.client.write(csv, 0n, CHANGED))
    },
  },
  {
    name: 'a file that is renamed onto data.csv',
    after: CHANGED,
    prepare: async s => {
      const { handle } = await s.client.create(s.data, 'sedX')
      await s.client.write(handle, 0n, CHANGED)
    },
    save: (s, call) => call(() => s.client.rename(s.data, 'sedX', s.data, 'data.csv')),
  },
  {
    name: 'rm',
    after: HEADER,
    save: async (s, call) => {
      const status = await call(() => s.client.remove(s.data, 'data.csv'))
      // It is held, and so is what cannot be decided while the log is hidden.
      while (s.server.held().some(because => !because.includes('not known'))) await Bun.sleep(1)
      return status
    },
  },
  {
    name: 'an append to data.jsonl',
    after: APPENDED,
    save: async (s, call) => {
      const file = await s.client.walk(s.data, 'data.jsonl')
      const { size } = await s.client.getattr(file)
      return call(() => s.client.write(file, size, JSON_LINE))
    },
  },
  {
    name: 'a file that is renamed onto data.jsonl',
    after: APPENDED,
    prepare: async s => {
      const { handle } = await s.client.create(s.data, 'sedX')
      await s.client.write(handle, 0n, (await s.read('data/data.jsonl')) + JSON_LINE)
    },
    save: (s, call) => call(() => s.client.rename(s.data, 'sedX', s.data, 'data.jsonl')),
  },
]

/** As a hard mount does, which asks until it knows; what fails does so for a while. */
function asking(faults: FaultSource): Call {
  return async make => {
    for (let asked = 1; ; asked++) {
      const status = await codeOf(make())
      if (status !== 'EJUKEBOX' || asked === ASKED_MAX) return status
      if (asked === HEALED_AFTER) faults.heal()
    }
  }
}

/** Saves in this way while the n-th call that writes fails, and holds the reply against the table. Whether there was one. */
export async function tryNth(s: ServedTable, faults: FaultSource, way: Way, fault: Fault): Promise<boolean> {
  await way.prepare?.(s)
  const commits = await s.commits()
  // Opens what is read first, as the program before this one did.
  expect(await s.read()).toBe(BEFORE)
  faults.arm(fault)
  const status = await way.save(s, asking(faults))
  const { hasFailed } = faults
  faults.heal()
  await s.server.settle()
  const text = await s.read()
  const errors = await s.read('.errors')
  if (status !== 'OK') {
    expect({ fault, status, text }).toEqual({ fault, status, text: BEFORE })
    expect({ fault, errors }).toEqual({ fault, errors: expect.stringMatching(SENTENCE) })
  } else if (text !== way.after) {
    // Only `rm` is answered before its end, and then the sentence is where such sentences are.
    expect({ fault, text, isTold: SENTENCE.test(errors) }).toEqual({ fault, text: BEFORE, isTold: true })
    expect(way.name).toBe('rm')
  }
  expect({ fault, commits: (await s.commits()) - commits }).toEqual({ fault, commits: text === BEFORE ? 0 : 1 })
  // The next save works without a restart.
  const csv = await s.csv()
  const next = await codeOf(s.client.write(csv, (await s.client.getattr(csv)).size, '9,Next\n'))
  expect({ fault, next, text: await s.read() }).toEqual({ fault, next: 'OK', text: `${text}9,Next\n` })
  return hasFailed
}

export async function restore(s: ServedTable): Promise<void> {
  const { handle } = await s.client.create(s.data, 'before')
  await s.client.write(handle, 0n, BEFORE)
  await s.client.rename(s.data, 'before', s.data, 'data.csv')
  await s.client.setattr(await s.client.walk(s.root, '.errors'), { size: 0n })
}
