import { afterEach, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import { execute } from '../../src/sql/engine.ts'
import { SqlError } from '../../src/sql/errors.ts'
import { type SqlLimits, serverLimits } from '../../src/sql/limits.ts'
import { sqlProcessCommand } from '../../src/sql/program.ts'
import { linesOf } from '../../src/sql/protocol.ts'
import { beginRecord, noteAnswer, noteWritten } from '../../src/sql/record.ts'
import { type RunStatement, SqlService, type SqlServiceOptions } from '../../src/sql/service.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import type { Table } from '../../src/table/table.ts'
import { temporaryFolder } from '../helpers/temporary.ts'
import { begun, sqlProcesses, until } from './processes.ts'

/** Runs for hours, and can be interrupted at no point that we know. */
const SLOW = 'SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000000) b'

interface Bench extends AsyncDisposable {
  readonly service: SqlService
  readonly table: Table
  /** The folder of the table. */
  readonly location: string
  readonly folder: string
  run(sql: string, options?: Partial<RunStatement>): Promise<string>
  /** The error of a statement. */
  failure(sql: string, options?: Partial<RunStatement>): Promise<SqlError>
  rows(): Promise<string>
  /** What is in the table's folder beside its log. */
  files(): string[]
  /** What is left of statements in the service's own folder. */
  leftOver(): string[]
  /** The service of a server that is started after this one was killed. */
  again(options?: Partial<SqlServiceOptions>): Promise<Bench>
}

type Options = Partial<Omit<SqlServiceOptions, 'limits'>> & { limits?: Partial<SqlLimits> }

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

async function bench(options: Options = {}): Promise<Bench> {
  const temporary = temporaryFolder()
  const location = join(temporary.path, 'table')
  const table = await createTable(localStore(location), { schema: parseDdl('id:Int64,name:String') })
  opened.push({ [Symbol.asyncDispose]: async () => temporary[Symbol.dispose]() })
  return serviceOf(table, location, join(temporary.path, 'sql'), options)
}

async function serviceOf(table: Table, location: string, folder: string, options: Options): Promise<Bench> {
  const service = new SqlService({
    command: () => sqlProcessCommand(location),
    table,
    folder,
    log: () => undefined,
    ...options,
    limits: { ...serverLimits(), ...options.limits },
  })
  await service.recover()
  const run = async (sql: string, more: Partial<RunStatement> = {}): Promise<string> => {
    const answer = await service.run(sql, { readOnly: false, ...more })
    const text = new TextDecoder().decode(await answer.read(0, answer.size))
    answer.close()
    return text
  }
  const made: Bench = {
    service,
    table,
    location,
    folder,
    run,
    failure: async (sql, more) => {
      try {
        await run(sql, more)
      } catch (error) {
        if (error instanceof SqlError) return error
        throw error
      }
      throw new Error(`it did not fail: ${sql}`)
    },
    rows: () => run('SELECT id, name FROM data ORDER BY id, name'),
    files: () =>
      readdirSync(location)
        .filter(name => name !== '_delta_log')
        .sort(),
    leftOver: () => {
      const list = (name: string): string[] => (existsSync(join(folder, name)) ? readdirSync(join(folder, name)) : [])
      return [...list('processes'), ...list('statements')]
    },
    again: more => serviceOf(table, location, folder, { ...options, ...more } as Options),
    [Symbol.asyncDispose]: () => service.close(),
  }
  opened.push(made)
  return made
}

describe('statements in processes of their own', () => {
  test('give their rows in every form, and what they changed', async () => {
    const b = await bench()
    expect(await b.run(`INSERT INTO data VALUES (1, 'a'), (2, NULL)`)).toBe('inserted,updated,deleted\n2,0,0\n')
    expect(await b.run('SELECT * FROM data ORDER BY id')).toBe('id,name\n1,a\n2,\n')
    expect(await b.run('SELECT * FROM data ORDER BY id', { format: 'jsonl' })).toBe(
      '{"id":1,"name":"a"}\n{"id":2,"name":null}\n',
    )
    expect(JSON.parse(await b.run('SELECT * FROM data', { format: 'json' }))).toHaveLength(2)
    expect(await b.run('SELECT 1 AS a WHERE false', { format: 'json' })).toBe('[]\n')
    expect(await b.run(`UPDATE data SET name = 'x'`, { format: 'jsonl' })).toBe(
      '{"inserted":0,"updated":2,"deleted":0}\n',
    )
    expect(await b.run('DELETE FROM data WHERE id = 7')).toBe('inserted,updated,deleted\n0,0,0\n')
    expect(await b.run('TRUNCATE data')).toBe('inserted,updated,deleted\n0,0,2\n')
  })

  test('tell the number of rows without a process', async () => {
    const b = await bench()
    await execute(b.table, `INSERT INTO data VALUES (1, 'a'), (2, NULL)`)
    expect(await b.run('SELECT count(*) FROM data')).toBe('count_star()\n2\n')
    expect(await b.run('SELECT count(*) AS n FROM data', { format: 'json', readOnly: true })).toBe('[{"n":2}\n]\n')
    expect(b.service.processes).toBe(0)
    await b.service.end()
    expect((await b.failure('SELECT count(*) FROM data')).message).toContain('being stopped')
  })

  test('sees at once what another writer changed, and what it changed is seen', async () => {
    const b = await bench()
    expect(await b.rows()).toBe('id,name\n')
    await execute(b.table, `INSERT INTO data VALUES (1, 'theirs')`)
    expect(await b.rows()).toBe('id,name\n1,theirs\n')
    await b.run(`UPDATE data SET name = 'ours'`)
    expect((await b.table.refresh()).version).toBe(2n)
  })

  test('fail with the engine’s sentence, and the next one works', async () => {
    const b = await bench()
    expect(await b.failure('SELECT nope FROM data')).toMatchObject({ code: 'invalid_sql' })
    expect((await b.failure('SELECT * FROM nope')).message).toContain('there is no table nope')
    expect(await b.failure('SELECT 1; SELECT 2')).toMatchObject({ code: 'unsupported' })
    expect(await b.failure('')).toMatchObject({ code: 'invalid_sql' })
    expect(await b.failure(`INSERT INTO data VALUES ('x', 'y')`)).toMatchObject({ code: 'invalid_sql' })
    expect(await b.failure("COPY data TO '/tmp/x'")).toMatchObject({ code: 'unsupported' })
    expect(await b.run('SELECT 1 AS a')).toBe('a\n1\n')
    expect(sqlProcesses(b.location)).toHaveLength(1)
    expect(b.files()).toEqual([])
    expect(readdirSync(join(b.folder, 'statements'))).toEqual([])
  })

  test('that change the table are refused where it is read-only', async () => {
    const b = await bench()
    for (const [verb, sql] of [
      ['INSERT', `INSERT INTO data VALUES (1, 'a')`],
      ['DELETE', 'WITH x AS (SELECT 1) DELETE FROM data'],
      ['TRUNCATE', 'TRUNCATE data'],
      ['MERGE', 'MERGE INTO data USING x ON true WHEN MATCHED THEN DELETE'],
    ] as const) {
      const { code, message } = await b.failure(sql, { readOnly: true })
      expect(code).toBe('unsupported')
      expect(message).toStartWith(`${verb} is refused: the table is read-only here`)
    }
    expect(await b.run(`SELECT count(*) AS n FROM data WHERE 'delete' = 'x'`, { readOnly: true })).toBe('n\n0\n')
    expect(readdirSync(b.folder)).toEqual(['processes'])
  })

  test('need no process until there is one, and none when there was none for a while', async () => {
    const b = await bench({ idleMs: 50 })
    expect(sqlProcesses(b.location)).toEqual([])
    await b.run('SELECT 1')
    await until(() => sqlProcesses(b.location).length === 0)
    expect(b.service.processes).toBe(0)
    await until(() => b.leftOver().length === 0)
    expect(await b.run('SELECT 2 AS a')).toBe('a\n2\n')
  })

  test('take the process of the one before, if there is one', async () => {
    const b = await bench()
    await b.run('SELECT 1')
    const [before] = sqlProcesses(b.location)
    for (let i = 0; i < 3; i++) await b.run('SELECT 1')
    expect(sqlProcesses(b.location)).toEqual([before!])
  })

  test('run side by side, a bounded number of them; a quick one does not wait for a slow one', async () => {
    const b = await bench({ processesMax: 2, waitingMax: 1 })
    const [first, second] = [new AbortController(), new AbortController()]
    const slow = b.failure(SLOW, { signal: first.signal })
    expect(await b.run('SELECT 1 AS a')).toBe('a\n1\n')
    const slower = b.failure(SLOW, { signal: second.signal })
    await until(() => b.service.processes === 2)
    const waiting = b.run('SELECT 2 AS a')
    expect(await b.failure('SELECT 3')).toMatchObject({
      code: 'limit',
      message: '2 statements are running and 1 wait for their turn, and no more may; try again later',
    })
    first.abort()
    expect(await slow).toMatchObject({ code: 'ended' })
    expect(await waiting).toBe('a\n2\n')
    second.abort()
    await slower
  })

  test('that wait can be given up', async () => {
    const b = await bench({ processesMax: 1 })
    const [running, waiting] = [new AbortController(), new AbortController()]
    const slow = b.failure(SLOW, { signal: running.signal })
    const given = b.failure('SELECT 1', { signal: waiting.signal })
    const next = b.run('SELECT 2 AS a')
    waiting.abort()
    expect(await given).toMatchObject({ code: 'ended' })
    running.abort()
    await slow
    expect(await next).toBe('a\n2\n')
    expect(await b.failure('SELECT 1', { signal: waiting.signal })).toMatchObject({ code: 'ended' })
  })
})

describe('a statement that is ended', () => {
  test('by who asked leaves no process and no file', async () => {
    const b = await bench()
    const asker = new AbortController()
    const statement = b.failure(SLOW, { signal: asker.signal })
    await begun(b.location)
    asker.abort()
    expect(await statement).toMatchObject({ code: 'ended', message: expect.stringContaining('is gone') })
    await until(() => sqlProcesses(b.location).length === 0)
    await until(() => b.leftOver().length === 0)
  })

  test('in the middle of a change has changed nothing', async () => {
    const b = await bench({ limits: { memoryBytes: 64e6 } })
    await b.run(`INSERT INTO data VALUES (1, 'a')`)
    const before = b.files()
    for (const sql of [
      `INSERT INTO data SELECT range, repeat('x', 100) FROM range(1000000000)`,
      'INSERT INTO data SELECT range % 3, range::VARCHAR FROM range(1000000000) WHERE range % 2 = 0',
    ]) {
      const asker = new AbortController()
      const statement = b.failure(sql, { signal: asker.signal })
      // It has come as far as writing, or to the disk for what does not fit into memory.
      await until(() => b.files().length > before.length || spilled(b))
      asker.abort()
      expect(await statement).toMatchObject({ code: 'ended' })
      expect(b.files()).toEqual(before)
      expect(readdirSync(join(b.folder, 'statements')).length).toBe(1)
    }
    expect(await b.rows()).toBe('id,name\n1,a\n')
  }, 60_000)

  test('when the service is closed, is told so', async () => {
    const b = await bench()
    const statements = [SLOW, `INSERT INTO data SELECT range, 'x' FROM range(1000000000)`].map(sql => b.failure(sql))
    await begun(b.location, 2)
    await b.service.close()
    for (const statement of statements)
      expect(await statement).toMatchObject({ code: 'ended', message: expect.stringContaining('being stopped') })
    expect(await b.failure('SELECT 1')).toMatchObject({ code: 'ended' })
    expect(sqlProcesses(b.location)).toEqual([])
    expect(b.leftOver()).toEqual([])
    expect(b.files()).toEqual([])
  })
})

function spilled(b: Bench): boolean {
  const processes = join(b.folder, 'processes')
  return readdirSync(processes).some(name => {
    const spill = join(processes, name, 'spill')
    return existsSync(spill) && readdirSync(spill).length > 0
  })
}

describe('the limits of a statement', () => {
  test('say which one was met, and by which flag it is set', async () => {
    const hasty = await bench({ limits: { timeoutMs: 500 } })
    expect(await hasty.failure(SLOW)).toMatchObject({
      code: 'limit',
      message: 'the statement was ended after 500ms, the longest that --query-timeout allows',
    })
    const b = await bench({ limits: { resultBytes: 1000 } })
    expect(await b.failure('SELECT * FROM range(1000)')).toMatchObject({
      code: 'limit',
      message: expect.stringMatching(/^the result is larger than --query-result allows \(1kB\)/),
    })
    expect(await b.run('SELECT * FROM range(10)')).toHaveLength(26)
    expect(b.files()).toEqual([])
  })

  test('hold for waiting, too', async () => {
    const b = await bench({ processesMax: 1, limits: { timeoutMs: 500 } })
    const [running, waiting] = [b.failure(SLOW), b.failure(SLOW)]
    expect((await running).message).toContain('was ended after 500ms')
    expect((await waiting).message).toMatch(/waited 500ms for its turn|was ended after 500ms/)
  })

  test('bound what the engine keeps in memory', async () => {
    const b = await bench({ limits: { memoryBytes: 64e6 } })
    expect(
      await b.failure("SELECT length(string_agg(repeat(range::VARCHAR, 1000), '')) FROM range(1000000)"),
    ).toMatchObject({
      code: 'limit',
      message:
        'the statement needs more memory than --query-memory allows (64MB); ask for less at once, or allow it more',
    })
    // What can go to the disk goes there.
    expect(
      await b.run(
        "SELECT count(*) AS n FROM (SELECT range AS a, range::VARCHAR || repeat('x', 50) AS t FROM range(2000000) ORDER BY t LIMIT 1900000)",
      ),
    ).toBe('n\n1900000\n')
  }, 60_000)

  test('bound what the process takes beyond what the engine counts', async () => {
    const b = await bench({ limits: { memoryBytes: 64e6 } })
    // A batch of large values is copied on its way into the result.
    const sql = `SELECT repeat('x', 4000000 + range::INT) FROM range(100000)`
    expect(await b.failure(sql)).toMatchObject({ code: 'limit', message: expect.stringContaining('--query-memory') })
    expect(await b.run('SELECT 1 AS a')).toBe('a\n1\n')
  }, 60_000)
})

describe('a process that dies', () => {
  const killOne = async (b: Bench): Promise<void> => {
    await until(() => sqlProcesses(b.location).length > 0)
    for (const { pid } of sqlProcesses(b.location)) process.kill(pid, 'SIGKILL')
  }

  test('is an error of its statement alone', async () => {
    const b = await bench({ processesMax: 2 })
    const doomed = b.failure(SLOW)
    await begun(b.location)
    await killOne(b)
    const { code, message } = await doomed
    expect({ code, message }).toEqual({
      code: 'failed',
      message:
        'the process that ran the statement died (SIGKILL); perhaps the machine had no memory left, see --query-memory; other statements are not affected',
    })
    expect(await b.run('SELECT 1 AS a')).toBe('a\n1\n')
    await until(() => b.leftOver().length === 1)
  })

  test('while it is idle is an error of none', async () => {
    const b = await bench()
    for (let i = 0; i < 5; i++) {
      expect(await b.run('SELECT 1 AS a')).toBe('a\n1\n')
      await killOne(b)
    }
  })

  test('at once, whenever it is started, is a sentence', async () => {
    const b = await bench({ command: () => ['/bin/false'] })
    expect(await b.failure('SELECT 1')).toMatchObject({
      code: 'unavailable',
      message: 'no process for SQL stays alive: exit status 1',
    })
    const none = await bench({ command: () => ['/nonexistent/posixlake'] })
    expect(await none.failure('SELECT 1')).toMatchObject({ code: 'unavailable' })
    const talker = await bench({ command: () => ['/bin/sh', '-c', 'echo hello; cat >/dev/null'] })
    expect((await talker.failure('SELECT 1')).code).toBe('unavailable')
    await until(() => talker.leftOver().length === 0)
  })

  test('at any moment of a change: what is told of it is so, and nothing else is left', async () => {
    const b = await bench()
    await b.run(`INSERT INTO data VALUES (0, 'first')`)
    let expected = 1
    const told: string[] = []
    for (let i = 1; i <= 24; i++) {
      const statement = b.run(`INSERT INTO data VALUES (${i}, 'row ${i}')`)
      const killed = Bun.sleep(i * 2).then(() => killOne(b))
      const outcome = await statement.then(
        text => text,
        (error: SqlError) => error.code,
      )
      await killed
      told.push(outcome)
      expect(['inserted,updated,deleted\n1,0,0\n', 'failed']).toContain(outcome)
      if (outcome !== 'failed') expected++
      expect(await b.run(`SELECT count(*) AS n FROM data`)).toBe(`n\n${expected}\n`)
      expect(b.files().filter(name => name.endsWith('.parquet'))).toHaveLength(expected)
      expect(b.files().filter(name => !name.endsWith('.parquet'))).toEqual([])
    }
  }, 60_000)
})

describe('a changing statement that comes once more', () => {
  const sql = `INSERT INTO data VALUES (1, 'a')`
  const done = 'inserted,updated,deleted\n1,0,0\n'

  test('by the same call is answered and not run again; by another it is another one', async () => {
    const b = await bench()
    expect(await b.run(sql, { call: 'client 1' })).toBe(done)
    expect(await b.run(sql, { call: 'client 1' })).toBe(done)
    expect(await b.rows()).toBe('id,name\n1,a\n')
    expect(await b.run(sql, { call: 'client 2' })).toBe(done)
    expect(await b.run(sql)).toBe(done)
    expect(await b.rows()).toBe('id,name\n1,a\n1,a\n1,a\n')
  })

  test('is known after the server was killed, too', async () => {
    const b = await bench()
    await b.run(sql, { call: 'client 1' })
    const after = await b.again()
    expect(await after.run(sql, { call: 'client 1' })).toBe(done)
    expect(await after.rows()).toBe('id,name\n1,a\n')
    expect(await after.run(sql, { call: 'client 9' })).toBe(done)
    expect(await after.rows()).toBe('id,name\n1,a\n1,a\n')
  })

  const header = (call: string | undefined) => ({
    txnId: 'the-transaction',
    sql,
    base: '0',
    call,
    process: { pid: 2 ** 22 + 1, startTicks: '1' },
    begunMs: 1,
  })

  test('is known if the server was killed before it could answer, whoever repeats it, once', async () => {
    const b = await bench()
    await beginRecord(join(b.folder, 'statements'), header('client 1'))
    await execute(b.table, sql, { txnId: 'the-transaction' })
    const after = await b.again()
    expect(await after.run(sql, { call: 'client 7' })).toBe(done)
    expect(await after.rows()).toBe('id,name\n1,a\n')
    expect(await after.run(sql, { call: 'client 8' })).toBe(done)
    expect(await after.rows()).toBe('id,name\n1,a\n1,a\n')
  })

  test('runs if nothing had come of it, and what it left is gone', async () => {
    const b = await bench()
    const record = await beginRecord(join(b.folder, 'statements'), header('client 1'))
    for (const name of ['part-0.parquet', '.posixlake-0.tmp', '_delta_log/.posixlake-1.tmp'])
      writeFileSync(join(b.location, name), 'x')
    noteWritten(record, { temporary: '.posixlake-0.tmp', path: 'part-0.parquet' })
    noteWritten(record, { temporary: '_delta_log/.posixlake-1.tmp', path: '_delta_log/00000000000000000000.json' })
    mkdirSync(join(b.folder, 'processes', 'left', 'spill'), { recursive: true })
    const after = await b.again()
    expect(after.leftOver()).toEqual([])
    expect(after.files()).toEqual([])
    expect(readdirSync(join(b.location, '_delta_log'))).toEqual(['00000000000000000000.json'])
    expect(await after.run(sql, { call: 'client 1' })).toBe(done)
    expect(await after.rows()).toBe('id,name\n1,a\n')
  })

  test('waits until the process of the server before is gone', async () => {
    const b = await bench()
    const stray = Bun.spawn(['sleep', '1000'])
    const startTicks = (await Bun.file(`/proc/${stray.pid}/stat`).text()).replace(/^.*\) /s, '').split(' ')[19]
    await beginRecord(join(b.folder, 'statements'), { ...header('x'), process: { pid: stray.pid, startTicks } })
    await b.again()
    await stray.exited
    expect(stray.signalCode).toBe('SIGKILL')
    // Another process that has its number by now is left alone.
    const other = Bun.spawn(['sleep', '1000'])
    await beginRecord(join(b.folder, 'statements'), {
      ...header('x'),
      txnId: 'another',
      process: { pid: other.pid, startTicks: '1' },
    })
    await b.again()
    expect(other.exitCode).toBeNull()
    other.kill()
    await other.exited
  })

  test('after nobody could tell what came of it, is found out about first', async () => {
    for (const isCommitted of [false, true]) {
      const b = await bench()
      let isReadable = true
      const table: Table = new Proxy(b.table, {
        get: (target, name) => {
          if (name === 'refresh' && !isReadable) return () => Promise.reject(new Error('the disk reports an error'))
          const value: unknown = Reflect.get(target, name, target)
          return typeof value === 'function' ? value.bind(target) : value
        },
      })
      const after = await b.again({ table })
      const slow = `INSERT INTO data SELECT 1, 'a' FROM range(1000000000) LIMIT ${isCommitted ? 1 : 2}`
      isReadable = false
      const statement = after.failure(slow, { call: 'client 1' })
      await until(() => sqlProcesses(b.location).length > 0 && b.leftOver().some(name => name.endsWith('.statement')))
      for (const { pid } of sqlProcesses(b.location)) process.kill(pid, 'SIGKILL')
      expect(await statement).toMatchObject({ code: 'undecided', message: expect.stringContaining('is not known') })
      expect(await after.failure(slow, { call: 'client 2' })).toMatchObject({ code: 'undecided' })
      isReadable = true
      const [record = ''] = readdirSync(join(b.folder, 'statements'))
      if (isCommitted) await execute(b.table, sql, { txnId: record.replace(/\..*/, '') })
      const count = isCommitted ? 1 : 2
      expect(await after.run(slow, { call: 'client 3' })).toBe(`inserted,updated,deleted\n${count},0,0\n`)
      expect(await after.run('SELECT count(*) AS n FROM data')).toBe(`n\n${count}\n`)
    }
  }, 30_000)

  test('is forgotten after a while, and a record that is damaged is none', async () => {
    const b = await bench()
    const folder = join(b.folder, 'statements')
    const record = await beginRecord(folder, header('client 1'))
    await noteAnswer(record, {
      changed: { kind: 'changed', version: '1', inserted: 1, updated: 0, deleted: 0 },
      answeredMs: 1,
    })
    writeFileSync(join(folder, 'cut.statement'), '{"header":{"txn')
    writeFileSync(join(folder, 'empty.statement'), '')
    const after = await b.again()
    expect(await after.run(sql, { call: 'client 1' })).toBe(done)
    expect(await after.rows()).toBe('id,name\n1,a\n')
  })
})

