import { describe, expect, test } from 'bun:test'
import { Faults, type Part, type When } from '../helpers/faults.ts'
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
/** What is held is looked at soon, and nothing is waited for that these tests do not make happen. */
const TIMES = { ...HELD, removedMs: 1, incompleteMs: 1, pageMs: 1, truncatedMs: 1, abandonedMs: 200 }
/** So often a client asks again, as one does that hears JUKEBOX. */
const ASKED_MAX = 5
const HEALED_AFTER = 2

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
  { name: 'rm', after: HEADER, save: (s, call) => call(() => s.client.remove(s.data, 'data.csv')) },
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

interface Tried {
  readonly status: string
  readonly hasFailed: boolean
}

/** Saves in this way while the n-th call that writes fails, and holds the reply against the table. */
async function tryNth(way: Way, part: Part, n: number, when: When, how = {}): Promise<Tried> {
  const faults = new Faults()
  await using s = await serveNew(DDL, ROWS, TIMES, faults.seams)
  const where = `${way.name}; ${part}, call ${n}, ${when}`
  await way.prepare?.(s)
  // Opens what is read first, as the program before this one did.
  await s.read()
  faults.arm(part, n, when, how)
  const status = await way.save(s, asking(faults))
  const { hasFailed } = faults
  faults.heal()
  await s.server.settle()
  const text = await s.read()
  const errors = await s.read('.errors')
  if (status !== 'OK') {
    expect({ where, status, text }).toEqual({ where, status, text: BEFORE })
    expect({ where, errors }).toEqual({ where, errors: expect.stringMatching(SENTENCE) })
  } else if (text !== way.after) {
    // Only what is held is answered before its end, and then the sentence is where such sentences are.
    expect({ where, text, isTold: SENTENCE.test(errors) }).toEqual({ where, text: BEFORE, isTold: true })
    expect(['rm', 'a rewrite']).toContain(way.name)
  }
  expect({ where, commits: await s.commits() }).toEqual({ where, commits: text === BEFORE ? 0 : 1 })
  // The next save works without a restart, and so it does for the next server.
  const csv = await s.csv()
  const next = await codeOf(s.client.write(csv, (await s.client.getattr(csv)).size, '9,Next\n'))
  expect({ where, next, text: await s.read() }).toEqual({ where, next: 'OK', text: `${text}9,Next\n` })
  await using again = await s.killed()
  await again.server.settle()
  expect({ where, text: await again.read() }).toEqual({ where, text: `${text}9,Next\n` })
  return { status, hasFailed }
}

/** Every n for which there is a call to fail. The number of tries. */
async function tryAll(way: Way, part: Part, when: When, how = {}): Promise<number> {
  for (let n = 1; ; n++) if (!(await tryNth(way, part, n, when, how)).hasFailed) return n - 1
}

for (const way of WAYS) {
  describe(way.name, () => {
    for (const part of ['store', 'disk', 'database'] as const) {
      for (const when of ['before', 'after'] as const) {
        test(`is told as it went, whichever call of the ${part} fails, ${when} it took effect`, async () => {
          const counts = process.env['FAULTS_COUNT']
          const once = await tryAll(way, part, when)
          const lasting = await tryAll(way, part, when, { lasting: true })
          const hidden = part === 'store' ? await tryAll(way, part, when, { hidesLog: true }) : 0
          if (counts !== undefined) process.stderr.write(`${way.name}: ${part} ${when}: ${once} ${lasting} ${hidden}\n`)
          if (part !== 'database') expect(once).toBeGreaterThan(0)
        }, 120_000)
      }
    }
  })
}
