import { closeSync, openSync, readFileSync } from 'node:fs'
import { messageOf } from '../core/errors.ts'
import { MountError } from '../mount/errors.ts'
import { ask } from './control.ts'
import { readRecords, type ServerRecord } from './registry.ts'

const LOOK_EVERY_MS = 20

export interface DaemonOptions {
  readonly command: readonly string[]
  readonly location: string
  /** Both outputs go there, behind what is there. */
  readonly log: string
}

/**
 * Starts a server that outlives this process and its terminal, and resolves when it answers. Rejects with what it said
 * if it ends before that.
 */
export async function startDaemon({ command, location, log }: DaemonOptions): Promise<ServerRecord> {
  const out = openSync(log, 'a', 0o600)
  const start = readFileSync(log).length
  const { spawn } = await import('node:child_process')
  // A session of its own: the terminal's end is not the server's.
  const child = spawn(command[0]!, command.slice(1), { cwd: '/', detached: true, stdio: ['ignore', out, out] })
  closeSync(out)
  let ended: string | undefined
  child.on('error', error => {
    ended = messageOf(error)
  })
  child.on('exit', (code, signal) => {
    ended = signal ?? `exit status ${code}`
  })
  for (;;) {
    if (ended !== undefined) {
      const said = readFileSync(log).subarray(start).toString().trim().split('\n').at(-1) ?? ''
      throw new MountError(
        'no_server',
        said === '' ? `the server ended at once (${ended}); its log is ${log}` : said.replace(/^posixlake: /, ''),
      )
    }
    const record = readRecords().find(known => known.location === location && known.pid === child.pid)
    if (record !== undefined && (await ask(location, 'status')) !== undefined) {
      child.unref()
      return record
    }
    await new Promise(resolve => setTimeout(resolve, LOOK_EVERY_MS))
  }
}
