import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { appendFile, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mountAt, mountCommand } from '../../src/mount/linux.ts'
import { ask } from '../../src/serve/control.ts'
import { readRecords, recordOf, runtimeDirectory } from '../../src/serve/registry.ts'
import { BINARY, must, run } from './harness.ts'

const root = realpathSync(mkdtempSync(join(tmpdir(), 'posixlake-mounts-')))
afterAll(() => rmSync(root, { recursive: true, force: true }))
let count = 0

interface Mount {
  readonly mount_point: string
  readonly read_only: boolean
  readonly allow_other: boolean
  readonly port: number
}

interface Status {
  readonly table: string
  readonly pid: number
  readonly address: string
  readonly addresses: readonly string[]
  readonly running: boolean
  readonly answers: boolean
  readonly mounts: readonly Mount[]
  readonly problem: { since: string; message: string } | null
  readonly command: readonly string[]
  readonly log: string
}

/** A table of its own, and free mount points. */
async function newTable(): Promise<{ table: string; points: readonly string[] }> {
  const folder = join(root, String(++count))
  const table = join(folder, 'table')
  const points = ['a', 'b', 'c'].map(name => join(folder, name))
  for (const point of points) mkdirSync(point, { recursive: true })
  await must([BINARY, 'create', table, '--schema', 'id:Int64,name:String'])
  return { table, points }
}

const posixlake = (...args: string[]): Promise<string> => must([BINARY, ...args])
const cat = (mount: string): Promise<string> => must(['cat', join(mount, 'data/data.csv')])
const sh = (command: string): ReturnType<typeof run> => run(['bash', '-c', command])

async function statusOf(name: string): Promise<Status> {
  const [found] = JSON.parse(await posixlake('status', name, '--format', 'json')) as Status[]
  if (found === undefined) throw new Error(`${name} is not known`)
  return found
}

