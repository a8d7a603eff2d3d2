import { describe, expect, test } from 'bun:test'
import { type Fault, Faults } from '../helpers/faults.ts'
import { codeOf, HELD, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String'
const HEADER = 'id,name\n'
const ROWS = '1,Alice\n2,Bob\n3,Carol\n'
const BEFORE = HEADER + ROWS
const APPENDED = `${BEFORE}4,Dave\n`
const CHANGED = `${HEADER}1,Alice\n2,Bobby\n3,Carol\n`
const JSON_LINE = '{"id":4,"name":"Dave"}\n'
/** What `.errors` says of a failure that these tests make. */
const SENTENCE = /injected|no space left to stage/
/** `rm` is held for a moment, as nothing else is here. */
const TIMES = { ...HELD, removedMs: 1 }
/** So often a client asks again, as one does that hears JUKEBOX. */
const ASKED_MAX = 5
const HEALED_AFTER = 2
/** Also with all calls behind the n-th failing, and with the numbers of calls told. */
const ALL = process.env['FAULTS'] === 'all'

/** A way of saving: what its program calls, each call as often as the client would, and the text that it leads to. */
interface Way {
  readonly name: string
  readonly after: string
  /** Calls that are made first, while nothing fails. */
  readonly prepare?: (s: ServedTable) => Promise<unknown>
  /** Ends with the status of the call that ends the save, or with that of the first that failed. */
  readonly save: (s: ServedTable, call: Call) => Promise<string>
}

/** Makes a call again while the answer is JUKEBOX; the result is its status. */
type Call = (make: () => Promise<unknown>) => Promise<string>

const WAYS: readonly Way[] = [
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
function asking(faults: Faults): Call {
  return async make => {
    for (let asked = 1; ; asked++) {
      const status = await codeOf(make())
      if (status !== 'EJUKEBOX' || asked === ASKED_MAX) return status
      if (asked === HEALED_AFTER) faults.heal()
    }
  }
}

/** Saves in this way while the n-th call that writes fails, and holds the reply against the table. Whether there was one. */
async function tryNth(s: ServedTable, faults: Faults, way: Way, fault: Fault): Promise<boolean> {
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

async function restore(s: ServedTable): Promise<void> {
  const { handle } = await s.client.create(s.data, 'before')
  await s.client.write(handle, 0n, BEFORE)
  await s.client.rename(s.data, 'before', s.data, 'data.csv')
  await s.client.setattr(await s.client.walk(s.root, '.errors'), { size: 0n })
}

/** Every n for which there is a call to fail; what then is left behind does no harm to the next server. How many there were. */
async function tryAll(way: Way, fault: Omit<Fault, 'n'>): Promise<number> {
  const faults = new Faults()
  await using s = await serveNew(DDL, ROWS, TIMES, faults.seams)
  let n = 1
  while (await tryNth(s, faults, way, { ...fault, n })) {
    await restore(s)
    n++
  }
  const text = await s.read()
  await using again = await s.killed()
  await again.server.settle()
  expect({ fault, text: await again.read() }).toEqual({ fault, text })
  return n - 1
}

for (const way of WAYS) {
  describe(way.name, () => {
    for (const part of ['store', 'disk', 'database'] as const) {
      for (const when of ['before', 'after'] as const) {
        test(`is told as it went, whichever call of the ${part} fails, ${when} it took effect`, async () => {
          const counts = [await tryAll(way, { part, when })]
          if (part === 'store' && when === 'after') counts.push(await tryAll(way, { part, when, hidesLog: true }))
          if (ALL) counts.push(await tryAll(way, { part, when, lasting: true }))
          if (ALL) process.stderr.write(`${way.name}: ${part} ${when}: ${counts.join(' ')}\n`)
          if (part !== 'database') expect(Math.min(...counts)).toBeGreaterThan(0)
        }, 60_000)
      }
    }
  })
}

test('a file that is removed while it is open is back with its rows if they cannot be taken away', async () => {
  const faults = new Faults()
  await using s = await serveNew(DDL, ROWS, { ...HELD, awayMs: 1 }, faults.seams)
  faults.arm({ part: 'store', n: 1, when: 'before', lasting: true })
  await s.client.rename(s.data, 'data.csv', s.data, '.nfs0001')
  await s.server.settle()
  expect(faults.hasFailed).toBe(true)
  faults.heal()
  expect(await s.names()).toContain('data.csv')
  expect(await s.read()).toBe(BEFORE)
  expect(await s.read('.errors')).toMatch(SENTENCE)
})
