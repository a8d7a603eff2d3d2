import { describe, expect, test } from 'bun:test'
import { NfsClient } from '../nfs/client.ts'
import { seeded } from '../nfs/random.ts'
import { idsIn, Kernel, type Rpc } from './kernel.ts'
import { HELD, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String,note:String'
const HEADER = 'id,name,note\n'
const PLAIN = { readOnly: false, allowOther: false }
/**
 * A few of many that were run by hand: KERNEL_SEEDS=1-500. KERNEL_ALL=1 adds several programs on each machine of which some
 * rewrite, where rows are still doubled now and then (see README, Limits).
 */
const [FIRST = 1, LAST = 4] = process.env['KERNEL_SEEDS']?.split('-').map(Number) ?? []

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
  readonly changed = new Map<number, Set<string>>()
}

async function session(seed: number, isShared: boolean, rewrites: boolean): Promise<void> {
  const { below } = seeded(seed)
  const expected = new Expected()
  let nextId = 1
  const rowOf = (id: number): string => `${id},n${id},${'x'.repeat([0, 3, 40, 700][below(4)]!)}\n`
  const rows = Array.from({ length: below(12) }, () => rowOf(nextId++)).join('')
  for (const id of idsIn(rows)) expected.acknowledged.add(id)
  await using s = await serveNew(DDL, rows, { ...HELD, incompleteMs: 1, pageMs: 1, togetherMs: 3_600_000 })
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
  const around = { below, schedule, expected, rowOf, rewrites, id: () => nextId++ }
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
  const { acknowledged, removed, changed } = expected
  const lost = [...acknowledged].filter(id => !removed.has(id) && !counts.has(id))
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
  /** Some of them rewrite (`sed -i`). */
  readonly rewrites: boolean
  readonly below: (n: number) => number
  readonly schedule: Schedule
  readonly expected: Expected
  readonly rowOf: (id: number) => string
  readonly id: () => number
}

/** What one program after the other does on one machine. */
async function program(s: ServedTable, kernel: Kernel, steps: number, around: Around): Promise<void> {
  const { below, schedule, expected, rowOf, rewrites, id } = around
  for (let i = 0; i < steps; i++) {
    const kind = below(20)
    if (kind < 10) {
      const ids = Array.from({ length: 1 + below(below(4) === 0 ? 8 : 2) }, id)
      const wait = below(3) === 0 ? schedule.turn : undefined
      if (await kernel.append(ids.map(rowOf).join(''), wait)) for (const one of ids) expected.acknowledged.add(one)
    } else if (kind < 14) {
      expect(await kernel.cat()).toStartWith(HEADER)
    } else if (kind < 16) await kernel.stat()
    else if (kind < 19) await (rewrites ? rewrite(kernel, around) : kernel.stat())
    else if (below(3) === 0) {
      const one = id()
      await s.elsewhere(`INSERT INTO data VALUES (${one}, 'by SQL', NULL)`)
      expected.acknowledged.add(one)
    }
  }
}

/** `sed -i`, of a row that it saw and that was there when it began. */
async function rewrite(kernel: Kernel, { below, expected }: Around): Promise<void> {
  const { removed, changed } = expected
  let gone: number | undefined
  let note: [number, string, string] | undefined
  const isOk = await kernel.sed((text, pending) => {
    const ids = idsIn(text).filter(id => !pending.has(id))
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
}

describe('programs on several machines', () => {
  for (let seed = FIRST; seed <= LAST; seed++) {
    const appends = 'of which several on each append and read at the same time, lose and double no row'
    test(`${appends} (seed ${seed})`, () => session(seed, true, false), 60_000)
    const rewrite = 'of which one on each appends, reads and rewrites, lose and double no row'
    test(`${rewrite} (seed ${seed})`, () => session(seed, false, true), 60_000)
    if (process.env['KERNEL_ALL'] !== undefined) test(`all (seed ${seed})`, () => session(seed, true, true), 60_000)
  }
})
