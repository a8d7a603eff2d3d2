import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { PROXY_FAULTS, type ProxyFault, type S3Proxy } from '../helpers/s3-proxy.ts'
import { seeded } from '../nfs/random.ts'
import type { MakePlace, Place } from './history-place.ts'
import { BINARY, TableServer } from './table-server.ts'

const HEADER = 'id,writer,value\n'

export interface HistoryOptions {
  readonly servers?: number
  readonly writers?: number
  readonly savesOfServer?: number
  readonly statementsOfWriter?: number
  /** A server lives for so long at most. */
  readonly lifeMs?: number
}

/** The course of a history, and its end. */
export interface HistoryReport {
  readonly seed: number
  readonly seconds: number
  readonly requests: number
  readonly faults: Readonly<Record<string, number>>
  readonly kills: number
  readonly outages: number
  readonly acknowledged: number
  readonly refused: number
  /** The faults of the table in the end; empty if there are none. */
  readonly wrong: readonly string[]
}

/** The value of a row, or that there is none. */
type State = number | 'none'

/** The states that each row may have, going by what its writer was told. */
class Ledger {
  readonly #rows = new Map<number, Set<State>>()
  #next = 1
  acknowledged = 0
  refused = 0
  /** The answers to the writer of each row, in turn. */
  readonly #told = new Map<number, string[]>()

  /** A new row's id. */
  id(): number {
    const id = this.#next++
    this.#rows.set(id, new Set(['none']))
    return id
  }

  /** Notes the outcome of a save that makes rows be something: undefined, or why it was refused. */
  note(name: string, rows: ReadonlyMap<number, State>, refusal: unknown): void {
    const isAcknowledged = refusal === undefined
    if (isAcknowledged) this.acknowledged++
    else this.refused++
    const time = new Date().toISOString().slice(11, 23)
    for (const [id, state] of rows) {
      this.#note(id, state, isAcknowledged)
      const told = `${time} ${name} makes row ${id} ${state}: ${isAcknowledged ? 'done' : refusal}`
      this.#told.set(id, [...(this.#told.get(id) ?? []), told])
    }
  }

