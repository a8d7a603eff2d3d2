import { readdir, readFile } from 'node:fs/promises'

/** A thread of a program that waits in the kernel for an answer of ours. */
export interface Asker {
  readonly pid: number
  readonly thread: number
  /** When it was started: a later thread may have the same number. */
  readonly startTicks: string
  /** Of its file system accesses. */
  readonly uid: number
}

/**
 * The state of one: it waits; it waits and was told to end (a signal is pending that cannot reach it there), or has
 * ended; it does something else by now, so that its answer was another one.
 */
export type AskerState = 'waits' | 'gives up' | 'is elsewhere'

/** The look at the programs of this machine; tests have another one. */
export interface AskerLook {
  /** All threads that wait for a file server now. */
  waiting(): Promise<Asker[]>
  stateOf(asker: Asker): Promise<AskerState>
}

/** The flags of field 9 in proc_pid_stat(5) that count here (include/linux/sched.h). */
const PF_SIGNALED = 0x400
const PF_KTHREAD = 0x200000
/** SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGTERM: one who presses Ctrl-C, closes a terminal or kills a program. */
const ENDING_SIGNALS = [1, 2, 3, 9, 15].reduce((mask, signal) => mask | (1n << BigInt(signal - 1)), 0n)
const THREADS_AT_ONCE = 64

interface ThreadStat {
  readonly state: string
  readonly flags: number
  readonly threads: number
  readonly startTicks: string
}

/** Reads files and folders below /proc; undefined, or nothing, where that is not possible. */
export interface Proc {
  text(path: string): Promise<string | undefined>
  names(path: string): Promise<string[]>
}

const systemProc: Proc = {
  text: path => readFile(path, 'utf8').catch(() => undefined),
  names: path => readdir(path).catch(() => []),
}

/**
 * Looks into /proc of Linux. A program in close(2) of a file that it wrote waits there, in state D, until we have answered;
 * not even SIGKILL ends that, it is only pending (tried with Linux 6.1). One that waits in read(2) or open(2) dies at once.
 */
export class ProcLook implements AskerLook {
  readonly #proc: Proc

  constructor(proc: Proc = systemProc) {
    this.#proc = proc
  }

