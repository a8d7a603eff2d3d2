import { closeSync, openSync, writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'
import { errnoOf, LakeError, messageOf } from '../core/errors.ts'
import { onceDone } from '../core/once.ts'
import { takeAway } from '../core/take-away.ts'
import { writeWhole } from '../core/whole-io.ts'
import type { Table } from '../table/table.ts'
import { execute } from './engine.ts'
import { SqlError } from './errors.ts'
import { resultText } from './format.ts'
import { inWordsOfLimits, overResult } from './limits.ts'
import { decodeRequest, encodeMessage, linesOf, type StatementAnswer, type StatementRequest } from './protocol.ts'
import { noteWritten } from './record.ts'
import type { WrittenFile } from './written.ts'

const STDOUT = 1
const BUFFER_BYTES = 1 << 20
/** Behind the server, which has programs waiting. */
const NICENESS = 10
/** The time that a statement that is given up may take to clear up, in milliseconds. */
const ENDING_MS = 2000

export interface SqlProcessOptions {
  /** Opens the table; what its store makes is told to `onWrite` before. */
  readonly open: (onWrite: (temporary: string, path: string) => void) => Promise<Table>
  readonly input: AsyncIterable<Uint8Array>
}

/**
 * Runs the statements that a server sends, one after the other, until the server ends (see protocol.ts). The table is
 * opened with the first statement that is about it, and stays open.
 */
export async function runSqlProcess({ open, input }: SqlProcessOptions): Promise<void> {
  yieldToOthers()
  const runner = new Runner(open)
  const requests = linesOf(input)[Symbol.asyncIterator]()
  for (let next = await requests.next(); next.done !== true; ) {
    const given = new AbortController()
    const running = runner.run(decodeRequest(next.value), given.signal)
    // The input is listened to meanwhile: its end is the end of the server.
    const following = requests.next()
    void following.then(({ done }) => {
      if (done === true) giveUp(given)
    })
    say(await running)
    next = await following
  }
  await runner.close()
}

/** Ends a statement whose server is gone, and the process if it does not end by itself soon. */
function giveUp(given: AbortController): void {
  given.abort(new SqlError('ended', 'the server is gone'))
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), ENDING_MS).unref()
}

/** Yields to the file service where there is too little of something, and has this process be the one to be ended. */
function yieldToOthers(): void {
  try {
    setPriority(NICENESS)
    if (process.platform === 'linux') writeFileSync('/proc/self/oom_score_adj', '1000')
  } catch {
    // It runs as well without.
  }
  // Ctrl-C in the server's terminal is for the server, which ends us as it needs to.
  for (const signal of ['SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined)
}

function say(answer: StatementAnswer): void {
  const bytes = encodeMessage(answer)
  try {
    writeWhole(STDOUT, bytes)
  } catch (error) {
    // Nobody is there to hear it.
    if (errnoOf(error) !== 'EPIPE') throw error
  }
}

class Runner {
  readonly #open: () => Promise<Table>
  /** Opened with the first statement that is about it. */
  #table: Table | undefined
  readonly #opened = onceDone(async () => {
    this.#table = await this.#open()
    return this.#table
  })
  #written: WrittenFile[] = []
  #recordPath: string | undefined

  constructor(open: SqlProcessOptions['open']) {
    this.#open = () =>
      open((temporary, path) => {
        if (this.#recordPath === undefined) return
        const file = { temporary, path }
        noteWritten(this.#recordPath, file)
        this.#written.push(file)
      })
  }

  async run(request: StatementRequest, signal: AbortSignal): Promise<StatementAnswer> {
    say({ kind: 'begun' })
    this.#recordPath = request.change?.recordPath
    this.#written = []
    try {
      return await this.#answer(request, signal)
    } catch (error) {
      return failed(inWords(error, request))
    } finally {
      // What is written from now on is checkpoints.
      this.#recordPath = undefined
    }
  }

  async #answer(request: StatementRequest, signal: AbortSignal): Promise<StatementAnswer> {
    const { sql, memoryBytes, spillFolder, change } = request
    const outcome = await execute(this.#opened, sql, {
      signal,
      log: sentence => say({ kind: 'note', sentence }),
      memoryBytes,
      spillFolder,
      readOnly: change === undefined,
      written: this.#written,
      ...(change === undefined ? {} : { txnId: change.txnId }),
    })
    if (outcome.kind === 'changed') return { ...outcome, version: outcome.version?.toString() }
    let file: ResultFile | undefined
    try {
      file = new ResultFile(request)
      for await (const bytes of resultText(outcome.result, request.format)) file.write(bytes)
      return { kind: 'rows', sizeBytes: file.finish() }
    } catch (error) {
      file?.drop()
      throw error
    } finally {
      outcome.result.close()
    }
  }

  /** Waits for checkpoints under way. */
  async close(): Promise<void> {
    await this.#table?.close()
  }
}

/** The file of a result, as large as it may be. */
class ResultFile {
  readonly #request: StatementRequest
  readonly #fd: number
  #pending: Uint8Array[] = []
  #pendingBytes = 0
  #size = 0

  constructor(request: StatementRequest) {
    this.#request = request
    this.#fd = openSync(request.resultPath, 'wx', 0o600)
  }

  write(bytes: Uint8Array): void {
    this.#pending.push(bytes)
    this.#pendingBytes += bytes.length
    if (this.#size + this.#pendingBytes > this.#request.resultBytes) throw overResult(this.#request)
    if (this.#pendingBytes >= BUFFER_BYTES) this.#flush()
  }

  /** The size in bytes. */
  finish(): number {
    this.#flush()
    closeSync(this.#fd)
    return this.#size
  }

  drop(): void {
    closeSync(this.#fd)
    takeAway(this.#request.resultPath)
  }

  #flush(): void {
    for (const bytes of this.#pending) {
      writeWhole(this.#fd, bytes)
      this.#size += bytes.length
    }
    this.#pending = []
    this.#pendingBytes = 0
  }
}

function inWords(error: unknown, request: StatementRequest): unknown {
  if (error instanceof SqlError) return inWordsOfLimits(error, request)
  if (errnoOf(error) !== 'ENOSPC' || error instanceof LakeError) return error
  return new SqlError('failed', `the disk is full: there is no room for the result in ${request.resultPath}`, {
    cause: error,
  })
}

function failed(error: unknown): StatementAnswer {
  const message = messageOf(error)
  if (error instanceof SqlError) return { kind: 'failed', code: error.code, message, isSound: error.code !== 'failed' }
  // What is wrong with the table may be wrong with what we have of it in memory.
  return {
    kind: 'failed',
    code: 'failed',
    message: error instanceof LakeError ? message : `this is a defect in posixlake: ${message}`,
    isSound: false,
  }
}