async function ended(pid: number): Promise<void> {
  while (existsSync(`/proc/${pid}/exe`) && !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')))
    await Bun.sleep(5)
}

/** kill -9, and no sooner back than the process is gone. */
async function kill(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL')
  await ended(pid)
}

describe('two mounts of a table', () => {
  test('have one server, and each sees the other’s commits at the next open; it ends with the last one', async () => {
    const { table, points } = await newTable()
    const [a = '', b = ''] = points
    await posixlake('mount', table, a)
    const { pid } = await statusOf(a)
    expect(await posixlake('mount', table, b)).toBe(`${table} is mounted at ${b}.\n`)
    expect(await statusOf(b)).toMatchObject({ pid, mounts: [{ mount_point: a }, { mount_point: b }] })
    for (let i = 1; i <= 5; i++) {
      const [writer, reader] = i % 2 === 0 ? [a, b] : [b, a]
      await must(['bash', '-c', `echo ${i},x >> ${writer}/data/data.csv`])
      expect(await cat(reader)).toEndWith(`\n${i},x\n`)
      await must(['sed', '-i', `s/^${i},x/${i},y/`, join(reader, 'data/data.csv')])
      expect(await cat(writer)).toEndWith(`\n${i},y\n`)
    }
    expect(await posixlake('unmount', a)).toBe(`${a} is unmounted; its table is still mounted at ${b}.\n`)
    expect(await cat(b)).toEndWith('5,y\n')
    expect(await statusOf(table)).toMatchObject({ pid, mounts: [{ mount_point: b }] })
    expect(await posixlake('unmount', b)).toBe(`${b} is unmounted.\n`)
    await ended(pid)
    expect(recordOf(table)).toBeUndefined()
  })

  test('end with a plain umount, too: the server with the last, and other tables’ servers not', async () => {
    const first = await newTable()
    const second = await newTable()
    const [a = '', b = ''] = first.points
    for (const point of [a, b]) await posixlake('mount', first.table, point)
    await posixlake('mount', second.table, second.points[0]!)
    const { pid } = await statusOf(a)
    await must(['umount', a])
    expect(await cat(b)).toBe('id,name\n')
    expect((await statusOf(first.table)).mounts.map(mount => mount.mount_point)).toEqual([b])
    // Without a word to the server: umount(2) alone.
    await must(['umount', '-i', b])
    await ended(pid)
    expect(recordOf(first.table)).toBeUndefined()
    expect(await cat(second.points[0]!)).toBe('id,name\n')
    await posixlake('unmount', second.table)
  })

  test('that were cut off lazily keep the server for the programs that still use them', async () => {
    const { table, points } = await newTable()
    const [a = ''] = points
    await posixlake('mount', table, a)
    const { pid } = await statusOf(a)
    const user = Bun.spawn(['bash', '-c', 'exec 3< data/data.csv; echo ready; read; cat <&3'], {
      cwd: a,
      stdin: 'pipe',
      stdout: 'pipe',
    })
    const reader = user.stdout.getReader()
    await reader.read()
    await must(['umount', '-l', a])
    expect(await ask(table, 'status')).toMatchObject({ pid, mounts: [] })
    user.stdin.write('\n')
    await user.stdin.end()
    expect(new TextDecoder().decode((await reader.read()).value)).toBe('id,name\n')
    await user.exited
    await ended(pid)
  })

  test('have rights of their own: read-only, and for all users', async () => {
    const { table, points } = await newTable()
    const [a = '', b = '', c = ''] = points
    await posixlake('mount', table, a, '--read-only')
    await posixlake('mount', table, b)
    expect(await posixlake('mount', table, c, '--allow-other', '--read-only')).toContain('is mounted')
    expect((await statusOf(table)).mounts).toMatchObject([
      { mount_point: a, read_only: true, allow_other: false },
      { mount_point: b, read_only: false, allow_other: false },
      { mount_point: c, read_only: true, allow_other: true },
    ])
    expect(await sh(`echo 1,x >> ${b}/data/data.csv`)).toMatchObject({ code: 0 })
    for (const point of points) expect(await cat(point)).toBe('id,name\n1,x\n')
    for (const point of [a, c])
      expect((await sh(`echo 2,x >> ${point}/data/data.csv`)).stderr).toContain('Permission denied')
    // The system's own "ro" can be taken away; the export's cannot.
    await must(['mount', '-o', 'remount,rw', a])
    expect((await sh(`echo 2,x >> ${a}/data/data.csv`)).code).not.toBe(0)
    const asNobody = (path: string): ReturnType<typeof run> =>
      run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'cat', join(path, 'data/data.csv')])
    await must(['chmod', '755', root])
    expect(await asNobody(c)).toMatchObject({ code: 0, stdout: 'id,name\n1,x\n' })
    for (const point of [a, b]) expect(await asNobody(point)).toMatchObject({ code: 1, stdout: '' })
    expect(await cat(b)).toBe('id,name\n1,x\n')
    await posixlake('unmount', table)
    for (const point of points) expect(mountAt(point)).toBeUndefined()
    expect(recordOf(table)).toBeUndefined()
  })

  test('may have ports of their own, on which the server listens as long as the mount is there', async () => {
    const { table, points } = await newTable()
    const [a = '', b = '', c = ''] = points
    await posixlake('mount', table, a)
    await posixlake('mount', table, b, '--port', '12950')
    await posixlake('mount', table, c, '--host', '::1')
    const { addresses, mounts } = await statusOf(table)
    expect(addresses).toEqual([
      expect.stringMatching(/^127\.0\.0\.1:/),
      '127.0.0.1:12950',
      expect.stringMatching(/^::1:/),
    ])
    expect(mounts.map(({ port }) => `${port}`)).toEqual(addresses.map(address => address.split(':').at(-1)!))
    await must(['bash', '-c', `echo 1,x >> ${b}/data/data.csv`])
    for (const point of points) expect(await cat(point)).toBe('id,name\n1,x\n')
    await posixlake('unmount', b)
    while ((await statusOf(table)).addresses.includes('127.0.0.1:12950')) await Bun.sleep(5)
    const other = await newTable()
    await posixlake('mount', other.table, other.points[0]!, '--port', '12950')
    const taken = await run([BINARY, 'mount', table, b, '--port', '12950'])
    expect(taken).toMatchObject({ code: 1, stderr: expect.stringContaining('Port 12950 of 127.0.0.1 is in use') })
    expect(mountAt(b)).toBeUndefined()
    await posixlake('unmount', other.table)
    await posixlake('unmount', table)
  })

  test('all come back when their server was killed: by a mount of any of them, of another one, or by its command', async () => {
    const { table, points } = await newTable()
    const [a = '', b = '', c = ''] = points
    await posixlake('mount', table, a)
    await posixlake('mount', table, b, '--port', '12960', '--read-only')
    await kill((await statusOf(a)).pid)
    expect((await statusOf(b)).running).toBe(false)
    expect(await posixlake('status', b)).toContain('gone; start it again:')
    expect(await posixlake('mount', table, b)).toBe(`${table} is mounted at ${b} again; its server was gone.\n`)
    await must(['bash', '-c', `echo 1,x >> ${a}/data/data.csv`])
    for (const point of [a, b]) expect(await cat(point)).toBe('id,name\n1,x\n')
    expect((await sh(`echo 2,x >> ${b}/data/data.csv`)).stderr).toContain('Permission denied')

    await kill((await statusOf(a)).pid)
    expect(await posixlake('mount', table, c)).toBe(`${table} is mounted at ${c}.\n`)
    for (const point of points) expect(await cat(point)).toBe('id,name\n1,x\n')

    const { pid, command } = await statusOf(a)
    await kill(pid)
    const again = Bun.spawn([...command], { stdin: 'ignore', stdout: 'ignore', stderr: 'inherit' })
    for (const point of points) expect(await cat(point)).toBe('id,name\n1,x\n')
    expect(await statusOf(a)).toMatchObject({ pid: again.pid, mounts: points.map(mount_point => ({ mount_point })) })
    for (const point of points) await posixlake('unmount', point)
    expect(await again.exited).toBe(0)
    expect(recordOf(table)).toBeUndefined()
  })

  test('are ended by unmount without waiting when their server is gone', async () => {
    const { table, points } = await newTable()
    const [a = '', b = ''] = points
    for (const point of [a, b]) await posixlake('mount', table, point)
    await kill((await statusOf(a)).pid)
    expect(await posixlake('unmount', a)).toContain(`still mounted at ${b}`)
    expect(await posixlake('unmount', table)).toBe(`${table} is unmounted.\n`)
    expect([mountAt(a), mountAt(b), recordOf(table)]).toEqual([undefined, undefined, undefined])
  })
})