  async waiting(): Promise<Asker[]> {
    const found: Asker[] = []
    const pids = (await this.#proc.names('/proc')).filter(name => /^\d+$/.test(name)).map(Number)
    for (let start = 0; start < pids.length; start += THREADS_AT_ONCE) {
      const some = await Promise.all(pids.slice(start, start + THREADS_AT_ONCE).map(pid => this.#waitingThreads(pid)))
      found.push(...some.flat())
    }
    return found
  }

  async stateOf({ pid, thread, startTicks }: Asker): Promise<AskerState> {
    const stat = await this.#threadStat(pid, thread)
    if (stat === undefined || stat.startTicks !== startTicks || /^[ZX]$/.test(stat.state)) return 'gives up'
    if (stat.state !== 'D') return 'is elsewhere'
    if ((stat.flags & PF_SIGNALED) !== 0) return 'gives up'
    return (await this.#isToldToEnd(pid, thread)) ? 'gives up' : 'waits'
  }

  async #waitingThreads(pid: number): Promise<Asker[]> {
    const main = await this.#threadStat(pid, pid)
    if (main === undefined || (main.flags & PF_KTHREAD) !== 0) return []
    const threads = main.threads > 1 ? (await this.#proc.names(`/proc/${pid}/task`)).map(Number) : [pid]
    const found: Asker[] = []
    for (const thread of threads) {
      const stat = thread === pid ? main : await this.#threadStat(pid, thread)
      if (stat?.state !== 'D' || !(await this.#mayWaitForFiles(pid, thread))) continue
      const uid = await this.#fileUid(pid, thread)
      if (uid !== undefined) found.push({ pid, thread, startTicks: stat.startTicks, uid })
    }
    return found
  }

  /** Undefined if there is no such thread (any more). */
  async #threadStat(pid: number, thread: number): Promise<ThreadStat | undefined> {
    const text = await this.#proc.text(`/proc/${pid}/task/${thread}/stat`)
    if (text === undefined) return undefined
    // The name before may hold anything, brackets too.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0]!, flags: Number(fields[6]), threads: Number(fields[17]), startTicks: fields[19]! }
  }

  /** By where it is in the kernel, if we may know: others wait for a disk. */
  async #mayWaitForFiles(pid: number, thread: number): Promise<boolean> {
    const stack = await this.#proc.text(`/proc/${pid}/task/${thread}/stack`)
    if (stack !== undefined && stack !== '') return /\b(?:nfs|rpc)_/.test(stack)
    // It is not to be known; or the thread goes on by now, and has waited for something else.
    return (await this.#threadStat(pid, thread))?.state === 'D'
  }

  async #fileUid(pid: number, thread: number): Promise<number | undefined> {
    const status = (await this.#proc.text(`/proc/${pid}/task/${thread}/status`)) ?? ''
    const uids = /^Uid:\s+\d+\s+\d+\s+\d+\s+(\d+)$/m.exec(status)
    return uids === null ? undefined : Number(uids[1])
  }

  async #isToldToEnd(pid: number, thread: number): Promise<boolean> {
    const status = (await this.#proc.text(`/proc/${pid}/task/${thread}/status`)) ?? ''
    return [...status.matchAll(/^(?:SigPnd|ShdPnd):\s+([0-9a-f]+)$/gm)].some(
      match => (BigInt(`0x${match[1]}`) & ENDING_SIGNALS) !== 0n,
    )
  }
}

/** A call that is over quicker needs no look. */
const FIRST_LOOK_MS = 100
const LOOK_EVERY_MS = 250

export interface AskersOptions {
  readonly look?: AskerLook
  readonly firstLookMs?: number
  readonly lookEveryMs?: number
}

/** A call whose asker is watched. */
export interface Watched {
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal
  /** It is answered. */
  end(): void
}

/** The facts that a call tells of its maker. */
export interface AskedBy {
  readonly uid: number | undefined
  /** The other end of the connection is a socket of this machine. */
  readonly socket: number | undefined
  readonly call?: { readonly signal: AbortSignal } | undefined
}

/**
 * Tells of calls that take long whether the program that made them still wants the answer. NFS does not say: a client's
 * kernel goes on waiting for a program that was told to end. But in the kernel of a mount of ours /proc does: the threads
 * that wait for a file server when the call has been under way for a moment are who may have made it, as far as they are
 * of its user and did not make an earlier one. If none of these wants the answer any more, nobody does.
 */
export class Askers {
  readonly #look: AskerLook | undefined
  readonly #firstLookMs: number
  readonly #lookEveryMs: number
  /** Those who made calls that are under way. */
  readonly #known = new Set<string>()

  constructor(options: AskersOptions = {}) {
    this.#look = options.look ?? (process.platform === 'linux' ? new ProcLook() : undefined)
    this.#firstLookMs = options.firstLookMs ?? FIRST_LOOK_MS
    this.#lookEveryMs = options.lookEveryMs ?? LOOK_EVERY_MS
  }

  /** Watches who made a call, until `end`. */
  watch({ uid, socket, call }: AskedBy): Watched {
    const given = new AbortController()
    const own = new Set<string>()
    let timer: Timer | undefined
    let isOver = false
    const lost = (): void => given.abort()
    const later = (ms: number, look: () => Promise<boolean>): void => {
      timer = setTimeout(() => {
        void look().then(goesOn => {
          if (goesOn && !isOver) later(this.#lookEveryMs, look)
        })
      }, ms)
      timer.unref()
    }
    call?.signal.addEventListener('abort', lost, { once: true })
    if (call?.signal.aborted === true) lost()
    const look = this.#look
    if (look !== undefined && socket !== undefined) {
      later(this.#firstLookMs, async () => {
        const candidates = await this.#candidates(look, uid, own)
        if (candidates.length > 0 && !isOver) later(0, () => goOnLooking(look, candidates, lost))
        return false
      })
    }
    return {
      signal: given.signal,
      end: () => {
        isOver = true
        clearTimeout(timer)
        call?.signal.removeEventListener('abort', lost)
        for (const key of own) this.#known.delete(key)
      },
    }
  }

  async #candidates(look: AskerLook, uid: number | undefined, own: Set<string>): Promise<Asker[]> {
    const waiting = await look.waiting().catch(() => [])
    const candidates = waiting.filter(asker => asker.uid === uid && !this.#known.has(keyOf(asker)))
    for (const asker of candidates) {
      own.add(keyOf(asker))
      this.#known.add(keyOf(asker))
    }
    return candidates
  }
}

function keyOf({ thread, startTicks }: Asker): string {
  return `${thread} ${startTicks}`
}

/** Looks at those who may have made a call; calls `lost` if all of them that were waiting gave up. False: no further look is worth it. */
async function goOnLooking(look: AskerLook, candidates: Asker[], lost: () => void): Promise<boolean> {
  let givesUp = false
  for (const asker of [...candidates]) {
    const state = await look.stateOf(asker)
    if (state === 'waits') return true
    if (state === 'is elsewhere') candidates.splice(candidates.indexOf(asker), 1)
    else givesUp = true
  }
  if (givesUp) lost()
  return false
}
