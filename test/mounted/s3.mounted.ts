import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startMinio } from '../helpers/minio.ts'
import type { StoreServer } from '../helpers/store-server.ts'
import { BINARY, must, type Result, run } from './harness.ts'

const PEOPLE = 'id,name,age,city\n1,Alice,30,Oslo\n2,Bob,25,Bergen\n3,Carl,41,Oslo\n'

let minio: StoreServer
let folder = ''

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'posixlake-s3-'))
  writeFileSync(join(folder, 'people.csv'), PEOPLE)
  minio = await startMinio()
  // All that is started from here on finds it.
  Object.assign(process.env, minio.environment)
}, 600_000)
afterAll(async () => {
  // Whatever a test that failed left mounted.
  for (const name of readdirSync(folder).filter(name => name.startsWith('mount')))
    await run([BINARY, 'unmount', join(folder, name), '--force'])
  await minio[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true, force: true })
})

let count = 0

/** A table on S3, mounted. */
async function mounted(): Promise<{
  table: string
  mount: string
  csv: string
  sh: (command: string) => Promise<Result>
}> {
  const table = `s3://posixlake-test/people-${count++}`
  const mount = join(folder, `mount-${count}`)
  mkdirSync(mount)
  await must([BINARY, 'create', table, '--from-csv', join(folder, 'people.csv')])
  await must([BINARY, 'mount', table, mount])
  return { table, mount, csv: `${mount}/data/data.csv`, sh: command => run(['bash', '-c', command], mount) }
}

async function operations(table: string): Promise<string[]> {
  const lines = (await must([BINARY, 'history', table, '--format', 'jsonl'])).trimEnd().split('\n')
  return lines.map(line => (JSON.parse(line) as { operation: string }).operation).reverse()
}

