import { describe, expect, test } from 'bun:test'
import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from '../helpers/temporary.ts'
import { type Handle, NfsClient, NfsClientError } from '../nfs/client.ts'
import { seeded } from '../nfs/random.ts'
import { type FileName, idsIn, Kernel, type Rpc, type Wire } from './kernel.ts'
import { HELD, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String,note:String'
const HEADER = 'id,name,note\n'
const PLAIN = { readOnly: false, allowOther: false }
const TIMES = { ...HELD, incompleteMs: 1, pageMs: 1, togetherMs: 3_600_000, finishedMs: 3_600_000 }
/** Each of them is run by itself with KERNEL_KIND. */
const KINDS = {
  alone: 'lose and double no row',
  compacts: 'nor while files are put together',
  crashes: 'nor do they when the server dies',
}
/**
 * A few of many that were run by hand: KERNEL_SEEDS=1-500. With crashes fewer, as they take longer.
 */
const [FIRST = 1, LAST = 6] = process.env['KERNEL_SEEDS']?.split('-').map(Number) ?? []
const CRASHES_SEED_LAST = 2
const CRASHES_MAX = Number(process.env['KERNEL_CRASHES'] ?? 3)
const COMPACTIONS = 8
const VECTORS = { 'posixlake.deletionVectors': 'when-needed' }
const TURNS_TO_COMPACT = 20
const TURNS_TO_CRASH = 60

/** Lets programs go on in an order that a seed gives: with each call that they send, and with each reply that they get. */
class Schedule {
  readonly #below: (n: number) => number
  readonly #waiting: (() => void)[] = []
  isOver = false
  /** Resolves when the server is there again. */
  up: Promise<void> | undefined
  #crashes = 0

  constructor(below: (n: number) => number) {
    this.#below = below
  }

  readonly turn = (): Promise<void> => new Promise(resolve => this.#waiting.push(resolve))

  readonly rpc: Rpc = async call => {
    await this.turn()
    const reply = this.#answered(call)
    reply.catch(() => undefined)
    await this.turn()
    return reply
  }

  /** A hard mount sends a call until it is answered. */
  async #answered<T>(call: () => Promise<T>): Promise<T> {
    for (;;) {
      await this.up
      const crashes = this.#crashes
      try {
        return await call()
      } catch (error) {
        if (error instanceof NfsClientError || crashes === this.#crashes) throw error
      }
    }
  }

  /** The server dies, and another one takes its place. */
  async crash(restart: () => Promise<void>): Promise<void> {
    this.#crashes++
    this.up = restart()
    await this.up
    this.up = undefined
  }

  async run(): Promise<void> {
    while (!this.isOver) {
      const [next] = this.#waiting.splice(this.#below(this.#waiting.length), 1)
      next?.()
      await new Promise(setImmediate)
    }
  }
}

/** Runs one after the other. */
function oneByOne(): <T>(run: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return run => {
    const next = last.then(run)
    last = next.catch(() => undefined)
    return next
  }
}

/** What goes on beside the programs: the server dies, or another process puts files together. */
interface Background {
  readonly crashes?: boolean
  readonly compacts?: boolean
}

/** Rows that must be there, and those that may be or must not, as a program asked for them. */
class Expected {
  readonly acknowledged = new Set<number>()
  readonly removed = new Set<number>()
  /** The notes that a row may have. */
  readonly notes = new Map<number, Set<string>>()
  readonly changed = new Set<number>()
}

interface Machine {
  readonly kernel: Kernel
  readonly wire: Wire
  readonly root: Handle
}

/**
 * What happened in a history: calls, replies and deaths, and the table's folder as each death left it. It is kept if the history
 * fails, in the folder KERNEL_TRACES, as few histories happen in the same way again.
 */
class Trace implements Disposable {
  readonly #seed: number
  readonly #lines: string[] = []
  readonly #folder = temporaryFolder()
  readonly #beganMs = performance.now()
  #deaths = 0

  constructor(seed: number) {
    this.#seed = seed
  }

  push(line: string): void {
    this.#lines.push(`${(performance.now() - this.#beganMs).toFixed(1).padStart(9)} ${line}`)
  }

  killed(directory: string): void {
    this.#copy(directory, `killed-${++this.#deaths}`)
  }

  keep(directory: string, why: string): void {
    this.push(why)
    const folder = process.env['KERNEL_TRACES']
    if (folder === undefined) {
      console.error(this.#lines.join('\n'))
      return
    }
    this.#copy(directory, 'end')
    const kept = join(folder, `seed-${this.#seed}-${Date.now()}`)
    mkdirSync(kept, { recursive: true })
    cpSync(this.#folder.path, kept, { recursive: true, preserveTimestamps: true })
    writeFileSync(join(kept, 'calls.txt'), `${this.#lines.join('\n')}\n`)
    console.error(`what happened is in ${kept}`)
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]()
  }

  #copy(directory: string, name: string): void {
    cpSync(directory, join(this.#folder.path, name), { recursive: true, preserveTimestamps: true })
  }
}

/** Programs on three machines, or on one that has several mounts, beside the rows that their table must have. */
class Session {
  readonly #below: (n: number) => number
  readonly #seed: number
  readonly #schedule: Schedule
  readonly #expected = new Expected()
  readonly #trace: Trace
  readonly #wires: Wire[] = []
  readonly #ports: number[] = []
  readonly #alone = oneByOne()
  #s!: ServedTable
  #id = 1

  constructor(seed: number) {
    const { below } = seeded(seed)
    this.#seed = seed
    this.#trace = new Trace(seed)
    this.#below = below
    this.#schedule = new Schedule(below)
  }

  /** `background`: what goes on beside the programs. */
  async run(where: string, background: Background = {}): Promise<void> {
    const rows = Array.from({ length: this.#below(12) }, () => this.#newRow()).join('')
    for (const id of idsIn(rows)) this.#expected.acknowledged.add(id)
    // Rows of compacted files are found again in another way where files are written anew.
    const configuration = background.compacts === true && this.#seed % 2 === 1 ? VECTORS : {}
    this.#s = await serveNew(DDL, rows, TIMES, undefined, { configuration })
    try {
      await this.#runAll(background)
      await this.#s.server.settle()
      this.#check(where, await this.#s.read())
    } catch (error) {
      this.#trace.keep(this.#s.directory, `${error}`)
      throw error
    } finally {
      this.#trace[Symbol.dispose]()
      for (const { client } of this.#wires) client.close()
      await this.#s[Symbol.asyncDispose]()
    }
  }

  async #runAll({ crashes, compacts }: Background): Promise<void> {
    const { exportPath, port } = this.#s.server
    await this.#s.server.openExport(PLAIN)
    for (let i = 0; i < 2; i++) {
      const client = await NfsClient.fromOwnPort(port)
      this.#ports.push(client.localPort)
      this.#wires.push({ client: this.#noting(i, client) })
    }
    const isUsed = this.#below(2) === 0 ? [0, 0, 1] : [0, 1, 1]
    const machines = await Promise.all(
      isUsed.map(async (which, i): Promise<Machine> => {
        const wire = this.#wires[which]!
        const root = await wire.client.mount(i === 1 ? this.#s.server.pathOf(PLAIN) : exportPath)
        const data = await wire.client.walk(root, 'data')
        return { wire, root, kernel: new Kernel(`${i}`, wire, data, this.#schedule.rpc) }
      }),
    )
    const programs = machines.flatMap(machine =>
      Array.from({ length: 1 + this.#below(3) }, () => this.#program(machine, 3 + this.#below(6))),
    )
    if (crashes === true) programs.push(this.#crashes())
    if (compacts === true) programs.push(this.#compactions())
    const running = this.#schedule.run()
    try {
      await Promise.all(programs)
    } finally {
      this.#schedule.isOver = true
      await running
    }
  }

  /** The calls that a machine sends are told if a test fails, as the server's own times are part of what happened. */
  #noting(machine: number, client: NfsClient): NfsClient {
    const trace = this.#trace
    return new Proxy(client, {
      get(target, name) {
        const value = Reflect.get(target, name, target) as unknown
        if (typeof value !== 'function') return value
        return (...args: unknown[]) => {
          const call = `${machine} ${String(name)} ${args.map(shortly).join(' ')}`
          trace.push(call)
          const result = value.apply(target, args) as unknown
          if (result instanceof Promise)
            result.then(
              reply => trace.push(`    ${call}: ${shortly(reply)}`),
              error => trace.push(`    ${call}: ${error}`),
            )
          return result
        }
      },
    })
  }

  async #crashes(): Promise<void> {
    for (let left = 1 + this.#below(CRASHES_MAX); left > 0; left--) {
      for (let turns = this.#below(TURNS_TO_CRASH); turns > 0; turns--) await this.#schedule.turn()
      await this.#alone(() => this.#schedule.crash(() => this.#restart()))
    }
  }

  /** Another process puts files together at any moment: it does not know what is under way here. */
  async #compactions(): Promise<void> {
    for (let left = COMPACTIONS; left > 0; left--) {
      for (let turns = this.#below(TURNS_TO_COMPACT); turns > 0; turns--) await this.#schedule.turn()
      await this.#alone(async () => {
        if (await this.#s.compacted()) this.#trace.push('compacted')
      })
    }
  }

  async #restart(): Promise<void> {
    this.#trace.push('killed')
    // At once, so that nothing is answered that is not on disk by then.
    for (const { client } of this.#wires) client.drop()
    this.#s = await this.#s.killed(undefined, directory => this.#trace.killed(directory))
    const { server } = this.#s
    await server.openExport(PLAIN)
    for (const [i, wire] of this.#wires.entries())
      wire.client = this.#noting(i, await NfsClient.connect({ port: server.port, localPort: this.#ports[i] }))
  }

  #newRow(): string {
    const id = this.#id++
    const note = 'x'.repeat([0, 3, 40, 700][this.#below(4)]!)
    this.#expected.notes.set(id, new Set([note]))
    return `${id},n${id},${note}\n`
  }

  /** What one program after the other does on one machine. */
  async #program(machine: Machine, steps: number): Promise<void> {
    const { kernel } = machine
    for (let i = 0; i < steps; i++) {
      const kind = this.#below(20)
      if (kind < 10) await this.#append(kernel)
      else if (kind < 14) expect(await kernel.cat()).toStartWith(HEADER)
      else if (kind < 16) await kernel.stat()
      else if (kind < 18) await this.#rewrite(kernel, 'data.csv')
      else if (kind < 19) await this.#rewrite(kernel, this.#below(2) === 0 ? 'data.csv' : 'data.jsonl')
      else if (this.#below(2) === 0) await this.#alone(() => this.#statement(machine))
    }
  }

  async #append(kernel: Kernel): Promise<void> {
    const rows = Array.from({ length: 1 + this.#below(this.#below(4) === 0 ? 8 : 2) }, () => this.#newRow()).join('')
    const wait = this.#below(3) === 0 ? this.#schedule.turn : undefined
    if (await kernel.append(rows, wait)) for (const id of idsIn(rows)) this.#expected.acknowledged.add(id)
  }

  /** INSERT by another process, or INSERT or UPDATE in `.query`. */
  async #statement({ wire, root }: Machine): Promise<void> {
    const { acknowledged, changed, notes } = this.#expected
    const kind = this.#below(3)
    const id = kind === 2 ? [...acknowledged][this.#below(acknowledged.size)] : this.#id++
    if (id === undefined) return
    const insert = `INSERT INTO data VALUES (${id}, 'by SQL', 'q')`
    if (kind === 0) {
      notes.set(id, new Set(['q']))
      await this.#s.elsewhere(insert)
      acknowledged.add(id)
      return
    }
    const note = kind === 1 ? 'q' : `q${this.#below(1000)}`
    notes.set(id, (notes.get(id) ?? new Set()).add(note))
    if (kind === 2) changed.add(id)
    const sql = kind === 1 ? insert : `UPDATE data SET note = '${note}' WHERE id = ${id}`
    const { rpc } = this.#schedule
    const { handle } = await rpc(() => wire.client.lookup(root, '.query'))
    await rpc(() => wire.client.setattr(handle, { size: 0n }))
    const isOk = await rpc(() => wire.client.write(handle, 0n, `${sql}\n`)).then(
      () => true,
      () => false,
    )
    if (isOk && kind === 1) acknowledged.add(id)
  }

  /** `sed -i`, of a row that it saw and that was there when it began. */
  async #rewrite(kernel: Kernel, file: FileName): Promise<void> {
    const { removed, changed, notes } = this.#expected
    const { row, id: idOf, written } = FILES[file]
    let gone: number | undefined
    const isOk = await kernel.sed((text, pending) => {
      const lines = text.match(/.*\n/g) ?? []
      const known = lines.filter(line => row.test(line) && !pending.has(idOf(line)))
      const line = known[this.#below(known.length)]
      if (line === undefined) return text
      const id = idOf(line)
      if (this.#below(3) === 0) {
        gone = id
        return text.replace(line, '')
      }
      const note = `e${this.#below(1000)}`
      notes.set(id, (notes.get(id) ?? new Set()).add(note))
      changed.add(id)
      return text.replace(line, written(line, note))
    }, file)
    if (isOk && gone !== undefined) removed.add(gone)
  }

  #check(where: string, text: string): void {
    const counts = new Map<number, number>()
    for (const id of idsIn(text)) counts.set(id, (counts.get(id) ?? 0) + 1)
    const { acknowledged, removed, changed, notes } = this.#expected
    const lost = [...acknowledged].filter(id => !removed.has(id) && !counts.has(id))
    const doubled = [...counts].filter(([, count]) => count > 1).map(([id]) => id)
    const back = [...removed].filter(id => counts.has(id) && !changed.has(id))
    expect({ where, lost, doubled, back }).toEqual({ where, lost: [], doubled: [], back: [] })
    expect(text).not.toContain('\0')
    for (const [, id, note] of text.matchAll(/^(\d+),[^,]*,(.*)$/gm))
      if (notes.has(Number(id))) expect([...notes.get(Number(id))!], where).toContain(note!)
  }
}

/** How rows stand in the files. */
const FILES: Record<
  FileName,
  {
    readonly row: RegExp
    readonly id: (line: string) => number
    readonly written: (line: string, note: string) => string
  }
> = {
  'data.csv': {
    row: /^\d+,/,
    id: line => Number.parseInt(line, 10),
    written: (line, note) => line.replace(/,[^,]*\n$/, `,${note}\n`),
  },
  'data.jsonl': {
    row: /^\{/,
    id: line => (JSON.parse(line) as { id: number }).id,
    written: (line, note) => `${JSON.stringify({ ...(JSON.parse(line) as object), note })}\n`,
  },
}

function shortly(value: unknown): string {
  if (value instanceof Uint8Array) {
    const text = new TextDecoder().decode(value)
    return /^[\w,\n]*$/.test(text) ? `[${idsIn(text)}]` : Buffer.from(value).toString('hex').slice(-8)
  }
  if (typeof value !== 'object' || value === null) return String(value).slice(0, 80)
  const fields = Object.entries(value).filter(([name]) => !/mode|link|uid|gid|time|id$|rdev|used|verf|type/.test(name))
  return `{${fields.map(([name, field]) => `${name} ${shortly(field)}`).join(', ')}}`
}

describe('programs on several machines, several on each, that append, read, rewrite and run SQL at the same moment', () => {
  for (let seed = FIRST; seed <= LAST; seed++) {
    for (const [kind, name] of Object.entries(KINDS)) {
      if (process.env['KERNEL_KIND'] !== undefined && process.env['KERNEL_KIND'] !== kind) continue
      if (process.env['KERNEL_SEEDS'] === undefined && kind === 'crashes' && seed > CRASHES_SEED_LAST) continue
      const run = (): Promise<void> => new Session(seed).run(`seed ${seed}, ${kind}`, { [kind]: true })
      test(`${name} (seed ${seed})`, run, 60_000)
    }
  }
})
