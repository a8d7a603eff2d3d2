import { describe, expect, test } from 'bun:test'
import { type Handle, NfsClient, NfsClientError } from '../nfs/client.ts'
import { seeded } from '../nfs/random.ts'
import { codeOf, HELD, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String,note:String'
const HEADER = 'id,name,note\n'
const ROUNDS = 60
/** For the times that a test wants to be over. */
const SOON = { incompleteMs: 1, pageMs: 1, truncatedMs: 1, removedMs: 1, awayMs: 1 }

/** A view that programs save, with what it shows of rows and a spelling in which programs may write them. */
interface View {
  readonly name: string
  readonly header: string
  readonly shown: (row: string) => string
  readonly written: (row: string, below: (n: number) => number) => string
  readonly bad: readonly string[]
  /** Finds the note of a row in its text. */
  readonly note: RegExp
}

const CSV: View = {
  name: 'data.csv',
  header: HEADER,
  shown: row => row,
  written: row => row,
  bad: ['x,Bad,row\n', '1,2\n', '1,2,3,4\n'],
  note: /,n\d/,
}

const JSONL: View = {
  name: 'data.jsonl',
  header: '',
  shown: row => `${JSON.stringify(objectOf(row))}\n`,
  written: (row, below) => {
    const { id, name, note } = objectOf(row)
    const other = [{ note, id, name }, name === null ? { id, note } : { name, id, note }][below(2)]
    return below(4) === 0 ? `${JSON.stringify(other).replaceAll(':', ': ')}\n` : JSONL.shown(row)
  },
  bad: ['{"id":"x","name":"Bad","note":"row"}\n', '1,2,3\n', '{"id":1,"name":[]}\n', '[1]\n'],
  note: /"n\d/,
}

type Times = { -readonly [K in keyof typeof HELD]: number }
type Call = (s: ServedTable) => Promise<unknown>

/** A client of its own, as another kernel has it: it goes by what it knew when it opened the file last, or wrote it. */
interface Kernel {
  readonly view: View
  readonly client: NfsClient
  readonly data: Handle
  handle: Handle
  known: Uint8Array
  /** Saves that were refused before it opened the file: a handle may not outlive one. */
  refused: number
}

const KERNELS = 3

/** Random programs that save data.csv and data.jsonl, beside a model of what it must hold and of how many commits there must be. */
class Session {
  s: ServedTable
  readonly #random: () => number
  readonly #times: Times
  readonly log: string[] = []
  rows: string[] = []
  commits = 0
  #id = 1
  #kernels: Kernel[] = []
  #refused = 0

  private constructor(s: ServedTable, random: () => number, times: Times) {
    this.s = s
    this.#random = random
    this.#times = times
  }

  static async begin(seed: number): Promise<Session> {
    const times = { ...HELD }
    return new Session(await serveNew(DDL, '', times), seeded(seed).next, times)
  }

  /** What a view is to show. */
  #text({ header, shown }: View): string {
    return header + this.rows.map(shown).join('')
  }

  /** What a program saves. */
  #saved({ header, written }: View, rows: readonly string[]): string {
    return header + rows.map(row => written(row, n => this.#below(n))).join('')
  }

  /** The handle that an open of a view gets now. */
  #open({ name }: View): Promise<Handle> {
    return this.s.client.walk(this.s.data, name)
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n)
  }

  #chance(p: number): boolean {
    return this.#random() < p
  }

  #one<T>(of: readonly T[]): T {
    return of[this.#below(of.length)]!
  }

  #newRow(id: number = this.#id++): string {
    const names = [
      'Ann',
      '"a ""quoted"" one"',
      '"two\nlines"',
      '"a,b"',
      'ä',
      '""',
      '',
      '"\n\n"',
      '"id,name,note\n1,x,y\n"',
    ]
    return `${id},${this.#one(names)},${this.#chance(0.1) ? 'w'.repeat(3000) : `n${this.#below(1000)}`}\n`
  }

  /** The rows after an edit of some lines at their places. */
  #edited(): string[] {
    const rows = [...this.rows]
    for (let edits = 1 + this.#below(4); edits > 0; edits--) {
      const at = this.#below(rows.length + 1)
      const kind = this.#below(3)
      if (kind === 0 || at === rows.length)
        rows.splice(at, 0, ...Array.from({ length: 1 + this.#below(3) }, () => this.#newRow()))
      else if (kind === 1) rows.splice(at, 1 + this.#below(3))
      else rows[at] = this.#newRow(Number.parseInt(rows[at]!, 10))
    }
    return rows
  }

  async #kill(): Promise<void> {
    this.log.push('  killed')
    for (const { client } of this.#kernels) client.close()
    this.#kernels = []
    this.s = await this.s.killed(this.#times)
  }

  /** A call whose reply may be lost with the server, so that the client sends it once more. */
  async #send(call: Call): Promise<void> {
    await call(this.s)
    if (!this.#chance(0.15)) return
    await this.#kill()
    await call(this.s)
  }

  /** The call that ends a save: what is then held is soon over. */
  async #end(call: Call): Promise<void> {
    Object.assign(this.#times, SOON)
    await this.#send(call)
    await this.s.server.settle()
    Object.assign(this.#times, HELD)
  }

  /**
   * A new file takes the name of a view; `isOpen`: that is open, and renamed by the client before. Where the server has died since the
   * file was begun it may be refused, as nobody knows what its program had read: then all is as it was, and it is done again.
   */
  async #replaced(view: View, rows: readonly string[], isOpen: boolean): Promise<void> {
    const begun = this.log.length
    const { handle } = await this.s.client.create(this.s.data, 'temp')
    await this.s.client.write(handle, 0n, this.#saved(view, rows))
    if (isOpen) await this.#send(s => s.client.rename(s.data, view.name, s.data, '.nfs01'))
    let isRefused = false
    try {
      await this.#end(s => s.client.rename(s.data, 'temp', s.data, view.name))
    } catch (error) {
      const hasDied = this.log.slice(begun).includes('  killed')
      if (!hasDied || !(error instanceof NfsClientError && error.code === 'EIO')) throw error
      expect(await this.s.read('.errors')).toContain('do it again')
      expect(await this.s.read(`data/${view.name}`)).toBe(this.#text(view))
      await this.s.client.remove(this.s.data, 'temp')
      isRefused = true
    }
    Object.assign(this.#times, HELD)
    if (isOpen) await this.s.client.remove(this.s.data, '.nfs01')
    if (isRefused) await this.#replaced(view, rows, isOpen)
  }

  /** Writes from `offset` on as clients do: in one stable WRITE, or in several, in any order, with COMMITs in between. */
  async #write(file: Handle, offset: number, text: string, meanwhile?: () => Promise<void>): Promise<void> {
    const bytes = new TextEncoder().encode(text)
    if (bytes.length < 20 || this.#chance(0.4)) {
      await meanwhile?.()
      return this.#end(s => s.client.write(file, BigInt(offset), bytes))
    }
    const cuts = [0, bytes.length]
    for (let i = this.#below(4); i >= 0; i--) {
      const cut = 1 + this.#below(bytes.length - 1)
      // A piece that ends with a row may be a whole save.
      if (bytes[cut - 1] !== 0x0a && !cuts.includes(cut)) cuts.push(cut)
    }
    cuts.sort((a, b) => a - b)
    const pieces = cuts.slice(1).map((end, i) => [cuts[i]!, end] as const)
    if (this.#chance(0.3)) pieces.reverse()
    for (const [i, [start, end]] of pieces.entries()) {
      await this.#send(s => s.client.write(file, BigInt(offset + start), bytes.subarray(start, end), 'UNSTABLE'))
      if (this.#chance(0.2)) await this.#kill()
      if (i === 0) await meanwhile?.()
      if (i < pieces.length - 1 && this.#chance(0.3)) await this.#send(s => s.client.commit(file))
    }
    await this.#end(s => s.client.commit(file))
  }

  #view(): View {
    return this.#one([CSV, JSONL])
  }

  #expect(rows: string[]): void {
    if (rows.toSorted().join('') !== this.rows.toSorted().join('')) this.commits++
    this.rows = rows
  }

  async #newKernel(): Promise<Kernel> {
    const view = this.#view()
    const client = await NfsClient.connect({ port: this.s.server.port })
    const data = await client.walk(await client.mount(this.s.server.exportPath), 'data')
    const handle = await client.walk(data, view.name)
    return { view, client, data, handle, known: new TextEncoder().encode(this.#text(view)), refused: this.#refused }
  }

  /** Some clients, which opened their files earlier, unless others have taken the names since. */
  async #someKernels(): Promise<Kernel[]> {
    while (this.#kernels.length < KERNELS) this.#kernels.push(await this.#newKernel())
    for (const kernel of this.#kernels) {
      const { client, view } = kernel
      // What it holds back it sends under the handle that it has, whatever others have done since.
      if (kernel.refused === this.#refused && this.#chance(0.5)) {
        if (Number((await client.getattr(kernel.handle)).size) === kernel.known.length) continue
      }
      await this.#reopen(kernel)
      if (this.#chance(0.5)) expect(await client.readText(kernel.handle)).toBe(this.#text(view))
    }
    return this.#kernels
  }

  /** A program begins to work on what it reads. */
  async #reads(view: View): Promise<void> {
    expect(await this.s.client.readText(await this.#open(view))).toBe(this.#text(view))
  }

  /** open(2) */
  async #reopen(kernel: Kernel): Promise<void> {
    kernel.handle = (await kernel.client.lookup(kernel.data, kernel.view.name)).handle
    kernel.known = new TextEncoder().encode(this.#text(kernel.view))
    kernel.refused = this.#refused
  }

  /** Appends as a kernel does: at the end that it knows, or from the start of its page on. */
  async #appendBy(kernel: Kernel, row: string): Promise<void> {
    const { view, client, handle, known } = kernel
    const added = new TextEncoder().encode(view.written(row, n => this.#below(n)))
    const from = this.#chance(0.5) ? known.length : Math.floor(known.length / 4096) * 4096
    const { file_wcc } = await client.write(handle, BigInt(from), Buffer.concat([known.subarray(from), added]))
    kernel.known = new Uint8Array(Buffer.concat([known, added]))
    if (file_wcc.after !== undefined) expect(Number(file_wcc.after.size)).toBe(kernel.known.length)
  }

  /** A client that was not told of what it wrote asks, unless its next WRITE is on its way already. */
  async #asksAgain(kernel: Kernel): Promise<void> {
    if (this.#chance(0.3)) return
    await this.#reopen(kernel)
    expect(await kernel.client.readText(kernel.handle)).toBe(this.#text(kernel.view))
  }

  readonly steps: Record<string, () => Promise<void>> = {
    append: async () => {
      const view = this.#view()
      const file = await this.#open(view)
      const added = Array.from({ length: 1 + this.#below(5) }, () => this.#newRow())
      const size = new TextEncoder().encode(this.#text(view)).length
      const from = this.#chance(0.5) ? size : Math.floor(size / 4096) * 4096
      const page = new TextDecoder('utf-8', { ignoreBOM: true })
      const before = new TextEncoder().encode(this.#text(view)).subarray(from)
      const text = this.#saved({ ...view, header: '' }, added)
      this.#expect([...this.rows, ...added])
      const bytes = new Uint8Array([...before, ...new TextEncoder().encode(text)])
      // Cut within a character it is no text, and is written in one piece.
      if (page.decode(bytes).includes('\ufffd')) await this.#end(s => s.client.write(file, BigInt(from), bytes))
      else await this.#write(file, from, page.decode(bytes))
    },
    overwrite: async () => {
      const view = this.#view()
      const file = await this.#open(view)
      const rows = this.#edited()
      await this.#send(s => s.client.setattr(file, { size: 0n }))
      await this.#write(file, 0, this.#saved(view, rows))
      this.#expect(rows)
    },
    'overwrite while another process appends': async () => {
      const view = this.#view()
      const file = await this.#open(view)
      const rows = this.#edited()
      const id = this.#id++
      await this.#send(s => s.client.setattr(file, { size: 0n }))
      await this.#write(file, 0, this.#saved(view, rows), () =>
        this.s.elsewhere(`INSERT INTO data VALUES (${id}, 'else', 'where')`),
      )
      this.#expect(rows)
      // It stands at the end, or in front of the rows that the save added there.
      const row = `${id},else,where\n`
      const shown = splitRows((await this.s.read()).slice(HEADER.length))
      expect(shown.filter(other => other !== row)).toEqual(rows)
      this.#expect(shown)
    },
    'the same text': async () => {
      const view = this.#view()
      const file = await this.#open(view)
      await this.#send(s => s.client.setattr(file, { size: 0n }))
      await this.#write(file, 0, this.#saved(view, this.rows))
    },
    'rename over': async () => {
      const view = this.#view()
      await this.#reads(view)
      const rows = this.#edited()
      await this.#replaced(view, rows, false)
      this.#expect(rows)
    },
    'perl -pi': async () => {
      const view = this.#view()
      await this.#reads(view)
      const rows = this.#edited()
      await this.#replaced(view, rows, true)
      this.#expect(rows)
    },
    vim: async () => {
      const view = this.#view()
      const rows = this.#edited()
      await this.#send(s => s.client.rename(s.data, view.name, s.data, `${view.name}~`))
      const { handle } = await this.s.client.create(this.s.data, view.name)
      await this.#write(handle, 0, this.#saved(view, rows))
      await this.s.client.remove(this.s.data, `${view.name}~`)
      this.#expect(rows)
    },
    'mv from another file system': async () => {
      const view = this.#view()
      const rows = this.#edited()
      const value = BigInt(this.#below(1 << 30))
      await this.s.client.remove(this.s.data, view.name)
      const { handle } = await this.s.client.create(this.s.data, view.name, { kind: 'EXCLUSIVE', value })
      await this.#write(handle, 0, this.#saved(view, rows))
      this.#expect(rows)
    },
    rm: async () => {
      if (!this.#chance(0.2)) return
      const { name } = this.#view()
      await this.#end(s => s.client.remove(s.data, name))
      this.#expect([])
    },
    'a patch in place': async () => {
      const view = this.#view()
      const text = this.#text(view)
      const at = text.search(view.note)
      if (at < 0) return
      const offset = new TextEncoder().encode(text.slice(0, at)).length + 2
      const file = await this.#open(view)
      const digit = String(this.#below(10))
      await this.#end(s => s.client.write(file, BigInt(offset), digit))
      const row = this.rows.findIndex(other => view.note.test(view.shown(other)))
      this.#expect(this.rows.with(row, this.rows[row]!.replace(/,n\d/, `,n${digit}`)))
    },
    'bad rows': async () => {
      const view = this.#view()
      this.#refused++
      const bad = this.#one(view.bad)
      const file = await this.#open(view)
      if (this.#chance(0.5)) {
        const { size } = await this.s.client.getattr(file)
        expect(await codeOf(this.s.client.write(file, size, view.shown(this.#newRow()) + bad))).toBe('EINVAL')
      } else {
        await this.s.client.setattr(file, { size: 0n })
        expect(await codeOf(this.s.client.write(file, 0n, this.#text(view) + bad))).toBe('EINVAL')
      }
      expect(await codeOf(this.s.client.commit(file))).toBe('ESTALE')
    },
    'another client appends': async () => {
      const kernel = this.#one(await this.#someKernels())
      for (let rows = 1 + this.#below(3); rows > 0; rows--) {
        const row = this.#newRow()
        await this.#appendBy(kernel, row)
        this.#expect([...this.rows, row])
      }
      await this.#asksAgain(kernel)
    },
    'all clients append at the same time': async () => {
      const kernels = await this.#someKernels()
      const rows = kernels.map(() => this.#newRow())
      await Promise.all(kernels.map((kernel, i) => this.#appendBy(kernel, rows[i]!)))
      const shown = splitRows((await this.s.read()).slice(HEADER.length))
      expect(shown.slice(0, this.rows.length)).toEqual(this.rows)
      expect(shown.slice(this.rows.length).toSorted()).toEqual(rows.toSorted())
      this.rows = shown
      const commits = await this.s.commits()
      expect(commits - this.commits).toBeWithin(1, kernels.length + 1)
      this.commits = commits
      for (const kernel of kernels) await this.#asksAgain(kernel)
    },
    'a statement in .query': async () => {
      const run = async (sql: string): Promise<string> => {
        const { client, root } = this.s
        const file = await client.walk(root, '.query')
        await client.setattr(file, { size: 0n })
        await client.write(file, 0n, `${sql}\n`)
        return client.readText(await client.walk(root, '.query'))
      }
      const id = this.#id++
      await run(`INSERT INTO data VALUES (${id}, 'by', 'query')`)
      this.#expect([...this.rows, `${id},by,query\n`])
      expect(await run('SELECT count(*) AS n FROM data')).toBe(`n\n${this.rows.length}\n`)
    },
    'another process appends': async () => {
      const id = this.#id++
      await this.s.elsewhere(`INSERT INTO data VALUES (${id}, 'else', 'where')`)
      this.#expect([...this.rows, `${id},else,where\n`])
    },
    'another process deletes': async () => {
      if (this.rows.length === 0) return
      const row = this.#below(this.rows.length)
      await this.s.elsewhere(`DELETE FROM data WHERE id = ${Number.parseInt(this.rows[row]!, 10)}`)
      this.#expect(this.rows.filter((_, i) => i !== row))
    },
  }

  async end(): Promise<void> {
    for (const { client } of this.#kernels) client.close()
    await this.s[Symbol.asyncDispose]()
  }

  async round(): Promise<void> {
    const name = this.#one(Object.keys(this.steps))
    this.log.push(name)
    await this.steps[name]!()
    if (this.#chance(0.1)) await this.#kill()
    for (const view of this.#chance(0.5) ? [CSV, JSONL] : [JSONL, CSV])
      expect(await this.s.read(`data/${view.name}`)).toBe(this.#text(view))
    expect(await this.s.commits()).toBe(this.commits)
    expect(this.s.server.held()).toEqual([])
  }
}

/** The values of a row of CSV. */
function objectOf(row: string): { id: number; name: string | null; note: string | null } {
  const [id, name, note] = [...row.matchAll(/("(?:[^"]|"")*"|[^",\n]*)[,\n]/g)].map(([, field]) => {
    if (field === '') return null
    return field!.startsWith('"') ? field!.slice(1, -1).replaceAll('""', '"') : field!
  })
  return { id: Number(id), name: name ?? null, note: note ?? null }
}

function splitRows(text: string): string[] {
  return text.match(/(?:"(?:[^"]|"")*"|[^"\n])*\n/g) ?? []
}

describe('any programs in any order, with other writers and crashes in between,', () => {
  const seeds = process.env['SEEDS']?.split(',').map(Number) ?? [1, 2, 3]
  for (const seed of seeds) {
    test(`leave what was saved, line by line, in one commit each (seed ${seed})`, async () => {
      const session = await Session.begin(seed)
      try {
        for (let round = 0; round < ROUNDS; round++) await session.round()
        expect(await session.s.read('.errors')).not.toContain('set aside')
      } catch (error) {
        console.error(`seed ${seed}: ${session.log.join('; ')}`)
        throw error
      } finally {
        await session.end()
      }
    }, 60_000)
  }
})
