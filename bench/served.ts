import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Subprocess } from 'bun'
import { freePort } from '../test/helpers/free-port.ts'
import { NfsClient } from '../test/nfs/client.ts'

/** Processor ticks in a second: USER_HZ, the same on every Linux. */
const TICKS = 100

/** A client of a server that has just been started, of whatever version: once it listens. */
export async function connected(port: number, server: Subprocess): Promise<NfsClient> {
  for (;;) {
    if (server.exitCode !== null) throw new Error(`the server ended with exit status ${server.exitCode}`)
    try {
      const client = await NfsClient.connect({ port })
      await client.null()
      return client
    } catch {
      await Bun.sleep(10)
    }
  }
}

/** A client of a server of a table that is started for it, with its cache in a folder. */
export async function served(
  binary: string,
  location: string,
  folder: string,
): Promise<{ readonly client: NfsClient; readonly server: Subprocess; readonly port: number }> {
  const port = freePort()
  const server = Bun.spawn([binary, 'serve', location, '--port', String(port)], {
    env: { ...process.env, XDG_CACHE_HOME: join(folder, 'cache') },
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
  })
  return { client: await connected(port, server), server, port }
}

/** Milliseconds of processor time of a process so far, with all its threads. */
export function cpuMs({ pid }: Subprocess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS
}

/** The same of a process with all that it has started. */
export function treeCpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  const own = fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * (1000 / TICKS)
  const threads = readdirSync(`/proc/${pid}/task`)
  const children = threads.flatMap(id => readFileSync(`/proc/${pid}/task/${id}/children`, 'utf8').trim().split(' '))
  return children.filter(id => id !== '').reduce((sum, id) => sum + treeCpuMs(Number(id)), own)
}

/** Megabytes that a process has had in memory at most, so far. */
export function peakMegabytes(pid: number): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1e3
}

/**
 * The largest memory of a process, looked at until it ends. What the system says of it afterwards counts the memory of
 * the process that started it, too.
 */
export function watchPeak(pid: number): () => number {
  let peak = 0
  const timer = setInterval(() => {
    try {
      peak = Math.max(peak, peakMegabytes(pid))
    } catch {
      clearInterval(timer) // It has ended.
    }
  }, 5)
  return () => {
    clearInterval(timer)
    return peak
  }
}
