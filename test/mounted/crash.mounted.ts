import { describe, expect, test } from 'bun:test'
import { mkdirSync, readFileSync } from 'node:fs'
import { ask } from '../../src/serve/control.ts'
import { readRecords, type ServerRecord } from '../../src/serve/registry.ts'
import { BINARY, type Mounted, mountTable, must, run } from './harness.ts'

const HEADER = 'id,name\n'

function recordOf({ table }: Mounted): ServerRecord {
  const record = readRecords().find(known => known.location === table)
  if (record === undefined) throw new Error(`no server of ${table} is known`)
  return record
}

/** kill -9, and the daemon's own command line once more. */
async function crash(m: Mounted): Promise<void> {
  const record = recordOf(m)
  process.kill(record.pid, 'SIGKILL')
  while (await isAlive(record.pid)) await Bun.sleep(1)
  const server = Bun.spawn([...record.command], {
    cwd: '/',
    env: process.env,
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'inherit',
  })
  server.unref()
  while (recordOf(m).pid !== server.pid || (await ask(m.table, 'status')) === undefined) await Bun.sleep(5)
}

async function isAlive(pid: number): Promise<boolean> {
  const state = /^State:\s+(\w)/m.exec(
    await Bun.file(`/proc/${pid}/status`)
      .text()
      .catch(() => ''),
  )?.[1]
  return state !== undefined && state !== 'Z'
}

/** The ports that this machine is connected from to a server, in the order of proc(5), /proc/net/tcp. */
function clientPorts(m: Mounted): string[] {
  const server = recordOf(m).port.toString(16).toUpperCase().padStart(4, '0')
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map(line => line.trim().split(/\s+/))
    .flatMap(([, local, remote, state]) => (state === '01' && remote?.endsWith(`:${server}`) ? [local!] : []))
    .toSorted()
}

