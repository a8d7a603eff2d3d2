import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { BoundedMap } from '../../core/bounded-map.ts'
import type { Caller } from '../filesystem.ts'
import type { Killed, Opener, Openers, Openings } from './openers.ts'

/** So many processes are looked at before other work gets its turn. */
const BATCH_PROCESSES = 50
const MAPS_AT_ONCE = 8
/** Reading a process's mappings waits while it changes them, which can take as long as a page that it waits for. */
const MAPS_TIMEOUT_MS = 500
const CONNECTIONS_KEPT = 1024
/** An editable view, or the name that the client gives to an open file which was removed. */
const VIEW_NAME = /\/(data\.(csv|jsonl)|\.nfs[0-9a-f]+)( \(deleted\))?$/
/** fcntl.h, the same on every Linux that Bun runs on. */
const O_ACCMODE = 0o3
const O_APPEND = 0o2000
/** linux/sched.h */
const PF_EXITING = 0x4
const PF_SIGNALED = 0x400

export interface ProcOpenersOptions {
  /** The TCP ports of the server: what is mounted from them is ours. */
  readonly ports: () => readonly number[]
  /** For tests; /proc by default. */
  readonly proc?: string
}

/** Fields of /proc/PID/stat (proc_pid_stat(5)). */
interface ProcessStat {
  readonly command: string
  readonly state: string
  readonly parent: number
  readonly flags: number
  readonly startTime: string
  readonly exitCode: number
}

interface Descriptor {
  readonly pid: number
  /** Below /proc: the process's, or that of one of its threads. */
  readonly folder: string
  readonly number: number
  readonly link: string
}

/**
 * Looks into /proc (proc(5)). A descriptor counts if its inode number is the file's id and its mount is an NFS mount of
 * our port, which also holds in other mount namespaces and for files that have lost their name. Nothing here asks the
 * file itself (stat), since that would be a call to this very server. close(2) and exit take a descriptor out of the
 * table before they flush, so the WRITE of a close finds it gone.
 */
export class ProcOpeners implements Openers {
  readonly #options: ProcOpenersOptions
  readonly #proc: string
  /** By connection: whether it is the kernel's own client that speaks. */
  readonly #kernels = new BoundedMap<number, Promise<boolean>>(CONNECTIONS_KEPT)

  constructor(options: ProcOpenersOptions) {
    this.#options = options
    this.#proc = options.proc ?? '/proc'
  }

  async canSee({ connection, uid, socket }: Caller): Promise<boolean> {
    if (socket === undefined) return false
    const own = process.getuid?.()
    // Only root may look into other users' processes.
    if (own !== 0 && own !== uid) return false
    let known = this.#kernels.get(connection)
    if (known === undefined) {
      // A program that speaks NFS itself (libnfs, a forwarded port) holds its socket; the kernel's client does not.
      known = this.#isHeld(socket).then(held => !held)
      this.#kernels.set(connection, known)
    }
    return known
  }

  async look(fileId: bigint, mappings: boolean): Promise<Openings> {
    const inode = String(fileId)
    const openers: Opener[] = []
    const users: number[] = []
    const dying: Openings['dying'][number][] = []
    await this.#eachDescriptor(
      descriptor => {
        const opener = mayBeView(descriptor.link) ? this.#opener(descriptor, inode) : undefined
        if (opener !== undefined) openers.push(opener)
      },
      (pid, hasAny) => {
        if (hasAny) users.push(pid)
        else dying.push(...this.#dying(pid))
      },
    )
    if (mappings) openers.push(...(await this.#mappers(users, inode)))
    return { openers, dying }
  }

  killedBy({ pid, startTime }: Opener): Killed | undefined {
    const stat = this.#stat(pid)
    if (stat?.startTime !== startTime) return undefined
    const signal = deadlySignal(stat)
    // It may have been another program when it was seen first: a shell opens the file, and then calls exec.
    return signal === 0 ? undefined : { pid, command: stat.command, signal }
  }

  isWaiting({ pid, startTime }: Opener): boolean {
    const stat = this.#stat(pid)
    return stat !== undefined && stat.startTime === startTime && stat.state === 'D'
  }

  #dying(pid: number): Openings['dying'] {
    const stat = this.#stat(pid)
    if (stat?.state !== 'D') return []
    const signal = deadlySignal(stat)
    if (signal === 0) return []
    const uid = Number(/^Uid:\s+(\d+)/m.exec(this.#text(`${pid}/status`) ?? '')?.[1] ?? -1)
    return [{ pid, command: stat.command, signal, uid }]
  }

  async #isHeld(socket: number): Promise<boolean> {
    const wanted = `socket:[${socket}]`
    let held = false
    await this.#eachDescriptor(({ link }) => {
      if (link === wanted) held = true
    })
    return held
  }

  #opener({ pid, folder, number, link }: Descriptor, inode: string): Opener | undefined {
    const info = this.#text(`${folder}/fdinfo/${number}`)
    if (info === undefined) return undefined
    const field = (name: string): string => new RegExp(`^${name}:\\s*(\\S+)`, 'm').exec(info)?.[1] ?? ''
    const flags = Number.parseInt(field('flags'), 8)
    if ((flags & O_ACCMODE) === 0) return undefined
    // Kernels before 5.14 do not tell the inode: there the name has to do.
    const found = field('ino')
    if (found === '' ? !VIEW_NAME.test(link) : found !== inode) return undefined
    const mount = field('mnt_id')
    if (!this.#mounts(folder).some(({ id }) => id === mount)) return undefined
    const stat = this.#stat(pid)
    if (stat === undefined) return undefined
    const { startTime, command, state, parent } = stat
    const position = Number(field('pos'))
    const append = (flags & O_APPEND) !== 0
    return { pid, parent, startTime, command, descriptor: number, position, append, waits: state === 'D' }
  }