describe('a mounted table on S3', () => {
  test('is read and changed like a local one, with one commit for each save', async () => {
    const { table, mount, csv, sh } = await mounted()
    expect((await sh(`grep Alice ${csv}`)).stdout).toBe('1,Alice,30,Oslo\n')
    expect(await sh(`echo '5,Eve,33,Oslo' >> ${csv}`)).toMatchObject({ code: 0, stderr: '' })
    expect(await sh(`sed -i 's/Bob/BOB/' ${csv}`)).toMatchObject({ code: 0, stderr: '' })
    expect(await sh(`sed -i '/Carl/d' ${csv}`)).toMatchObject({ code: 0, stderr: '' })
    expect((await sh(`cat ${csv}`)).stdout).toBe('id,name,age,city\n1,Alice,30,Oslo\n2,BOB,25,Bergen\n5,Eve,33,Oslo\n')
    expect((await sh(`cat data/data.jsonl | wc -l`)).stdout.trim()).toBe('3')
    expect((await operations(table)).length).toBe(4)
    expect((await must([BINARY, 'cat', table])).split('\n').length).toBe(5)
    await must([BINARY, 'unmount', mount])
  })

  test('is edited by all that people edit a local one with, one commit for each save', async () => {
    const { table, mount, csv, sh } = await mounted()
    const rewritten = PEOPLE.replace('Bob', 'Bert')
    const rows = PEOPLE.slice(PEOPLE.indexOf('\n') + 1)
    const python = (code: string): string => `python3 -c "${code}"`
    // Each with what is in the table then, and with how many commits it made.
    const ways: readonly (readonly [command: string, text: string, commits: number])[] = [
      [`cat > ${csv} < /tmp/people`, PEOPLE, 0],
      [`cp /tmp/rewritten ${csv}`, rewritten, 1],
      [`tee ${csv} < /tmp/people > /dev/null`, PEOPLE, 1],
      [`tail -n +2 /tmp/people | sed 's/^/1/' | tee -a ${csv}`, PEOPLE + rows.replace(/^/gm, '1').slice(0, -1), 1],
      [`sed -i '/^1.,/d' ${csv}`, PEOPLE, 1],
      [`perl -pi -e 's/Bob/Bert/' ${csv}`, rewritten, 1],
      [`ex -s +'%s/Bert/Bob/' +wq ${csv}`, PEOPLE, 1],
      [`printf ',s/Bob/Bert/\nw\nq\n' | ed -s ${csv}`, rewritten, 1],
      [`grep -v Carl ${csv} > data/part && mv data/part ${csv}`, rewritten.replace('3,Carl,41,Oslo\n', ''), 1],
      [`rsync --inplace --checksum /tmp/people ${csv}`, PEOPLE, 1],
      [
        python(`f = open('${csv}', 'r+'); t = f.read(); f.seek(0); f.write(t.replace('Bob', 'Bert')); f.close()`),
        rewritten,
        1,
      ],
      [`{ head -n 1; sort -r; } < ${csv} > /tmp/sorted; cp /tmp/sorted ${csv}`, rewritten, 0],
      [`: > ${csv}`, 'id,name,age,city\n', 1],
      [`tail -n +2 /tmp/people >> ${csv}`, PEOPLE, 1],
    ]
    await Bun.write('/tmp/people', PEOPLE)
    await Bun.write('/tmp/rewritten', rewritten)
    const version = async (): Promise<number> =>
      (JSON.parse((await sh('cat .stats')).stdout) as { version: number }).version
    for (const [command, text, commits] of ways) {
      const before = await version()
      expect({ command, ...(await sh(command)) }).toMatchObject({ command, code: 0, stderr: '' })
      // The name may be held for a moment, as of a file that was emptied.
      for (const untilMs = performance.now() + 20_000; performance.now() < untilMs; await Bun.sleep(100))
        if ((await sh(`cat ${csv}`)).stdout === text && (await version()) === before + commits) break
      const shown = { text: (await sh(`cat ${csv}`)).stdout, commits: (await version()) - before }
      expect({ command, ...shown }).toEqual({ command, text, commits })
    }
    expect((await sh('cat .errors')).stdout).toBe('')
    expect(await must([BINARY, 'cat', table])).toBe(PEOPLE)
    await must([BINARY, 'unmount', mount])
  }, 300_000)

  test('is queried and changed by SQL in the mount, and seen at once', async () => {
    const { mount, csv, sh } = await mounted()
    expect(
      (await sh(`echo 'SELECT city, count(*) AS n FROM data GROUP BY city ORDER BY city' > .query; cat .query`)).stdout,
    ).toBe('city,n\nBergen,1\nOslo,2\n')
    expect((await sh(`echo "UPDATE data SET age = age + 1" > .query; cat ${csv}`)).stdout).toContain('1,Alice,31,Oslo')
    await must([BINARY, 'unmount', mount])
  })

  test('shows what other machines commit within two seconds', async () => {
    const { table, mount, csv, sh } = await mounted()
    await sh(`cat ${csv}`)
    // Another machine has another state folder, and does not know of this mount.
    const elsewhere = { XDG_STATE_HOME: join(folder, 'elsewhere'), XDG_RUNTIME_DIR: join(folder, 'elsewhere') }
    mkdirSync(join(folder, 'elsewhere'), { recursive: true })
    const insert = [BINARY, 'query', table, "INSERT INTO data VALUES (9, 'Ida', 20, 'Bod\u00f8')"]
    expect(await run(insert, '/', elsewhere)).toMatchObject({ code: 0 })
    const committedMs = performance.now()
    while (!(await sh(`cat ${csv}`)).stdout.includes('9,Ida,20,Bod\u00f8')) {
      if (performance.now() - committedMs > 30_000) throw new Error('it was never shown')
      await Bun.sleep(50)
    }
    await must([BINARY, 'unmount', mount])
  })

  test("keeps the users' own files on this machine, where status says", async () => {
    const { table, mount, sh } = await mounted()
    expect(await sh('mkdir notes; echo text > notes/a.txt')).toMatchObject({ code: 0 })
    const [status] = JSON.parse(await must([BINARY, 'status', mount, '--format', 'json'])) as {
      state: string
      table: string
    }[]
    expect(status!.table).toBe(`${table}?endpoint=${minio.endpoint}`)
    expect(readdirSync(join(status!.state, '..', 'files', 'notes'))).toEqual(['a.txt'])
    expect(await must([BINARY, 'status', table])).toContain(status!.state)
    await must([BINARY, 'unmount', mount])
    await must([BINARY, 'mount', table, mount])
    expect((await sh('cat notes/a.txt')).stdout).toBe('text\n')
    await must([BINARY, 'unmount', mount])
  })

  test('has no key on a command line but that of its user, nor in its log or status', async () => {
    const { AWS_ACCESS_KEY_ID = '', AWS_SECRET_ACCESS_KEY = '' } = minio.environment
    const table = `s3://posixlake-test/people-${count++}`
    const mount = join(folder, 'mount-keys')
    mkdirSync(mount)
    const none = { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' }
    const keys = ['--access-key', AWS_ACCESS_KEY_ID, '--secret-key', AWS_SECRET_ACCESS_KEY]
    expect(await run([BINARY, 'create', table, '--schema', 'id:Int64', ...keys], '/', none)).toMatchObject({ code: 0 })
    expect(await run([BINARY, 'mount', table, mount, ...keys], '/', none)).toMatchObject({ code: 0 })
    // The server, and a process of it for SQL.
    await must([
      'bash',
      '-c',
      `echo 1 >> ${mount}/data/data.csv; echo 'SELECT 1' > ${mount}/.query; cat ${mount}/.query`,
    ])
    const status = await must([BINARY, 'status', mount, '--format', 'json'])
    const [{ log }] = JSON.parse(status) as [{ log: string }]
    const shown = status + (await must(['ps', '-eo', 'args'])) + readFileSync(log, 'utf8')
    expect(shown).not.toContain(AWS_SECRET_ACCESS_KEY)
    expect(shown).not.toContain(AWS_ACCESS_KEY_ID)
    await must([BINARY, 'unmount', mount])
  })

  test('keeps what is saved while the store is away, refuses it in time, and goes on when it is back', async () => {
    const { table, mount, csv, sh } = await mounted()
    await sh(`cat ${csv}`)
    await minio.stop()
    // What was read before is there still.
    expect(await sh(`cat ${csv}`)).toMatchObject({ code: 0, stdout: PEOPLE })
    // A shell does not tell of a close that failed: fsync does.
    const append = (row: string): Promise<Result> =>
      run([
        'python3',
        '-c',
        `import os; f = open('${csv}', 'a'); f.write('${row}\\n'); f.flush(); os.fsync(f.fileno())`,
      ])
    expect((await append('7,Gil,50,Oslo')).code).not.toBe(0)
    const errors = async (): Promise<string> => (await sh('cat .errors')).stdout
    expect(await errors()).toContain('cannot be reached')
    await minio.start()
    // A store that is just back may refuse for a moment: each time it says so, and once all is well again.
    const refused: string[] = []
    for (let end = await append('8,Hal,51,Oslo'); end.code !== 0; end = await append('8,Hal,51,Oslo')) {
      refused.push(`${end.stderr}\n${await errors()}`)
      console.error(refused.at(-1))
      expect(refused.length).toBeLessThan(5)
    }
    expect(await must([BINARY, 'cat', table])).toBe(`${PEOPLE}8,Hal,51,Oslo\n`)
    expect((await sh(`cat ${csv}`)).stdout).toBe(`${PEOPLE}8,Hal,51,Oslo\n`)
    await must([BINARY, 'unmount', mount])
  }, 300_000)
})