  #note(id: number, state: State, isAcknowledged: boolean): void {
    if (isAcknowledged) this.#rows.set(id, new Set([state]))
    else this.#rows.get(id)!.add(state)
  }

  /** The value of a row that is certain; undefined if it is not. */
  certain(id: number): State | undefined {
    const states = [...this.#rows.get(id)!]
    return states.length === 1 ? states[0] : undefined
  }

  /** Returns the faults of the text of a table. */
  faultsOf(text: string): string[] {
    const wrong: string[] = []
    if (!text.startsWith(HEADER)) return [`it does not begin with its header: ${JSON.stringify(text.slice(0, 60))}`]
    const found = new Map<number, number>()
    for (const line of text.slice(HEADER.length).trimEnd().split('\n').filter(Boolean)) {
      const [id, , value] = line.split(',').map(Number)
      if (!this.#rows.has(id!)) wrong.push(`nobody wrote ${line}`)
      if (found.has(id!)) wrong.push(`row ${id} is there twice`)
      found.set(id!, value!)
    }
    for (const [id, states] of this.#rows) {
      const state = found.get(id) ?? 'none'
      if (!states.has(state))
        wrong.push(`row ${id} is ${state} and should be ${[...states].join(' or ')}: ${this.#told.get(id)?.join('; ')}`)
    }
    return wrong
  }
}

/**
 * One history: servers, which are killed now and then, and SQL statements, which are too, write one table; one on S3 through a
 * bad network.
 */
export class History {
  readonly #seed: number
  readonly #random: ReturnType<typeof seeded>
  readonly #place: Place
  readonly #folder: string
  readonly #ledger = new Ledger()
  readonly #options: Required<HistoryOptions>
  #kills = 0
  #outages = 0
  isOver = false

  private constructor(place: Place, folder: string, seed: number, options: HistoryOptions) {
    this.#seed = seed
    this.#random = seeded(seed)
    this.#place = place
    this.#folder = folder
    this.#options = { writers: 2, statementsOfWriter: 4, ...place.size, ...options }
  }

  /** Runs a history to its end. `folder`: for the state and the caches of its processes. */
  static async run(
    make: MakePlace,
    folder: string,
    seed: number,
    options: HistoryOptions = {},
  ): Promise<HistoryReport> {
    const own = join(folder, `history-${seed}`)
    await using place = await make(seed, seeded(seed + 1).next, own)
    const history = new History(place, own, seed, options)
    try {
      return await history.#run()
    } finally {
      rmSync(history.#folder, { recursive: true, force: true })
    }
  }

  async #run(): Promise<HistoryReport> {
    const startMs = performance.now()
    const { proxy } = this.#place
    const create = ['create', this.#place.table, '--schema', 'id:Int64,writer:String,value:Int64']
    const created = await this.#command('creator', create).exited
    if (created !== 0) throw new Error('the table cannot be made')
    const servers = Array.from(
      { length: this.#options.servers },
      (_, i) => new TableServer(this.#env(`server${i}`), this.#place.table),
    )
    const wrong: string[] = []
    try {
      await Promise.all(servers.map(server => server.start()))
      if (proxy !== undefined) proxy.fault = this.#faults()
      const disturbing = [this.#kill(servers), proxy && this.#takeAway(proxy)]
      await Promise.all([
        ...servers.map((server, i) => this.#save(server, `server${i}`)),
        ...Array.from({ length: this.#options.writers }, (_, i) => this.#state(`writer${i}`)),
      ])
      this.isOver = true
      await Promise.all(disturbing)
      if (proxy !== undefined) proxy.fault = undefined
      wrong.push(...(await this.#judge(servers)))
      if (wrong.length > 0) await this.#keepLog()
    } finally {
      this.isOver = true
      for (const server of servers) await server.kill()
    }
    return {
      seed: this.#seed,
      seconds: Math.round((performance.now() - startMs) / 100) / 10,
      requests: proxy?.requests ?? 0,
      faults: Object.fromEntries(proxy?.counts ?? []),
      kills: this.#kills,
      outages: this.#outages,
      acknowledged: this.#ledger.acknowledged,
      refused: this.#ledger.refused,
      wrong,
    }
  }

  /** The table's log, for whoever looks for the cause. */
  async #keepLog(): Promise<void> {
    const { store } = this.#place
    const path = join(this.#folder, '..', `log-${this.#seed}`)
    mkdirSync(path, { recursive: true })
    for (const { path: name } of await store.list('_delta_log'))
      await Bun.write(join(path, name), await store.read(name))
  }

  /** The environment of a machine of its own. */
  #env(name: string, isDirect = false): Record<string, string> {
    const { environment, proxy } = this.#place
    // The SQL engine is unpacked into the cache: once for each process is enough.
    const [home, cache] = [join(this.#folder, name), join(this.#folder, '..', `cache-${name}`)]
    for (const path of [home, cache]) mkdirSync(path, { recursive: true })
    return {
      PATH: process.env['PATH'] ?? '',
      ...environment,
      ...(proxy !== undefined && !isDirect && { AWS_ENDPOINT_URL: proxy.endpoint }),
      HOME: home,
      XDG_STATE_HOME: join(home, 'state'),
      XDG_RUNTIME_DIR: home,
      XDG_CACHE_HOME: cache,
    }
  }

  #command(name: string, args: readonly string[], isDirect = false): Bun.Subprocess<'ignore', 'pipe', 'pipe'> {
    return Bun.spawn([BINARY, ...args], {
      cwd: '/',
      env: this.#env(name, isDirect),
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
    })
  }

  #faults(): S3Proxy['fault'] {
    const { next, below } = this.#random
    const rate = [0.02, 0.06, 0.12, 0.2][below(4)]!
    return () => {
      if (next() >= rate) return undefined
      const fault = PROXY_FAULTS[below(PROXY_FAULTS.length)] as ProxyFault
      // One that costs so much time is enough now and then.
      return fault === 'hang' && next() < 0.9 ? 'reset after' : fault
    }
  }

  async #kill(servers: readonly TableServer[]): Promise<void> {
    while (!this.isOver) {
      await this.#pause((0.1 + 0.9 * this.#random.next()) * this.#options.lifeMs)
      if (this.isOver) return
      const server = servers[this.#random.below(servers.length)]!
      this.#kills++
      await server.kill()
      await this.#pause(this.#random.below(500))
      await server.start()
    }
  }

  async #takeAway(proxy: S3Proxy): Promise<void> {
    await this.#pause(2000 + this.#random.below(6000))
    if (this.isOver) return
    this.#outages++
    await proxy.refuse()
    await Bun.sleep(200 + this.#random.below(3000))
    await proxy.accept()
  }

  async #pause(ms: number): Promise<void> {
    const endMs = performance.now() + ms
    while (!this.isOver && performance.now() < endMs) await Bun.sleep(20)
  }

  /** Programs on one mount: they append, change and delete rows of their own. */
  async #save(server: TableServer, name: string): Promise<void> {
    const own: number[] = []
    for (let save = 0; save < this.#options.savesOfServer; save++) {
      const ofThese = own.filter(id => typeof this.#ledger.certain(id) === 'number')
      if (ofThese.length === 0 || this.#random.next() < 0.6) {
        const count = 1 + this.#random.below(3)
        const rows = new Map(
          Array.from({ length: count }, () => [this.#ledger.id(), this.#random.below(1000)] as const),
        )
        own.push(...rows.keys())
        const text = [...rows].map(([id, value]) => `${id},${name},${value}\n`).join('')
        this.#ledger.note(`${name} appends`, rows, await outcomeOf(() => server.append(text)))
      } else {
        const id = ofThese[this.#random.below(ofThese.length)]!
        const state: State = this.#random.next() < 0.3 ? 'none' : this.#random.below(1000) + 1000
        const line = new RegExp(`^${id},.*\n`, 'm')
        const edited = (text: string): string => {
          if (!line.test(text)) throw new Error(`row ${id} was not shown`)
          return text.replace(line, state === 'none' ? '' : `${id},${name},${state}\n`)
        }
        this.#ledger.note(`${name} edits`, new Map([[id, state]]), await outcomeOf(() => server.edit(edited)))
      }
    }
  }

  /** Statements, each by a process of its own. */
  async #state(name: string): Promise<void> {
    const own: number[] = []
    for (let n = 0; n < this.#options.statementsOfWriter; n++) {
      const ofThese = own.filter(id => typeof this.#ledger.certain(id) === 'number')
      const id =
        ofThese.length > 0 && this.#random.next() < 0.5 ? ofThese[this.#random.below(ofThese.length)]! : undefined
      const state: State = id !== undefined && this.#random.next() < 0.4 ? 'none' : this.#random.below(1000)
      const row = id ?? this.#ledger.id()
      own.push(row)
      const statement =
        id === undefined
          ? `INSERT INTO data VALUES (${row}, '${name}', ${state})`
          : state === 'none'
            ? `DELETE FROM data WHERE id = ${row}`
            : `UPDATE data SET value = ${state} WHERE id = ${row}`
      const child = this.#command(name, ['query', this.#place.table, statement])
      const killer =
        this.#random.next() < 0.25 ? setTimeout(() => child.kill('SIGKILL'), this.#random.below(3000)) : undefined
      const [status, said] = await Promise.all([child.exited, new Response(child.stderr).text()])
      clearTimeout(killer)
      this.#ledger.note(
        `${name} ${statement}`,
        new Map([[row, state]]),
        status === 0 ? undefined : `exit status ${status}: ${said}`,
      )
    }
  }

  /** Compares what all who read the table see with what the writers were told. */
  async #judge(servers: readonly TableServer[]): Promise<string[]> {
    // What was held when a server was killed is brought to its end by the next one.
    for (const server of servers) {
      await server.kill()
      await server.start()
    }
    const truth = async (): Promise<string> => {
      const reading = this.#command('reader', ['cat', this.#place.table], true)
      const [text, said, status] = await Promise.all([
        new Response(reading.stdout).text(),
        new Response(reading.stderr).text(),
        reading.exited,
      ])
      if (status !== 0) throw new Error(`history ${this.#seed}: the table cannot be read: ${said}`)
      return text
    }
    await Promise.all(servers.map(server => server.settled()))
    const text = await truth()
    const wrong = this.#ledger.faultsOf(text)
    for (const [i, server] of servers.entries()) {
      const shown = await server.read()
      if (linesOf(shown) !== linesOf(text)) wrong.push(`server ${i} shows another table: ${differences(text, shown)}`)
    }
    for (let i = 0; i < this.#options.writers; i++) {
      const query = ['query', this.#place.table, 'SELECT * FROM data', '--format', 'csv']
      const reading = this.#command(`writer${i}`, query)
      const shown = await new Response(reading.stdout).text()
      if (linesOf(shown) !== linesOf(text)) wrong.push(`writer ${i} selects another table: ${differences(text, shown)}`)
    }
    for (const server of servers) {
      const status = await server.end()
      if (status !== 0) wrong.push(`a server ended with status ${status}`)
    }
    return wrong
  }
}

async function outcomeOf(save: () => Promise<void>): Promise<unknown> {
  try {
    await save()
    return undefined
  } catch (error) {
    return error
  }
}

function linesOf(text: string): string {
  return text.split('\n').sort().join('\n')
}

function differences(one: string, other: string): string {
  const [ones, others] = [new Set(one.split('\n')), new Set(other.split('\n'))]
  const less = [...ones].filter(line => !others.has(line)).map(line => `- ${line}`)
  const more = [...others].filter(line => !ones.has(line)).map(line => `+ ${line}`)
  return [...less, ...more].slice(0, 10).join(' | ')
}
