import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startMinio } from '../helpers/minio.ts'
import type { StoreServer } from '../helpers/store-server.ts'
import { TableServer } from '../s3/table-server.ts'
import { BINARY, python, Spark } from './environment.ts'

const ROUNDS = 6
const ROWS_AT_ONCE = 2

let minio: StoreServer
let folder = ''
let interpreter = ''

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'posixlake-interop-s3-'))
  interpreter = python()
  minio = await startMinio()
}, 900_000)
afterAll(async () => {
  await minio[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

/** The environment of a machine of its own. */
function machine(name: string): Record<string, string> {
  const home = join(folder, name)
  mkdirSync(home, { recursive: true })
  const places = { HOME: home, XDG_STATE_HOME: join(home, 'state'), XDG_CACHE_HOME: join(home, 'cache') }
  return { PATH: process.env['PATH'] ?? '', ...minio.environment, AWS_ALLOW_HTTP: 'true', ...places }
}

async function run(env: Record<string, string>, ...command: readonly string[]): Promise<string> {
  const child = Bun.spawn([...command], { cwd: '/', env, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' })
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()])
  if ((await child.exited) !== 0) throw new Error(`${command.slice(0, 4).join(' ')}: ${err}`)
  return out
}

async function engine(...args: readonly string[]): Promise<unknown> {
  return JSON.parse(await run(machine('engine'), interpreter, join(import.meta.dir, 'engines.py'), ...args))
}

test('two servers, SQL and delta-rs append to one table on S3 at once: each row is there once, for all of them', async () => {
  const table = 's3://posixlake-test/many-writers'
  const expected = new Map<number, string>()
  const rowsOf = (writer: number, round: number, name: string): string[] =>
    Array.from({ length: ROWS_AT_ONCE }, (_, i) => {
      const id = writer * 1000 + round * 10 + i
      expected.set(id, name)
      return `${id},${name}`
    })
  await run(machine('maker'), BINARY, 'create', table, '--schema', 'id:Int64,name:String')
  const servers = [new TableServer(machine('one'), table), new TableServer(machine('two'), table)]
  try {
    await Promise.all(servers.map(server => server.start()))
    const appending = servers.map(async (server, i) => {
      for (let round = 0; round < ROUNDS; round++)
        await server.append(
          rowsOf(i + 1, round, `server ${i}`)
            .map(row => `${row}\n`)
            .join(''),
        )
    })
    const inserting = (async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const values = rowsOf(3, round, 'SQL').map(row => `(${row.replace(',', ", '")}')`)
        await run(machine('sql'), BINARY, 'query', table, `INSERT INTO data VALUES ${values.join(', ')}`)
      }
    })()
    const batches = Array.from({ length: ROUNDS }, (_, round) =>
      rowsOf(4, round, 'delta-rs').map(row => ({ id: Number(row.split(',')[0]), name: 'delta-rs' })),
    )
    await Promise.all([...appending, inserting, engine('rust_append_each', table, JSON.stringify(batches))])
    const all = [...expected].sort(([a], [b]) => a - b)
    expect(await engine('rust_rows', table, 'SELECT id, name FROM data ORDER BY id')).toEqual(all)
    const ours = await run(
      machine('reader'),
      BINARY,
      'query',
      table,
      'SELECT * FROM data ORDER BY id',
      '--format',
      'csv',
    )
    expect(ours).toBe(`id,name\n${all.map(row => `${row.join(',')}\n`).join('')}`)
    // And once a row is deleted, which delta-rs reads, and edited through a server.
    await run(machine('sql'), BINARY, 'query', table, 'DELETE FROM data WHERE id = 1000')
    await Bun.sleep(1500)
    await servers[1]!.edit(text => text.replace('2000,server 1\n', '2000,edited\n'))
    const edited = all.filter(([id]) => id !== 1000).map(([id, name]) => [id, id === 2000 ? 'edited' : name])
    expect(await engine('rust_rows', table, 'SELECT id, name FROM data ORDER BY id')).toEqual(edited)
  } finally {
    for (const server of servers) await server.kill()
  }
}, 240_000)

test('Spark reads through S3A what SQL and a server wrote, and changes it; each sees at once what the other did', async () => {
  const [table, delta] = ['s3://posixlake-test/turns', 'delta.`s3a://posixlake-test/turns`']
  const sql = (statement: string, ...options: readonly string[]): Promise<string> =>
    run(machine('sql'), BINARY, 'query', table, statement, ...options)
  const ours = (): Promise<string> => sql('SELECT * FROM data ORDER BY id', '--format', 'csv')
  await run(machine('maker'), BINARY, 'create', table, '--schema', 'id:Int64,name:String')
  const server = new TableServer(machine('one'), table)
  const spark = await Spark.start(join(folder, 'spark.log'), machine('spark'))
  try {
    await server.start()
    await server.append('1,appended\n2,appended\n3,appended\n')
    await server.edit(text => text.replace('2,appended\n', '').replace('3,appended', '3,edited'))
    await sql("INSERT INTO data VALUES (4, 'SQL'), (5, 'SQL')")
    const rows = [
      [1, 'appended'],
      [3, 'edited'],
      [4, 'SQL'],
      [5, 'SQL'],
    ]
    expect(await spark.sql(`SELECT id, name FROM ${delta} ORDER BY id`)).toEqual(rows)
    await spark.sql(
      `INSERT INTO ${delta} VALUES (6, 'Spark')`,
      `MERGE INTO ${delta} t USING (SELECT 3L id UNION ALL SELECT 7L) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET name = 'merged' WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, 'new')`,
    )
    expect(await ours()).toBe('id,name\n1,appended\n3,merged\n4,SQL\n5,SQL\n6,Spark\n7,new\n')
    // The server is asked a second after the last look at the table at the earliest.
    await Bun.sleep(1500)
    await server.edit(text => text.replace('7,new', '7,edited').replace('4,SQL\n', ''))
    await server.append('8,appended\n')
    const edited = [...rows.slice(0, 1), [3, 'merged'], [5, 'SQL'], [6, 'Spark'], [7, 'edited'], [8, 'appended']]
    expect(await spark.sql(`SELECT id, name FROM ${delta} ORDER BY id`)).toEqual(edited)
    expect(await run(machine('checker'), BINARY, 'check', table)).toBe('')
  } finally {
    await server.kill()
    await spark.stop()
  }
}, 300_000)