  /** The mounts of this server in a process's mount namespace: their ids, and their devices as /proc/PID/maps writes them. */
  #mounts(folder: string): { id: string; device: string }[] {
    const ports = this.#options.ports()
    const mounts = []
    for (const line of (this.#text(`${folder}/mountinfo`) ?? '').split('\n')) {
      const [front = '', back = ''] = line.split(' - ')
      if (!back.startsWith('nfs')) continue
      const port = /(?:^|[ ,])port=(\d+)/.exec(back)?.[1]
      if (port === undefined || !ports.includes(Number(port))) continue
      const [id = '', , device = ''] = front.split(' ')
      const [major = 0, minor = 0] = device.split(':').map(Number)
      mounts.push({ id, device: `${major.toString(16).padStart(2, '0')}:${minor.toString(16).padStart(2, '0')}` })
    }
    return mounts
  }

  async #mappers(pids: readonly number[], inode: string): Promise<Opener[]> {
    const openers: Opener[] = []
    for (let at = 0; at < pids.length; at += MAPS_AT_ONCE) {
      const some = await Promise.all(pids.slice(at, at + MAPS_AT_ONCE).map(pid => this.#mapper(pid, inode)))
      for (const opener of some) if (opener !== undefined) openers.push(opener)
    }
    return openers
  }

  async #mapper(pid: number, inode: string): Promise<Opener | undefined> {
    const maps = await Promise.race([
      readFile(`${this.#proc}/${pid}/maps`, 'latin1').catch(() => ''),
      Bun.sleep(MAPS_TIMEOUT_MS).then(() => undefined),
    ])
    const stat = this.#stat(pid)
    if (stat === undefined) return undefined
    const { startTime, command, state, parent } = stat
    const waits = state === 'D'
    const opener = { pid, parent, startTime, command, descriptor: undefined, position: 0, append: false, waits }
    // What cannot be read waits for something: it may well be this file.
    if (maps === undefined) return opener
    if (!maps.includes(` ${inode} `)) return undefined
    const devices = this.#mounts(`${pid}`).map(({ device }) => device)
    // address perms offset dev inode pathname
    const isMapped = maps.split('\n').some(line => {
      const [, permissions = '', , device = '', number] = line.split(/\s+/)
      return number === inode && permissions[1] === 'w' && permissions[3] === 's' && devices.includes(device)
    })
    return isMapped ? opener : undefined
  }

  /** Calls back for each open descriptor that may be seen, and for each process. */
  async #eachDescriptor(
    found: (descriptor: Descriptor) => void,
    process?: (pid: number, hasAny: boolean) => void,
  ): Promise<void> {
    let count = 0
    for (const name of readdirSync(this.#proc)) {
      const pid = Number(name)
      if (!(pid > 0)) continue
      if (++count % BATCH_PROCESSES === 0) await new Promise(resolve => setImmediate(resolve))
      const hasAny = this.#descriptorsIn(`${pid}`, pid, found)
      process?.(pid, hasAny)
    }
  }

  #descriptorsIn(folder: string, pid: number, found: (descriptor: Descriptor) => void): boolean {
    const names = this.#names(`${folder}/fd`)
    for (const name of names) {
      const link = this.#link(`${folder}/fd/${name}`)
      if (link !== undefined) found({ pid, folder, number: Number(name), link })
    }
    if (names.length > 0) return true
    // The first thread may have ended while others go on with the files; kernel threads have one, and none.
    const threads = folder.includes('/') ? [] : this.#names(`${folder}/task`)
    if (threads.length < 2) return false
    return threads.some(thread => this.#descriptorsIn(`${folder}/task/${thread}`, pid, found))
  }

  #stat(pid: number): ProcessStat | undefined {
    const text = this.#text(`${pid}/stat`)
    if (text === undefined) return undefined
    // proc_pid_stat(5): "pid (comm) state ...", and the command may hold anything, brackets and blanks too.
    const end = text.lastIndexOf(')')
    const fields = text
      .slice(end + 2)
      .trim()
      .split(' ')
    const field = (number: number): string => fields[number - 3] ?? ''
    return {
      command: text.slice(text.indexOf('(') + 1, end),
      state: field(3),
      parent: Number(field(4)),
      flags: Number(field(9)),
      startTime: field(22),
      exitCode: Number(field(52)),
    }
  }

  #names(folder: string): string[] {
    try {
      return readdirSync(`${this.#proc}/${folder}`)
    } catch {
      return [] // It has ended, or is another user's.
    }
  }

  #link(path: string): string | undefined {
    try {
      return readlinkSync(`${this.#proc}/${path}`)
    } catch {
      return undefined
    }
  }

  #text(path: string): string | undefined {
    try {
      return readFileSync(`${this.#proc}/${path}`, 'latin1')
    } catch {
      return undefined
    }
  }
}

/** The signal that a process is being ended by, or was; 0 if it goes on, or ended by itself. */
function deadlySignal({ flags, exitCode }: ProcessStat): number {
  const isEnding = (flags & PF_EXITING) !== 0 && (flags & PF_SIGNALED) !== 0
  // Threads of a process that exits by itself are signalled, too: only a signal in the exit code is a death by it.
  return isEnding ? exitCode & 0x7f : 0
}

/** Files of the system and devices, which most descriptors are of, need no second look. */
function mayBeView(link: string): boolean {
  return (link.startsWith('/') || link.startsWith('(')) && !/^\/(dev|proc|sys|usr|lib)\//.test(link)
}
