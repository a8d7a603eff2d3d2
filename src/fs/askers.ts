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

/**
 * Looks into /proc of Linux. A program in close(2) of a file that it wrote waits there, in state D, until we have answered;
 * not even SIGKILL ends that, it is only pending (tried with Linux 6.1). One that waits in read(2) or open(2) dies at once.
 */
export const procLook: AskerLook = {
  waiting: async () => {
    const found: Asker[] = []
    const pids = (await readdir('/proc')).filter(name => /^\d+$/.test(name)).map(Number)
    for (let start = 0; start < pids.length; start += THREADS_AT_ONCE) {
      const some = await Promise.all(pids.slice(start, start + THREADS_AT_ONCE).map(waitingThreads))
      found.push(...some.flat())
    }
    return found
  },
  stateOf: async ({ pid, thread, startTicks }) => {
    const stat = await threadStat(pid, thread)
    if (stat === undefined || stat.startTicks !== startTicks || /^[ZX]$/.test(stat.state)) return 'gives up'
    if (stat.state !== 'D') return 'is elsewhere'
    if ((stat.flags & PF_SIGNALED) !== 0) return 'gives up'
    return (await isToldToEnd(pid, thread)) ? 'gives up' : 'waits'
  },
}

async function waitingThreads(pid: number): Promise<Asker[]> {
  const main = await threadStat(pid, pid)
  if (main === undefined || (main.flags & PF_KTHREAD) !== 0) return []
  const threads = main.threads > 1 ? await numbersIn(`/proc/${pid}/task`) : [pid]
  const found: Asker[] = []
  for (const thread of threads) {
    const stat = thread === pid ? main : await threadStat(pid, thread)
    if (stat?.state !== 'D' || !(await mayWaitForFiles(pid, thread))) continue
    const uid = await fileUid(pid, thread)
    if (uid !== undefined) found.push({ pid, thread, startTicks: stat.startTicks, uid })
  }
  return found
}

async function numbersIn(folder: string): Promise<number[]> {
  return (await readdir(folder).catch(() => [])).map(Number)
}

/** Undefined if there is no such thread (any more). */
async function threadStat(pid: number, thread: number): Promise<ThreadStat | undefined> {
  const text = await textOf(`/proc/${pid}/task/${thread}/stat`)
  if (text === undefined) return undefined
  // The name before may hold anything, brackets too.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return { state: fields[0]!, flags: Number(fields[6]), threads: Number(fields[17]), startTicks: fields[19]! }
}

/** By where it is in the kernel, if we may know: others wait for a disk. */
async function mayWaitForFiles(pid: number, thread: number): Promise<boolean> {
  const stack = await textOf(`/proc/${pid}/task/${thread}/stack`)
  return stack === undefined || stack === '' || /\b(?:nfs|rpc)_/.test(stack)
}

async function fileUid(pid: number, thread: number): Promise<number | undefined> {
  const uids = /^Uid:\s+\d+\s+\d+\s+\d+\s+(\d+)$/m.exec((await textOf(`/proc/${pid}/task/${thread}/status`)) ?? '')
  return uids === null ? undefined : Number(uids[1])
}

async function isToldToEnd(pid: number, thread: number): Promise<boolean> {
  const status = (await textOf(`/proc/${pid}/task/${thread}/status`)) ?? ''
  return [...status.matchAll(/^(?:SigPnd|ShdPnd):\s+([0-9a-f]+)$/gm)].some(
    match => (BigInt(`0x${match[1]}`) & ENDING_SIGNALS) !== 0n,
  )
}

async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch {
    return undefined
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
    this.#look = options.look ?? (process.platform === 'linux' ? procLook : undefined)
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