describe('commands at the same time', () => {
  test('mount a table twice with one server, and the same folder once', async () => {
    const { table, points } = await newTable()
    const [a = '', b = ''] = points
    const results = await Promise.all([a, b].map(point => run([BINARY, 'mount', table, point])))
    expect(results.map(({ code, stderr }) => ({ code, stderr }))).toEqual([
      { code: 0, stderr: '' },
      { code: 0, stderr: '' },
    ])
    expect((await statusOf(table)).mounts).toHaveLength(2)
    await posixlake('unmount', table)
    const same = await Promise.all([a, a].map(point => run([BINARY, 'mount', table, point])))
    expect(same.map(({ code }) => code).sort()).toEqual([0, 1])
    expect(same.map(({ stderr }) => stderr).join('')).toMatch(/already|by another command/)
    expect((await statusOf(table)).mounts).toHaveLength(1)
    await posixlake('unmount', a)
    expect(mountAt(a)).toBeUndefined()
  })

  test('mount again while the last one is being unmounted', async () => {
    const { table, points } = await newTable()
    const [a = '', b = ''] = points
    await posixlake('mount', table, a)
    for (let i = 0; i < 6; i++) {
      const [leaving, coming] = i % 2 === 0 ? [a, b] : [b, a]
      const unmounted = i % 3 === 0 ? must(['umount', leaving]) : posixlake('unmount', leaving)
      await Bun.sleep(i * 15)
      const { code, stderr } = await run([BINARY, 'mount', table, coming])
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      await unmounted
      await must(['bash', '-c', `echo ${i},x >> ${coming}/data/data.csv`])
      expect(await cat(coming)).toEndWith(`${i},x\n`)
    }
    await posixlake('unmount', table)
    expect(recordOf(table)).toBeUndefined()
  })

  test('leave nothing behind, however often', async () => {
    const { table, points } = await newTable()
    const [a = ''] = points
    const state = join(table, '_posixlake/state')
    const seen = (): string[] => [...readdirSync(state), ...readdirSync(runtimeDirectory())].sort()
    const before = readdirSync(runtimeDirectory()).sort()
    await posixlake('mount', table, a)
    await posixlake('unmount', a)
    const after = seen()
    for (let i = 0; i < 5; i++) {
      await posixlake('mount', table, a)
      if (i % 2 === 0) await posixlake('unmount', a)
      else {
        // umount(8) knows nothing of the server.
        await must(['umount', a])
        while (recordOf(table) !== undefined) await Bun.sleep(5)
      }
      expect(recordOf(table)).toBeUndefined()
    }
    expect(seen()).toEqual(after)
    expect(readdirSync(runtimeDirectory()).sort()).toEqual(before)
  })
})

