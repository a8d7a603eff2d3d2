import { describe, expect, test } from 'bun:test'
import type { Handle } from '../nfs/client.ts'
import { seeded } from '../nfs/random.ts'
import { codeOf, HELD, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String,note:String'
const HEADER = 'id,name,note\n'
const ROUNDS = 60
/** For the times that a test wants to be over. */
const SOON = { incompleteMs: 1, pageMs: 1, truncatedMs: 1, removedMs: 1, awayMs: 1 }

type Times = { -readonly [K in keyof typeof HELD]: number }
type Call = (s: ServedTable) => Promise<unknown>

/** Random programs that save data.csv, beside a model of what it must hold and of how many commits there must be. */
class Session {
  s: ServedTable
  readonly #random: () => number
  readonly #times: Times
  readonly log: string[] = []
  rows: string[] = []
  commits = 0
  #id = 1

  private constructor(s: ServedTable, random: () => number, times: Times) {
    this.s = s
    this.#random = random
    this.#times = times
  }

  static async begin(seed: number): Promise<Session> {
    const times = { ...HELD }
    return new Session(await serveNew(DDL, '', times), seeded(seed).next, times)
  }

  get text(): string {
    return HEADER + this.rows.join('')
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

  #expect(rows: string[]): void {
    if (rows.toSorted().join('') !== this.rows.toSorted().join('')) this.commits++
    this.rows = rows
  }

  readonly steps: Record<string, () => Promise<void>> = {
    append: async () => {
      const file = await this.s.csv()
      const added = Array.from({ length: 1 + this.#below(5) }, () => this.#newRow())
      const size = new TextEncoder().encode(this.text).length
      const from = this.#chance(0.5) ? size : Math.floor(size / 4096) * 4096
      const page = new TextDecoder('utf-8', { ignoreBOM: true })
      const before = new TextEncoder().encode(this.text).subarray(from)
      const text = added.join('')
      this.#expect([...this.rows, ...added])
      const bytes = new Uint8Array([...before, ...new TextEncoder().encode(text)])
      // Cut within a character it is no text, and is written in one piece.
      if (page.decode(bytes).includes('\ufffd')) await this.#end(s => s.client.write(file, BigInt(from), bytes))
      else await this.#write(file, from, page.decode(bytes))
    },
    overwrite: async () => {
      const file = await this.s.csv()
      const rows = this.#edited()
      await this.#send(s => s.client.setattr(file, { size: 0n }))
      await this.#write(file, 0, HEADER + rows.join(''))
      this.#expect(rows)
    },
    'overwrite while another process appends': async () => {
      const file = await this.s.csv()
      const rows = this.#edited()
      const id = this.#id++
      await this.#send(s => s.client.setattr(file, { size: 0n }))
      await this.#write(file, 0, HEADER + rows.join(''), () =>
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
      const file = await this.s.csv()
      await this.#send(s => s.client.setattr(file, { size: 0n }))
      await this.#write(file, 0, this.text)
    },
    'rename over': async () => {
      const rows = this.#edited()
      const { handle } = await this.s.client.create(this.s.data, 'temp')
      await this.s.client.write(handle, 0n, HEADER + rows.join(''))
      await this.#end(s => s.client.rename(s.data, 'temp', s.data, 'data.csv'))
      this.#expect(rows)
    },
    'perl -pi': async () => {
      const rows = this.#edited()
      const { handle } = await this.s.client.create(this.s.data, 'temp')
      await this.s.client.write(handle, 0n, HEADER + rows.join(''))
      await this.#send(s => s.client.rename(s.data, 'data.csv', s.data, '.nfs01'))
      await this.#end(s => s.client.rename(s.data, 'temp', s.data, 'data.csv'))
      await this.s.client.remove(this.s.data, '.nfs01')
      this.#expect(rows)
    },
    vim: async () => {
      const rows = this.#edited()
      await this.#send(s => s.client.rename(s.data, 'data.csv', s.data, 'data.csv~'))
      const { handle } = await this.s.client.create(this.s.data, 'data.csv')
      await this.#write(handle, 0, HEADER + rows.join(''))
      await this.s.client.remove(this.s.data, 'data.csv~')
      this.#expect(rows)
    },
    'mv from another file system': async () => {
      const rows = this.#edited()
      const value = BigInt(this.#below(1 << 30))
      await this.s.client.remove(this.s.data, 'data.csv')
      const { handle } = await this.s.client.create(this.s.data, 'data.csv', { kind: 'EXCLUSIVE', value })
      await this.#write(handle, 0, HEADER + rows.join(''))
      this.#expect(rows)
    },
    rm: async () => {
      if (!this.#chance(0.2)) return
      await this.#end(s => s.client.remove(s.data, 'data.csv'))
      this.#expect([])
    },
    'a patch in place': async () => {
      const at = this.text.search(/,n\d/)
      if (at < 0) return
      const offset = new TextEncoder().encode(this.text.slice(0, at)).length + 2
      const file = await this.s.csv()
      const digit = String(this.#below(10))
      await this.#end(s => s.client.write(file, BigInt(offset), digit))
      const text = this.text.slice(HEADER.length, at + 2) + digit + this.text.slice(at + 3)
      this.#expect(splitRows(text))
    },
    'bad rows': async () => {
      const bad = this.#one(['x,Bad,row\n', '1,2\n', '1,2,3,4\n'])
      const file = await this.s.csv()
      if (this.#chance(0.5)) {
        const { size } = await this.s.client.getattr(file)
        expect(await codeOf(this.s.client.write(file, size, this.#newRow() + bad))).toBe('EINVAL')
      } else {
        await this.s.client.setattr(file, { size: 0n })
        expect(await codeOf(this.s.client.write(file, 0n, this.text + bad))).toBe('EINVAL')
      }
      expect(await codeOf(this.s.client.commit(file))).toBe('ESTALE')
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

  async round(): Promise<void> {
    const name = this.#one(Object.keys(this.steps))
    this.log.push(name)
    await this.steps[name]!()
    if (this.#chance(0.1)) await this.#kill()
    expect(await this.s.read()).toBe(this.text)
    expect(await this.s.commits()).toBe(this.commits)
    expect(this.s.server.held()).toEqual([])
  }
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
        await session.s[Symbol.asyncDispose]()
      }
    }, 60_000)
  }
})
