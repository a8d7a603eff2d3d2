import { readFileSync } from 'node:fs'
import { messageOf } from '../core/errors.ts'
import { SqlError } from './errors.ts'
import { decodeAnswer, encodeMessage, linesOf, type StatementAnswer, type StatementRequest } from './protocol.ts'
import type { ProcessId } from './record.ts'

/** The time that a process that is told to end may take for what it does in the background, in milliseconds. */
const ENDING_MS = 5000
const LOOK_EVERY_MS = 5

/** A process ended in the middle of a statement. */
export class ProcessEnded extends Error {
  /** The statement had arrived there. */
  readonly hadBegun: boolean
  /** `SIGKILL`, or `exit status 1`. */
  readonly how: string

  constructor(hadBegun: boolean, how: string) {
    super(`the SQL process ended: ${how}`)
    this.hadBegun = hadBegun
    this.how = how
  }
}

interface Pending {
  begun: boolean
  readonly resolve: (answer: StatementAnswer) => void
  readonly reject: (error: ProcessEnded) => void
}

/** A process that runs statements for this one, as its other end sees it (see protocol.ts). */
export class SqlChild {
  readonly id: ProcessId
  /** Resolves when the process is gone and all that it said was heard. */
  readonly ended: Promise<void>
  readonly #child: Bun.Subprocess<'pipe', 'pipe', 'inherit'>
  readonly #onNote: (sentence: string) => void
  #pending: Pending | undefined
  #isOver = false

  /** Starts a process. SqlError `unavailable`. */
  constructor(command: readonly string[], onNote: (sentence: string) => void) {
    this.#onNote = onNote
    try {
      this.#child = Bun.spawn([...command], {
        cwd: '/',
        // How to get at the table's store may have been put there since we began.
        env: process.env,
        stdin: 'pipe',
        stdout: 'pipe',
        stderr: 'inherit',
      })
    } catch (cause) {
      throw new SqlError('unavailable', `the process for SQL cannot be started: ${messageOf(cause)}`, { cause })
    }
    this.id = processId(this.#child.pid)
    this.ended = this.#listen()
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Runs a statement; one at a time. Rejects with ProcessEnded. */
  run(request: StatementRequest): Promise<StatementAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#isOver) {
        reject(new ProcessEnded(false, this.#how()))
        return
      }
      this.#pending = { begun: false, resolve, reject }
      // If it is on its way out, `ended` says so.
      void this.#send(encodeMessage(request)).catch(() => undefined)
    })
  }

  async #send(bytes: Uint8Array): Promise<void> {
    await this.#child.stdin.write(bytes)
    await this.#child.stdin.flush()
  }

  /** Ends it at once, whatever it is doing; resolves when it is gone. */
  kill(): Promise<void> {
    if (!this.#isOver) this.#child.kill('SIGKILL')
    return this.ended
  }

  /** Ends it when it has finished what goes on in the background; resolves when it is gone. */
  async end(): Promise<void> {
    const timer = setTimeout(() => void this.kill(), ENDING_MS)
    await Promise.resolve(this.#child.stdin.end()).catch(() => undefined)
    await this.ended
    clearTimeout(timer)
  }

  /** The memory that it has in use, in bytes; undefined where the system does not say. */
  residentBytes(): number | undefined {
    try {
      const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${this.id.pid}/status`, 'utf8'))?.[1]
      return kilobytes === undefined ? undefined : Number(kilobytes) * 1024
    } catch {
      return undefined
    }
  }

  async #listen(): Promise<void> {
    try {
      for await (const line of linesOf(this.#child.stdout)) this.#heard(decodeAnswer(line))
    } catch {
      // Whoever says what is no answer cannot be talked to.
      this.#child.kill('SIGKILL')
    }
    await this.#child.exited
    this.#isOver = true
    this.#pending?.reject(new ProcessEnded(this.#pending.begun, this.#how()))
    this.#pending = undefined
  }

  #heard(answer: StatementAnswer): void {
    if (answer.kind === 'note') {
      this.#onNote(answer.sentence)
      return
    }
    const pending = this.#pending
    if (pending === undefined) return
    if (answer.kind === 'begun') {
      pending.begun = true
      return
    }
    this.#pending = undefined
    pending.resolve(answer)
  }

  #how(): string {
    const { signalCode, exitCode } = this.#child
    return signalCode === null ? `exit status ${exitCode}` : String(signalCode)
  }
}

/** Returns the id of a process, which no other has, also no later one of its number. */
function processId(pid: number): ProcessId {
  return { pid, startTicks: startTicks(pid) }
}

/** Undefined if there is no such process, or no /proc. */
function startTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name before may hold anything, brackets too.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

/** Ends a process that an earlier server left, if it still runs; resolves when it is gone. */
export async function endStray({ pid, startTicks: ticks }: ProcessId): Promise<void> {
  // Without /proc its number may be anybody's by now; it ends by itself when its server is gone.
  while (ticks !== undefined && startTicks(pid) === ticks && !isZombie(pid)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      return
    }
    await Bun.sleep(LOOK_EVERY_MS)
  }
}

function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return /^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2))
  } catch {
    return true
  }
}
