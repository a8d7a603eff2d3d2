import { describe, expect, test } from 'bun:test'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ProcOpeners } from '../../../src/fs/saves/proc-openers.ts'
import { temporaryFolder } from '../../helpers/temporary.ts'

const PORT = 12049
const MOUNTINFO = `22 1 8:1 / / rw - ext4 /dev/sda rw
25 20 0:34 / /mnt/a rw - nfs 127.0.0.1:/secret rw,vers=3,port=${PORT},mountport=${PORT}
26 20 0:35 / /mnt/b rw - nfs 10.0.0.1:/other rw,vers=3,port=2049,mountport=2049
`
const FILE = 1001n

interface Fd {
  readonly link: string
  readonly flags?: string
  readonly mount?: number
  readonly ino?: string | undefined
  readonly pos?: number
}

/** A /proc as a test needs it. */
class Proc {
  readonly #folder = temporaryFolder()

  get path(): string {
    return this.#folder.path
  }

  process(
    pid: number,
    fds: readonly Fd[],
    { state = 'S', flags = 0, exitCode = 0, command = 'cat', maps = '', uid = 0, threads = [pid] } = {},
  ): void {
    const fields = [state, 1, 1, 1, 0, -1, flags, ...Array(12).fill(0), 555, ...Array(29).fill(0), exitCode]
    this.#write(`${pid}/stat`, `${pid} (${command}) ${fields.join(' ')}\n`)
    this.#write(`${pid}/status`, `Name:\t${command}\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\n`)
    this.#write(`${pid}/mountinfo`, MOUNTINFO)
    this.#write(`${pid}/maps`, maps)
    mkdirSync(join(this.path, `${pid}/fd`), { recursive: true })
    for (const thread of threads) mkdirSync(join(this.path, `${pid}/task/${thread}/fd`), { recursive: true })
    const folder = threads.length > 1 ? `${pid}/task/${threads.at(-1)}` : `${pid}`
    if (threads.length > 1) this.#write(`${folder}/mountinfo`, MOUNTINFO)
    for (const [number, { link, flags: open = '0100001', mount = 25, ino = String(FILE), pos = 0 }] of fds.entries()) {
      mkdirSync(join(this.path, folder, 'fd'), { recursive: true })
      symlinkSync(link, join(this.path, folder, `fd/${number}`))
      const inode = ino === '' ? '' : `ino:\t${ino}\n`
      this.#write(`${folder}/fdinfo/${number}`, `pos:\t${pos}\nflags:\t${open}\nmnt_id:\t${mount}\n${inode}`)
    }
  }

  #write(path: string, text: string): void {
    mkdirSync(dirname(join(this.path, path)), { recursive: true })
    writeFileSync(join(this.path, path), text)
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]()
  }
}

function openersOf(proc: Proc): ProcOpeners {
  return new ProcOpeners({ ports: () => [PORT], proc: proc.path })
}

async function pids(proc: Proc, mappings = false): Promise<number[]> {
  return (await openersOf(proc).look(FILE, mappings)).openers.map(({ pid }) => pid).sort()
}