/** The rows as another reader of Delta's log and Parquet sees them. */
async function rowsBySql(m: Mounted): Promise<string> {
  const { code, stdout, stderr } = await run([BINARY, 'query', m.table, 'SELECT * FROM data', '--format', 'csv'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

describe('a server that is killed at any moment and started again', () => {
  test('loses no row whose program was told that it is saved, and doubles none', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String' })
    const rows = 60
    const writer = m.sh(`for i in $(seq ${rows}); do echo "$i,row $i" >> data/data.csv || exit 1; done`)
    for (let kills = 1; kills <= 6; kills++) {
      // Another moment of a commit each time: after so many commits and so many milliseconds.
      const from = await m.commits()
      while ((await m.commits()) < from + 2) await Bun.sleep(1)
      await Bun.sleep(kills * 3)
      await crash(m)
    }
    expect(await writer).toEqual({ code: 0, stdout: '', stderr: '' })
    await m.settle()
    const expected = HEADER + Array.from({ length: rows }, (_, i) => `${i + 1},row ${i + 1}\n`).join('')
    expect(await m.read()).toBe(expected)
    expect(await rowsBySql(m)).toBe(expected)
    expect(await m.commits()).toBe(rows + 1)
    await m.close()
  }, 240_000)

  test('brings an overwrite of megabytes to its end, in one commit, whenever it is killed', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String' })
    const text = (version: number): string =>
      HEADER +
      Array.from({ length: 60_000 }, (_, i) => `${i},version ${i % 7 === 0 ? version : 0} of row ${i}\n`).join('')
    await m.write('/tmp/v0', text(0))
    await m.sh('cp /tmp/v0 data/data.csv')
    await m.settle()
    for (const [version, delayMs] of [30, 250, 700].entries()) {
      const commits = await m.commits()
      await m.write('/tmp/v', text(version + 1))
      const save = m.sh('cp /tmp/v data/data.csv')
      await Bun.sleep(delayMs)
      await crash(m)
      expect(await save).toEqual({ code: 0, stdout: '', stderr: '' })
      await m.settle()
      expect((await m.read()) === text(version + 1)).toBe(true)
      expect(await m.commits()).toBe(commits + 1)
    }
    expect((await rowsBySql(m)).length).toBe(text(3).length)
    await m.close()
  }, 240_000)

  test('ends sed -i, which renames, exactly once', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String' })
    await m.sh(`printf 'id,name\\n1,a0\\n2,b\\n' > data/data.csv`)
    await m.settle()
    for (let i = 0; i < 4; i++) {
      const commits = await m.commits()
      const save = m.sh(`sed -i 's/a${i}/a${i + 1}/' data/data.csv`)
      await Bun.sleep(5 + i * 15)
      await crash(m)
      expect(await save).toEqual({ code: 0, stdout: '', stderr: '' })
      expect(await m.read()).toBe(`id,name\n1,a${i + 1}\n2,b\n`)
      expect(await m.commits()).toBe(commits + 1)
    }
    await m.close()
  }, 240_000)

  test('does each of many saves of different kinds that its program was told of, and no other, once', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String' })
    await m.sh(`printf 'id,name\\n0,v0\\n' > data/data.csv`)
    await m.settle()
    const saves = 45
    // Who fails is told so, and goes on with the next.
    const script = `
      for i in $(seq ${saves}); do
        case $((i % 3)) in
          0) sed -i "s/^0,.*/0,v$i/" data/data.csv ;;
          1) echo "INSERT INTO data VALUES ($i, 'by SQL')" | tee .query > /dev/null ;;
          2) echo "{\\"id\\":$i,\\"name\\":\\"as JSON\\"}" | tee -a data/data.jsonl > /dev/null ;;
        esac && echo "$i done" || echo "$i failed"
      done`
    let isOver = false
    const writer = m.sh(script).finally(() => {
      isOver = true
    })
    const moments: number[] = []
    while (!isOver && moments.length < 8) {
      const from = await m.commits()
      while (!isOver && (await m.commits()) < from + 2) await Bun.sleep(1)
      const delayMs = Math.floor(Math.random() * 250)
      moments.push(delayMs)
      await Bun.sleep(delayMs)
      await crash(m)
    }
    const { stdout } = await writer
    await m.settle()
    const told = new Map(stdout.split('\n').map(line => [Number(line.split(' ')[0]), line.split(' ')[1]]))
    const isDone = (i: number): boolean => told.get(i) === 'done'
    const numbers = Array.from({ length: saves }, (_, i) => i + 1)
    const last = numbers.findLast(i => i % 3 === 0 && isDone(i)) ?? 0
    const expected = [
      `0,v${last}`,
      ...numbers.filter(i => i % 3 !== 0 && isDone(i)).map(i => `${i},${i % 3 === 1 ? 'by SQL' : 'as JSON'}`),
    ]
    const rows = (await m.read()).slice(HEADER.length).trimEnd().split('\n')
    expect({ moments, told: told.size > saves, rows: rows.toSorted() }).toEqual({
      moments,
      told: true,
      rows: expected.toSorted(),
    })
    expect((await rowsBySql(m)).trimEnd().split('\n').toSorted()).toEqual([...rows, 'id,name'].toSorted())
    expect(numbers.filter(isDone).length).toBeGreaterThan(saves / 2)
    await m.close()
  }, 240_000)

  test('keeps rows of programs on two mounts that append and edit at the same moment, each once', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String' })
    const other = `${m.mount}-other`
    mkdirSync(other)
    await must([BINARY, 'mount', m.table, other, '--allow-other'])
    await m.sh(`printf 'id,name\\n0,v0\\n' > data/data.csv`)
    await m.settle()
    const rows = 15
    const append = (mount: string, from: number): ReturnType<typeof run> =>
      run([
        'bash',
        '-c',
        `for i in $(seq ${from} ${from + rows - 1}); do echo "$i,row" >> ${mount}/data/data.csv || exit 1; done`,
      ])
    const edit = (mount: string): ReturnType<typeof run> =>
      run(['bash', '-c', `for i in $(seq 5); do sed -i "s/^0,.*/0,v$i/" ${mount}/data/data.csv; done`])
    const ports = clientPorts(m)
    let isOver = false
    const programs = Promise.all([
      ...[m.mount, other].flatMap((mount, i) => [append(mount, 100 + i * 200), append(mount, 200 + i * 200)]),
      edit(other),
    ]).finally(() => {
      isOver = true
    })
    for (let kills = 0; kills < 5 && !isOver; kills++) {
      const from = await m.commits()
      while (!isOver && (await m.commits()) < from + 3) await Bun.sleep(1)
      await Bun.sleep(Math.floor(Math.random() * 60))
      await crash(m)
    }
    for (const { code, stderr } of (await programs).slice(0, 4)) expect(`${code}${stderr}`).toBe('0')
    await m.settle()
    const ids = (await rowsBySql(m)).split('\n').slice(1, -1).map(Number.parseFloat)
    const expected = [0, ...[100, 200, 300, 400].flatMap(from => Array.from({ length: rows }, (_, i) => from + i))]
    expect(ids.toSorted((x, y) => x - y)).toEqual(expected)
    // By these the server knows its clients again.
    expect(clientPorts(m)).toEqual(ports)
    await must([BINARY, 'unmount', other])
    await m.close()
  }, 240_000)

  test('keeps what was held, and open files and handles', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String' })
    await m.sh(`printf 'id,name\\n1,a\\n' > data/data.csv; echo note > mine`)
    // The last line has no newline, so the save is held; the server dies meanwhile.
    const reader = Bun.spawn(['bash', '-c', `exec 3<${m.csv} 4<${m.mount}/mine; read -r line; cat <&3; cat <&4`], {
      stdin: 'pipe',
      stdout: 'pipe',
    })
    await m.sh(`printf '2,b' >> data/data.csv`)
    await crash(m)
    await m.settle()
    expect(await m.read()).toBe('id,name\n1,a\n2,b\n')
    reader.stdin.write('go\n')
    await reader.stdin.end()
    // An open file has what its machine wrote, for three seconds at least; then the newline, which is the table's.
    expect(await new Response(reader.stdout).text()).toMatch(/^id,name\n1,a\n2,b\n?note\n$/)
    await m.close()
  }, 120_000)
})
