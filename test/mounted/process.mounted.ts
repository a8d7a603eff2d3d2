import { describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, mkdtempSync, realpathSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mountAt } from '../../src/mount/linux.ts'
import { ask } from '../../src/serve/control.ts'
import { BINARY, mountTable, must, run } from './harness.ts'

function freshFolder(): string {
  return realpathSync(mkdtempSync(join(tmpdir(), 'posixlake-process-')))
}

describe('the server as a process', () => {
  test('ends on SIGTERM when it has finished what was acknowledged, and unmounts', async () => {
    const folder = freshFolder()
    const mount = join(folder, 'mount')
    const table = join(folder, 'table')
    mkdirSync(mount)
    await must([BINARY, 'create', table, '--schema', 'id:Int64,name:String'])
    const server = Bun.spawn([BINARY, 'mount', table, mount, '--foreground'], {
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'pipe',
    })
    while (mountAt(mount) === undefined) await Bun.sleep(10)
    // No final newline: the save is held when the signal comes.
    expect(await run(['bash', '-c', `printf 'id,name\\n1,a\\n2,b' > ${mount}/data/data.csv`])).toMatchObject({
      code: 0,
    })
    server.kill('SIGTERM')
    expect(await server.exited).toBe(0)
    expect(mountAt(mount)).toBeUndefined()
    expect(await must([BINARY, 'cat', table])).toBe('id,name\n1,a\n2,b\n')
  })

  test('goes on when the terminal that mounted is closed', async () => {
    const folder = freshFolder()
    const mount = join(folder, 'mount')
    const table = join(folder, 'table')
    mkdirSync(mount)
    await must([BINARY, 'create', table, '--schema', 'id:Int64,name:String'])
    // script(1) gives the command a terminal of its own, which goes with it.
    await must(['script', '-qec', `${BINARY} mount ${table} ${mount}`, '/dev/null'])
    await must(['bash', '-c', `echo 1,a >> ${mount}/data/data.csv`])
    expect(await must(['cat', `${mount}/data/data.csv`])).toBe('id,name\n1,a\n')
    await must([BINARY, 'unmount', mount])
    expect(mountAt(mount)).toBeUndefined()
    expect(await ask(table, 'status')).toBeUndefined()
  })

  test('says in one line what keeps a mount from coming about', async () => {
    const m = await mountTable({ schema: 'id:Int64' })
    const other = join(freshFolder(), 'other')
    await must([BINARY, 'create', other, '--schema', 'id:Int64'])
    const refused = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await run([BINARY, 'mount', ...args])
      expect({ code, stdout, lines: stderr.trimEnd().split('\n').length }).toEqual({ code: 1, stdout: '', lines: 1 })
      return stderr
    }
    expect(await refused(other, '/nonexistent/folder')).toContain('mkdir -p /nonexistent/folder')
    expect(await refused(other, m.mount)).toContain('is a mount point already')
    expect(await refused(m.table, m.mount)).toContain(`${m.table} is mounted at ${m.mount} already`)
    expect(await refused(m.table, m.mount, '--read-only')).toContain('already, and writable')
    expect(await refused(`${other}x`, freshFolder())).toContain('not a Delta table')
    const [, port = ''] =
      /"address": "[^:]*:(\d+)"/.exec((await m.posixlake('status', '--format', 'json')).stdout) ?? []
    expect(await refused(other, freshFolder(), '--port', port)).toContain(`Port ${port}`)
    expect((await m.posixlake('status', m.mount)).stdout).toContain(m.mount)
    await m.close()
  })

  test('a mount whose server died is found under every name, and brought back by mount', async () => {
    const m = await mountTable({ schema: 'id:Int64' })
    const link = join(freshFolder(), 'link')
    symlinkSync(m.mount, link)
    const pidOf = async (name: string): Promise<number> =>
      JSON.parse(await must([BINARY, 'status', name, '--format', 'json']))[0].pid
    process.kill(await pidOf(link), 'SIGKILL')
    while ((await ask(m.table, 'status')) !== undefined) await Bun.sleep(5)
    expect(await must([BINARY, 'mount', m.table, link])).toContain('again')
    expect(await m.sh('echo 1 >> data/data.csv')).toMatchObject({ code: 0 })
    expect(await m.read()).toBe('id\n1\n')
    // Without a server at all it is cut off, and nobody waits.
    process.kill(await pidOf(m.table), 'SIGKILL')
    while ((await ask(m.table, 'status')) !== undefined) await Bun.sleep(5)
    await must([BINARY, 'unmount', link])
    expect(mountAt(m.mount)).toBeUndefined()
    const known: { table: string }[] = JSON.parse(await must([BINARY, 'status', '--format', 'json']))
    expect(known.filter(({ table }) => table === m.table)).toEqual([])
    // One that is started by hand takes over the mount, and ends it.
    await must([BINARY, 'mount', m.table, m.mount])
    const [{ pid, address }] = JSON.parse(await must([BINARY, 'status', m.mount, '--format', 'json']))
    process.kill(pid, 'SIGKILL')
    while ((await ask(m.table, 'status')) !== undefined) await Bun.sleep(5)
    const port = address.split(':').at(-1)
    const server = Bun.spawn([BINARY, 'serve', m.table, '--port', port], { stdin: 'ignore', stdout: 'ignore' })
    while ((await ask(m.table, 'status')) === undefined) await Bun.sleep(5)
    expect(await m.read()).toBe('id\n1\n')
    server.kill('SIGINT')
    expect(await server.exited).toBe(0)
    expect(mountAt(m.mount)).toBeUndefined()
  })

  test('listens everywhere, or on IPv6, and is mounted all the same', async () => {
    const folder = freshFolder()
    const table = join(folder, 'table')
    await must([BINARY, 'create', table, '--schema', 'id:Int64'])
    for (const host of ['0.0.0.0', '::1', 'localhost']) {
      await must([BINARY, 'mount', table, freshFolder(), '--host', host])
      expect(await must([BINARY, 'unmount', table])).toContain('is unmounted')
    }
  })

  test('is refused a mount point that would hide the table', async () => {
    const folder = freshFolder()
    await must([BINARY, 'create', join(folder, 'table'), '--schema', 'id:Int64'])
    const { code, stderr } = await run([BINARY, 'mount', join(folder, 'table'), join(folder, 'table')])
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('choose another folder') })
  })

  test('a full disk is told as one', async () => {
    const folder = freshFolder()
    const disk = join(folder, 'disk')
    const mount = join(folder, 'mount')
    mkdirSync(disk)
    mkdirSync(mount)
    await must(['mount', '-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk])
    await must([BINARY, 'create', `${disk}/table`, '--schema', 'id:Int64'])
    await must(['bash', '-c', `(echo text; head -c 5M /dev/urandom | base64 -w 100) > ${folder}/large.csv`])
    const fails = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await run([BINARY, ...args])
      expect({ args, code, stdout, lines: stderr.split('\n').length }).toEqual({ args, code: 1, stdout: '', lines: 2 })
      return stderr
    }
    expect(await fails('create', `${disk}/new`, '--from-csv', `${folder}/large.csv`)).toMatch(/disk\/new.*disk/)
    expect(existsSync(`${disk}/new`)).toBe(false)
    await run(['bash', '-c', `cat /dev/zero > ${disk}/fill`])
    expect(await fails('query', `${disk}/table`, 'INSERT INTO data VALUES (1)')).toContain('no space is left')
    expect(await fails('mount', `${disk}/table`, mount)).not.toContain('served already')
    await must(['rm', `${disk}/fill`])
    expect(await must([BINARY, 'query', `${disk}/table`, 'SELECT count(*) AS n FROM data'])).toBe('n\n0\n')
    await must(['umount', disk])
  })

  test('a program in the middle of a large file never sees two versions mixed', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String' })
    const text = `id,name\n${Array.from({ length: 200_000 }, (_, i) => `${i},row number ${i}\n`).join('')}`
    await m.write('/tmp/large', text)
    await m.sh('cp /tmp/large data/data.csv')
    await m.settle()
    const reader = `
import subprocess, sys
f = open('${m.csv}', 'rb', buffering=0)
first = f.read(100000)
subprocess.run(['${BINARY}', 'query', '${m.table}', 'DELETE FROM data WHERE id % 2 = 0'], check=True, capture_output=True)
subprocess.run(['cat', '${m.csv}'], check=True, stdout=open('/tmp/newer', 'wb'))
rest = b''
while True:
    piece = f.read(1 << 20)
    if not piece: break
    rest += piece
open('/tmp/older', 'wb').write(first + rest)
`
    await m.write('/tmp/reader.py', reader)
    expect(await m.sh('python3 /tmp/reader.py')).toMatchObject({ code: 0 })
    expect((await Bun.file('/tmp/older').text()) === text).toBe(true)
    const odd = text
      .split('\n')
      .filter((line, i) => i === 0 || Number(line.split(',')[0]) % 2 === 1)
      .join('\n')
    expect((await Bun.file('/tmp/newer').text()) === `${odd}\n`).toBe(true)
    await m.close()
  })

  test('a full disk refuses the save, says so, and loses nothing', async () => {
    const folder = freshFolder()
    const disk = join(folder, 'disk')
    const mount = join(folder, 'mount')
    const table = join(disk, 'table')
    mkdirSync(disk)
    mkdirSync(mount)
    await must(['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', disk])
    await must([BINARY, 'create', table, '--schema', 'id:Int64,name:String'])
    await must([BINARY, 'mount', table, mount])
    await must(['bash', '-c', `echo 1,a >> ${mount}/data/data.csv`])
    await run(['bash', '-c', `cat /dev/zero > ${disk}/filler`])
    const rows = `id,name\n${Array.from({ length: 40_000 }, (_, i) => `${i},row number ${i}\n`).join('')}`
    await Bun.write('/tmp/rows', rows)
    const { code, stderr } = await run(['cp', '/tmp/rows', `${mount}/data/data.csv`])
    expect({ failed: code !== 0, said: /space|I\/O|Input\/output/.test(stderr) }).toEqual({ failed: true, said: true })
    await must(['rm', join(disk, 'filler')])
    expect(await must(['cat', `${mount}/data/data.csv`])).toBe('id,name\n1,a\n')
    await must(['cp', '/tmp/rows', `${mount}/data/data.csv`])
    expect((await must(['cat', `${mount}/data/data.csv`])) === rows).toBe(true)
    await must([BINARY, 'unmount', mount])
    expect((await must([BINARY, 'cat', table])) === rows).toBe(true)
    await must(['umount', disk])
    expect(existsSync(table)).toBe(false)
  })
})