describe('/proc', () => {
  test('shows descriptors that write, by the inode and the mount', async () => {
    using proc = new Proc()
    const link = '/mnt/a/data/data.csv'
    proc.process(1, [{ link }], { command: 'a (b) c' })
    proc.process(2, [{ link, flags: '0100000' }])
    proc.process(3, [{ link, flags: '0100002', pos: 17 }])
    proc.process(4, [{ link, ino: '1002' }])
    proc.process(5, [{ link, mount: 26 }])
    proc.process(6, [{ link: '/mnt/a/data/.nfs0001 (deleted)', flags: '0102001' }])
    proc.process(7, [{ link: '/elsewhere/data/data.csv' }])
    proc.process(8, [{ link: 'pipe:[9]' }, { link: '/dev/null' }])
    expect(await pids(proc)).toEqual([1, 3, 6, 7])
    const { openers } = await openersOf(proc).look(FILE, false)
    expect(openers.find(({ pid }) => pid === 1)).toEqual({
      pid: 1,
      parent: 1,
      startTime: '555',
      command: 'a (b) c',
      descriptor: 0,
      position: 0,
      append: false,
      waits: false,
    })
    expect(openers.find(({ pid }) => pid === 3)).toMatchObject({ position: 17, append: false })
    expect(openers.find(({ pid }) => pid === 6)).toMatchObject({ append: true })
  })

  test('goes by the name where the kernel does not tell the inode', async () => {
    using proc = new Proc()
    proc.process(1, [{ link: '/mnt/a/data/data.csv (deleted)', ino: '' }])
    proc.process(2, [{ link: '/mnt/a/data/notes', ino: '' }])
    expect(await pids(proc)).toEqual([1])
  })

  test('shows shared mappings that write, where they are asked for', async () => {
    using proc = new Proc()
    const line = (permissions: string, device = '00:22', inode = '1001'): string =>
      `7f00-7f01 r--p 00000000 08:01 5 /lib/x\n7f02-7f03 ${permissions} 00000000 ${device} ${inode} /mnt/a/data/data.csv\n`
    const fds = [{ link: '/dev/null' }]
    proc.process(1, fds, { maps: line('rw-s') })
    proc.process(2, fds, { maps: line('r--s') })
    proc.process(3, fds, { maps: line('rw-p') })
    proc.process(4, fds, { maps: line('rw-s', '00:23') })
    proc.process(5, fds, { maps: line('rw-s', '00:22', '11001') })
    expect(await pids(proc)).toEqual([])
    expect(await pids(proc, true)).toEqual([1])
  })

  test('shows the files of threads that go on when the first one has ended', async () => {
    using proc = new Proc()
    proc.process(1, [{ link: '/mnt/a/data/data.csv' }], { state: 'Z', threads: [1, 2] })
    expect(await pids(proc)).toEqual([1])
  })

  test('tells who was killed from who ended', async () => {
    using proc = new Proc()
    const ending = 0x4
    const signalled = 0x404
    proc.process(1, [], { state: 'D', flags: signalled, exitCode: 9, uid: 1000 })
    proc.process(2, [], { state: 'D', flags: ending, exitCode: 0 })
    proc.process(3, [], { state: 'D', flags: signalled, exitCode: 3 << 8 })
    proc.process(4, [], { state: 'Z', flags: signalled, exitCode: 2 })
    const openers = openersOf(proc)
    const killed = [1, 2, 3, 4, 5].map(pid =>
      openers.killedBy({
        pid,
        parent: 1,
        startTime: '555',
        command: 'cp',
        descriptor: 1,
        position: 0,
        append: false,
        waits: false,
      }),
    )
    expect(killed.map(found => found?.signal)).toEqual([9, undefined, undefined, 2, undefined])
    // Each was cp when it was seen: a shell opens a file, too, and then becomes another program.
    expect(killed[0]?.command).toBe('cat')
    expect((await openers.look(FILE, false)).dying).toEqual([{ pid: 1, command: 'cat', signal: 9, uid: 1000 }])
    const other = {
      pid: 1,
      parent: 1,
      startTime: '556',
      command: 'cp',
      descriptor: 1,
      position: 0,
      append: false,
      waits: false,
    }
    expect(openers.killedBy(other)).toBeUndefined()
    expect(openers.isWaiting(other)).toBe(false)
    expect(openers.isWaiting({ ...other, startTime: '555' })).toBe(true)
  })

  test('tells the client of the kernel from programs that speak NFS themselves', async () => {
    using proc = new Proc()
    proc.process(1, [{ link: 'socket:[88]' }])
    const openers = openersOf(proc)
    const uid = process.getuid?.()
    expect(await openers.canSee({ connection: 1, uid, socket: 88 })).toBe(false)
    expect(await openers.canSee({ connection: 2, uid, socket: 77 })).toBe(true)
    expect(await openers.canSee({ connection: 3, uid, socket: undefined })).toBe(false)
  })

  test('is looked at with thousands of processes while other work goes on', async () => {
    using proc = new Proc()
    for (let pid = 1; pid <= 2000; pid++) proc.process(pid, pid % 500 === 0 ? [{ link: '/mnt/a/data/data.csv' }] : [])
    let turns = 0
    let isOver = false
    const others = (async () => {
      while (!isOver) {
        await new Promise(resolve => setImmediate(resolve))
        turns++
      }
    })()
    expect(await pids(proc)).toEqual([1000, 1500, 2000, 500])
    isOver = true
    await others
    expect(turns).toBeGreaterThan(10)
  })
})
