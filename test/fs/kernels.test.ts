import { describe, expect, test } from 'bun:test'
import { NfsClient } from '../nfs/client.ts'
import { seeded } from '../nfs/random.ts'
import { Kernel, type Rpc } from './kernel.ts'
import { HELD, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String,note:String'
const HEADER = 'id,name,note\n'
const PLAIN = { readOnly: false, allowOther: false }
/** A few of many that were run by hand: KERNEL_SEEDS=1-500 */
const [FIRST = 1, LAST = 6] = process.env['KERNEL_SEEDS']?.split('-').map(Number) ?? []

/** Lets programs go on in an order that a seed gives: with each call that they send, and with each reply that they get. */
class Schedule {
  readonly #below: (n: number) => number
  readonly #waiting: (() => void)[] = []
  isOver = false

  constructor(below: (n: number) => number) {
    this.#below = below
  }

  readonly turn = (): Promise<void> => new Promise(resolve => this.#waiting.push(resolve))

  readonly rpc: Rpc = async call => {
    await this.turn()
    const reply = call()
    reply.catch(() => undefined)
    await this.turn()
    return reply
  }

  async run(): Promise<void> {
    while (!this.isOver) {
      const [next] = this.#waiting.splice(this.#below(this.#waiting.length), 1)
      next?.()
      await new Promise(setImmediate)
    }
  }
}

/** Rows that must be there, and those that may be or must not, as a program asked for them. */
class Expected {
  readonly acknowledged = new Set<number>()
  readonly removed = new Set<number>()
  readonly maybeRemoved = new Set<number>()
  readonly changed = new Map<number, Set<string>>()
}

const idsIn = (text: string): number[] => [...text.matchAll(/^(\d+),/gm)].map(([, id]) => Number(id))

async function session(seed: number): Promise<void> {
  const { below } = seeded(seed)
  const expected = new Expected()
  let nextId = 1
  const rowOf = (id: number): string => `${id},n${id},${'x'.repeat([0, 3, 40, 700][below(4)]!)}\n`
  const rows = Array.from({ length: below(12) }, () => rowOf(nextId++)).join('')
  for (const id of idsIn(rows)) expected.acknowledged.add(id)
  await using s = await serveNew(DDL, rows, { ...HELD, incompleteMs: 1, pageMs: 1 })
  await s.server.openExport(PLAIN)
  const schedule = new Schedule(below)
  const clients = [await NfsClient.connect({ port: s.server.port }), await NfsClient.connect({ port: s.server.port })]
  const isUsed = below(2) === 0 ? [0, 0, 1] : [0, 1, 1]
  const kernels = await Promise.all(
    isUsed.map(async (which, i) => {
      const client = clients[which]!
      const root = await client.mount(i === 1 ? s.server.pathOf(PLAIN) : s.server.exportPath)
      return new Kernel(`${i}`, client, await client.walk(root, 'data'), schedule.rpc)
    }),
  )
  const isShared = below(2) === 0
  const around = { below, schedule, expected, rowOf, isShared, id: () => nextId++ }
  const programs = kernels.flatMap(kernel =>
    Array.from({ length: isShared ? 1 + below(3) : 1 }, () => program(s, kernel, 3 + below(6), around)),
  )
  const running = schedule.run()
  await Promise.all(programs)
  schedule.isOver = true
  await running
  await s.server.settle()
  const text = await s.read()
  for (const client of clients) client.close()
  const counts = new Map<number, number>()
  for (const id of idsIn(text)) counts.set(id, (counts.get(id) ?? 0) + 1)
  const { acknowledged, removed, maybeRemoved, changed } = expected
  const lost = [...acknowledged].filter(id => !removed.has(id) && !maybeRemoved.has(id) && !counts.has(id))
  const doubled = [...counts].filter(([, count]) => count > 1).map(([id]) => id)
  const back = [...removed].filter(id => counts.has(id) && !changed.has(id))
  const where = `seed ${seed}, ${isShared ? 'several programs' : 'one program'} on each`
  expect({ where, lost, doubled, back }).toEqual({ where, lost: [], doubled: [], back: [] })
  expect(text).not.toContain('\0')
  for (const [id, notes] of changed) {
    const row = new RegExp(`^${id},[^,]*,(.*)$`, 'm').exec(text)
    if (row !== null) expect(notes, where).toContain(row[1]!)
  }
}

interface Around {
  /** Several programs are at work on one machine. */
  readonly isShared: boolean
  readonly below: (n: number) => number
  readonly schedule: Schedule
  readonly expected: Expected
  readonly rowOf: (id: number) => string
  readonly id: () => number
}

/** What one program after the other does on one machine. */
async function program(s: ServedTable, kernel: Kernel, steps: number, around: Around): Promise<void> {
  const { below, schedule, expected, rowOf, id } = around
  for (let i = 0; i < steps; i++) {
    const kind = below(20)
    if (kind < 10) {
      const ids = Array.from({ length: 1 + below(below(4) === 0 ? 8 : 2) }, id)
      const wait = below(3) === 0 ? schedule.turn : undefined
      if (await kernel.append(ids.map(rowOf).join(''), wait)) for (const one of ids) expected.acknowledged.add(one)
    } else if (kind < 14) {
      expect(await kernel.cat()).toStartWith(HEADER)
    } else if (kind < 16) await kernel.stat()
    else if (kind < 19) await rewrite(kernel, around)
    else if (below(3) === 0) {
      const one = id()
      await s.elsewhere(`INSERT INTO data VALUES (${one}, 'by SQL', NULL)`)
      expected.acknowledged.add(one)
    }
  }
}

/** `sed -i`, of a row that it saw. */
async function rewrite(kernel: Kernel, { below, expected, isShared }: Around): Promise<void> {
  const { removed, maybeRemoved, changed } = expected
  let gone: number | undefined
  let note: [number, string, string] | undefined
  let before = new Set<number>()
  const isOk = await kernel.sed(text => {
    const ids = idsIn(text)
    before = new Set(ids)
    if (ids.length === 0) return text
    const id = ids[below(ids.length)]!
    const row = new RegExp(`^${id},([^,]*),(.*)\n`, 'm')
    if (below(3) === 0) {
      gone = id
      return text.replace(row, '')
    }
    note = [id, `e${below(1000)}`, row.exec(text)?.[2] ?? '']
    return text.replace(row, `${id},$1,${note[1]}\n`)
  })
  if (note !== undefined) {
    const [id, now, old] = note
    const notes = changed.get(id) ?? new Set([old])
    changed.set(id, notes.add(now))
  }
  if (isOk && gone !== undefined) removed.add(gone)
  // What other programs of its machine read or wrote meanwhile, it may have seen, as far as the server can know.
  if (isOk && isShared) for (const id of kernel.seen.flatMap(idsIn)) if (!before.has(id)) maybeRemoved.add(id)
}

describe('programs on several machines that append, read and rewrite at the same time', () => {
  for (let seed = FIRST; seed <= LAST; seed++) {
    test(`lose and double no row (seed ${seed})`, () => session(seed), 60_000)
  }
})
