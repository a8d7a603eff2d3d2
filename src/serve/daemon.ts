import { spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { LakeError, messageOf } from '../core/errors.ts'
import { ServeError, serveError } from './errors.ts'

/** Names the descriptor by which a server in the background tells who started it how that went. */
const OUTCOME_VARIABLE = 'POSIXLAKE_OUTCOME_FD'
const OUTCOME_FD = 3

type StartReport =
  | { readonly started: true }
  | { readonly started: false; readonly code?: string; readonly message: string }

export interface DaemonOptions {
  readonly command: readonly string[]
  /** Both outputs go there, behind what is there. */
  readonly log: string
  /** Ends a server that has not started yet. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Starts a server that outlives this process and its terminal, and resolves when it serves. Rejects with the ServeError
 * that it reports, or with its last words if it ends without a report.
 */
export async function startDaemon({ command, log, signal }: DaemonOptions): Promise<void> {
  const out = openSync(log, 'a', 0o600)
  const start = statSync(log).size
  const [program = '', ...args] = command
  const { promise: ended, resolve: end } = Promise.withResolvers<string>()
  // A session of its own: the terminal's end is not the server's.
  const child = spawn(program, args, {
    cwd: '/',
    detached: true,
    stdio: ['ignore', out, out, 'pipe'],
    env: { ...process.env, [OUTCOME_VARIABLE]: String(OUTCOME_FD) },
  })
  closeSync(out)
  child.on('error', error => end(messageOf(error)))
  child.on('exit', (code, name) => end(name ?? `exit status ${code}`))
  const abort = (): void => void child.kill('SIGTERM')
  signal?.addEventListener('abort', abort)
  const report = await reportFrom(child.stdio[OUTCOME_FD] as NodeJS.ReadableStream | null | undefined)
  signal?.removeEventListener('abort', abort)
  if (report === undefined) throw new ServeError('failed', lastWords(log, start, await ended))
  if (!report.started) throw serveError(report.code, report.message)
  child.unref()
}

/** The one line that comes from the server; undefined if it ended without. */
async function reportFrom(pipe: NodeJS.ReadableStream | null | undefined): Promise<StartReport | undefined> {
  if (pipe === null || pipe === undefined) return undefined
  let text = ''
  try {
    for await (const chunk of pipe) {
      text += chunk.toString()
      if (text.endsWith('\n')) return JSON.parse(text) as StartReport
    }
  } catch {
    // A pipe that breaks tells nothing.
  }
  return undefined
}

function lastWords(log: string, start: number, how: string): string {
  const said = readFileSync(log).subarray(start).toString().trim().split('\n').at(-1) ?? ''
  return said === '' ? `the server ended at once (${how}); its log is ${log}` : said.replace(/^posixlake: /, '')
}

/** Tells who started this process in the background, if anybody did, that the table is served, or why it cannot be. */
export function reportOutcome(error?: unknown): void {
  const fd = Number(process.env[OUTCOME_VARIABLE] ?? 0)
  delete process.env[OUTCOME_VARIABLE]
  if (fd !== OUTCOME_FD) return
  const report: StartReport =
    error === undefined
      ? { started: true }
      : { started: false, message: messageOf(error), ...(error instanceof LakeError ? { code: error.code } : {}) }
  try {
    writeSync(fd, `${JSON.stringify(report)}\n`)
    closeSync(fd)
  } catch {
    // Whoever started it is gone.
  }
}