/** What a server has open, and has on disk beside the table. */
function takenBy(pid: number, table: string): { descriptors: number; files: string[]; memory: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    files: readdirSync(join(table, '_posixlake'), { recursive: true }).map(String).sort(),
    memory: Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1e3,
  }
}

describe('a served table', () => {
  test('takes no more after 60 mounts by the kernel, each read and appended to, than after 20', async () => {
    const { table, points } = await newTable()
    const [point = ''] = points
    const server = Bun.spawn([BINARY, 'serve', table, '--port', '0'], {
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'ignore',
    })
    const reader = server.stdout.getReader()
    let said = ''
    while (!said.includes('mount_nfs')) said += new TextDecoder().decode((await reader.read()).value)
    const port = Number(/,port=(\d+)/.exec(said)![1])
    const csv = join(point, 'data/data.csv')
    const turns = async (from: number, to: number): Promise<void> => {
      for (let i = from; i < to; i++) {
        await must(mountCommand({ host: '127.0.0.1', port, exportPath: '/', mountPoint: point, readOnly: false }))
        expect((await readFile(csv, 'utf8')).split('\n').length).toBe(i + 2)
        await appendFile(csv, `${i},x\n`)
        await must(['umount', point])
      }
    }
    await turns(0, 20)
    const before = takenBy(server.pid, table)
    await turns(20, 60)
    const after = takenBy(server.pid, table)
    expect(after.files).toEqual(before.files)
    expect(after.descriptors).toBeLessThan(before.descriptors + 5)
    expect(after.memory).toBeLessThan(before.memory + 60)
    server.kill('SIGTERM')
    expect(await server.exited).toBe(0)
  }, 300_000)

  test('can be mounted beside, and is served on when that mount ends', async () => {
    const { table, points } = await newTable()
    const [a = ''] = points
    const server = Bun.spawn([BINARY, 'serve', table], { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' })
    while ((await ask(table, 'status')) === undefined) await Bun.sleep(5)
    await posixlake('mount', table, a)
    expect(await statusOf(a)).toMatchObject({ pid: server.pid })
    await posixlake('unmount', a)
    expect(await statusOf(table)).toMatchObject({ pid: server.pid, mounts: [] })
    await posixlake('mount', table, a)
    server.kill('SIGTERM')
    expect(await server.exited).toBe(0)
    expect(mountAt(a)).toBeUndefined()
  })

  test('is mounted in the foreground of another process', async () => {
    const { table, points } = await newTable()
    const [a = '', b = ''] = points
    await posixlake('mount', table, a)
    const foreground = (): Bun.Subprocess<'ignore', 'ignore', 'pipe'> =>
      Bun.spawn([BINARY, 'mount', table, b, '--foreground'], { stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' })
    const interrupted = foreground()
    while (mountAt(b) === undefined) await Bun.sleep(5)
    interrupted.kill('SIGINT')
    expect(await interrupted.exited).toBe(0)
    expect(mountAt(b)).toBeUndefined()
    const unmounted = foreground()
    while (mountAt(b) === undefined) await Bun.sleep(5)
    await must(['umount', b])
    expect(await unmounted.exited).toBe(0)
    expect(await new Response(unmounted.stderr).text()).toContain(`${b} is unmounted`)
    expect(await cat(a)).toBe('id,name\n')
    await posixlake('unmount', a)
  })

  test('that moved away, or does not answer, is told by status', async () => {
    const { table, points } = await newTable()
    const [a = ''] = points
    await posixlake('mount', table, a)
    expect((await statusOf(a)).problem).toBeNull()
    await must(['mv', table, `${table}-moved`])
    const { problem } = await statusOf(a)
    expect(problem?.message).toContain('is not there any more')
    expect((await statusOf(a)).problem?.since).toBe(problem?.since)
    expect(await posixlake('status', a)).toContain(`problem    since ${problem?.since}: ${table} is not there`)
    await must(['mv', `${table}-moved`, table])
    expect((await statusOf(a)).problem).toBeNull()
    const { pid, log } = await statusOf(a)
    expect(readFileSync(log, 'utf8')).toMatch(/there is a problem with the table: .*\n.*the table can be used again/)
    process.kill(pid, 'SIGSTOP')
    expect(await posixlake('status', a)).toContain(`kill -9 ${pid}`)
    expect(await run([BINARY, 'unmount', a])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('has not answered'),
    })
    await posixlake('unmount', a, '--force')
    expect(mountAt(a)).toBeUndefined()
    process.kill(pid, 'SIGCONT')
    await ended(pid)
    expect(readRecords().filter(record => record.location === table)).toEqual([])
  }, 120_000)

  test('on an address that others reach lets in who knows the path, but no other user of this machine', async () => {
    const { table, points } = await newTable()
    const [a = ''] = points
    await must(['ip', 'address', 'add', '10.98.76.54/32', 'dev', 'lo'])
    const { stdout, stderr } = await run([BINARY, 'mount', table, a, '--host', '10.98.76.54'])
    expect(stdout).toContain('is mounted')
    expect(stderr).toMatch(/^Whoever reaches 10\.98\.76\.54:\d+ .* can read and change this table/)
    await must(['bash', '-c', `echo 1,x >> ${a}/data/data.csv`])
    const record = recordOf(table)!
    const mountAs = async (uid: number, path: string): Promise<string> => {
      const client = join(import.meta.dir, '../nfs/client.ts')
      const script = `
        const { NfsClient } = await import(${JSON.stringify(client)})
        const [host, port, path] = ${JSON.stringify([record.host, record.port, path])}
        const said = await NfsClient.connect({ host, port, uid: 0 })
          .then(client => client.mount(path)).then(() => 'let in', error => error.code ?? 'refused')
        process.stdout.write(said)
        process.exit()`
      const ids = [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups']
      return must(['setpriv', ...ids, process.execPath, '-e', script])
    }
    expect(await mountAs(0, record.exportPath)).toBe('let in')
    expect(await mountAs(0, '/')).toBe('ENOENT')
    expect(await mountAs(65_534, record.exportPath)).not.toBe('let in')
    expect(await cat(a)).toBe('id,name\n1,x\n')
    await posixlake('unmount', a)
    await must(['ip', 'address', 'del', '10.98.76.54/32', 'dev', 'lo'])
  })

  test('has a log of its commits and refusals', async () => {
    const { table, points } = await newTable()
    const [a = ''] = points
    await posixlake('mount', table, a)
    await must(['bash', '-c', `echo 1,x >> ${a}/data/data.csv`])
    expect((await sh(`echo one,x | tee -a ${a}/data/data.csv`)).code).not.toBe(0)
    await posixlake('query', table, 'DELETE FROM data')
    expect(await cat(a)).toBe('id,name\n')
    const log = readFileSync((await statusOf(a)).log, 'utf8')
    expect(log).toMatch(/version 1: WRITE, 1 row inserted, in \d+ ms\n/)
    expect(log).toMatch(/refused.*column id: a whole number is expected, not "one"/)
    expect(log).toContain('version 2: DELETE, 1 row deleted, by another process (posixlake/')
    expect(log).not.toContain('choose another port')
    await posixlake('unmount', a)
  })
})