describe('the messages between a server and its process', () => {
  test('are lines, however they arrive', async () => {
    const lines = async (...chunks: string[]): Promise<string[]> => {
      const stream = async function* () {
        for (const chunk of chunks) yield new TextEncoder().encode(chunk)
      }
      return Array.fromAsync(linesOf(stream()))
    }
    expect(await lines('a\nb', 'c\n', '\n', 'd')).toEqual(['a', 'bc', ''])
    const bytes = new TextEncoder().encode('ä\n')
    const split = async function* () {
      yield bytes.subarray(0, 1)
      yield bytes.subarray(1)
    }
    expect(await Array.fromAsync(linesOf(split()))).toEqual(['ä'])
    expect(lines('x'.repeat(17 << 20))).rejects.toThrow('has no end')
  })

  test('hold SQL of any length and any letters', async () => {
    const b = await bench()
    const text = `'\u0000 is no letter of SQL'`
    expect((await b.failure(`SELECT ${text}`)).code).toBe('invalid_sql')
    const letters = 'ü\t\\'.repeat(100_000)
    expect(await b.run(`SELECT '${letters}' AS a, 'insert' AS b`)).toBe(`a,b\n${letters},insert\n`)
    expect(readdirSync(join(b.folder, 'statements'))).toEqual([])
  })
})
