import { renameSync, statSync } from 'node:fs'
import { messageOf } from '../../core/errors.ts'
import { startControl } from '../../mount/control.ts'
import { darwinMountCommand } from '../../mount/darwin.ts'
import { mountAt, mountCommand, mountsOf, unmount } from '../../mount/linux.ts'
import { readRecords, removeRecord, writeRecord } from '../../mount/registry.ts'
import { shellQuoted } from '../../mount/run.ts'
import type { SqlLimits } from '../../sql/limits.ts'
import { command } from '../command.ts'
import { logLine, note, print } from '../output.ts'
import { cacheBytesOf, hostOf, portOf, serveArgs } from '../serve-args.ts'
import { serveTable, type TableServer } from '../server.ts'
import { sqlLimitFlags, sqlLimitsOf } from '../sql-args.ts'
import { locationName } from '../table-of.ts'
import { VERSION } from './index.ts'

const LOG_BYTES_MAX = 10 << 20

export interface RunningOptions {
  readonly location: string
  readonly host: string
  readonly port: number | undefined
  readonly readOnly: boolean
  readonly allowOther: boolean
  readonly cacheBytes: number | undefined
  readonly sqlLimits: SqlLimits
  readonly mountPoint: string | undefined
  readonly log: string | undefined
}

/** A server with all that other processes see of it. */
export interface Running {
  readonly server: TableServer
  /** Resolves when it has been told to stop, by a signal or by another process, and has stopped. */
  readonly stopped: Promise<void>
}

/** Serves a table until a signal or another process ends it. */
export async function runServer(request: RunningOptions): Promise<Running> {
  const location = locationName(request.location)
  const server = await serveTable({ ...request, location, log: logLine })
  const options = { ...request, mountPoint: request.mountPoint ?? inheritedMount(location, server.exportPath) }
  const { promise: stopped, resolve } = Promise.withResolvers<void>()
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      // Whoever waits for a statement would keep the mount in use.
      await server.endStatements()
      await unmountIfMounted(options.mountPoint)
      await server.stop()
      removeRecord(location)
    })()
    return stopping
  }
  const control = startControl(location, {
    status: () => ({ pid: process.pid, version: VERSION, held: server.held(), measuring: server.measuring() }),
    settle: () => server.settle(),
    stop,
  })
  const end = (): void => {
    void stop()
      .catch(error => logLine(`stopping: ${messageOf(error)}`))
      .finally(() => {
        control.close()
        resolve()
      })
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, end)
  // The end of a terminal is not the end of a server that was started in the background.
  process.on('SIGHUP', () => undefined)
  writeRecord({
    pid: process.pid,
    location,
    host: server.host,
    port: server.port,
    exportPath: server.exportPath,
    readOnly: options.readOnly,
    mountPoint: options.mountPoint,
    log: options.log,
    command: serveCommand(options, server.port),
    startedMs: Date.now(),
  })
  return { server, stopped: Promise.race([stopped, stoppedByOther(() => stopping, resolve, control)]) }
}

/** Ends the process some time after another one asked for it: its answer has to go out first. */
async function stoppedByOther(
  stopping: () => Promise<void> | undefined,
  resolve: () => void,
  control: { close(): void },
): Promise<void> {
  const { promise, resolve: done } = Promise.withResolvers<void>()
  const timer = setInterval(() => {
    const going = stopping()
    if (going === undefined) return
    clearInterval(timer)
    void going.finally(() =>
      setTimeout(() => {
        control.close()
        resolve()
        done()
      }, 50),
    )
  }, 20)
  return promise
}

/** Where `posixlake mount` mounted the table for a server that died: the mount goes on with this one, and ends with it. */
function inheritedMount(location: string, exportPath: string): string | undefined {
  const mountPoint = readRecords().find(record => record.location === location)?.mountPoint
  return mountsOf(exportPath).some(entry => entry.mountPoint === mountPoint) ? mountPoint : undefined
}

/** A mount without a server hangs whoever looks at it. */
async function unmountIfMounted(mountPoint: string | undefined): Promise<void> {
  if (mountPoint === undefined || mountAt(mountPoint) === undefined) return
  try {
    await unmount(mountPoint)
  } catch (error) {
    logLine(`${messageOf(error)}; it is cut off`)
    // What is held has to come to its end even if the mount cannot.
    await unmount(mountPoint, true).catch(failure => logLine(messageOf(failure)))
  }
}

/** The command line that takes up this server's port again. */
export function serveCommand(options: RunningOptions, port: number): string[] {
  const executable = Bun.main.startsWith('/$bunfs/') ? [process.execPath] : [process.execPath, Bun.main]
  const flags = [
    ...(options.readOnly ? ['--read-only'] : []),
    ...(options.allowOther ? ['--allow-other'] : []),
    ...(options.cacheBytes === undefined ? [] : ['--cache-size', String(options.cacheBytes)]),
    ...sqlLimitFlags(options.sqlLimits),
    ...(options.mountPoint === undefined ? [] : ['--mounted-at', options.mountPoint]),
    ...(options.log === undefined ? [] : ['--log', options.log]),
  ]
  return [
    ...executable,
    'serve',
    locationName(options.location),
    '--host',
    options.host,
    '--port',
    String(port),
    ...flags,
  ]
}

export default command({
  name: 'serve',
  summary: 'Serve a table over NFS without mounting it; prints the command that mounts it',
  examples: ['posixlake serve ./people', 'posixlake serve ./people --port 12049 --read-only'],
  args: {
    ...serveArgs,
    'mounted-at': {
      type: 'string',
      valueHint: 'FOLDER',
      description: 'Where it is mounted, to be unmounted at the end (set by mount)',
    },
    log: { type: 'string', valueHint: 'FILE', description: 'The log that status names (set by mount)' },
  },
  run: async args => {
    const options: RunningOptions = {
      location: args.table,
      host: hostOf(args.host),
      port: portOf(args.port),
      readOnly: args['read-only'] === true,
      allowOther: args['allow-other'] === true,
      cacheBytes: cacheBytesOf(args['cache-size']),
      sqlLimits: sqlLimitsOf(args),
      mountPoint: args['mounted-at'],
      log: args.log,
    }
    const { server, stopped } = await runServer(options)
    if (options.log === undefined) await announce(server, options)
    else bound(options.log)
    void server.warmUp().catch(error => logLine(messageOf(error)))
    await stopped
    return undefined
  },
})

async function announce(server: TableServer, options: RunningOptions): Promise<void> {
  const { host, port, exportPath } = server
  const request = {
    host,
    port,
    exportPath,
    mountPoint: '/mnt/posixlake',
    readOnly: options.readOnly,
  }
  const line = (words: readonly string[]): string => `  sudo ${words.map(shellQuoted).join(' ')}\n`
  await print(
    `Serving ${locationName(options.location)} on ${host}:${port}.\n\nLinux:\n${line(mountCommand(request))}\nmacOS:\n${line(darwinMountCommand({ ...request, exportPath: '/posixlake' }))}`,
  )
  note('Ctrl-C ends it.')
}

/** A log that grew too long is begun anew at the next start. */
function bound(log: string): void {
  if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES_MAX) renameSync(log, `${log}.1`)
}
