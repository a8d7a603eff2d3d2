import { messageOf } from '../core/errors.ts'
import { mountAt, mountsOf, unmount } from '../mount/linux.ts'
import { startControl } from './control.ts'
import { readRecords, removeRecord, writeRecord } from './registry.ts'
import { type ServeOptions, serveTable, type TableServer } from './table-server.ts'

export interface RunOptions extends ServeOptions {
  readonly version: string
  readonly mountPoint: string | undefined
  /** The file that `log` writes to, if it does. */
  readonly logFile: string | undefined
  /** The command line that serves the table in the same way again. */
  readonly command: (options: RunOptions) => readonly string[]
}

/** A server with all that other processes see of it. */
export interface Running {
  readonly server: TableServer
  /** Resolves when it has been told to stop, by a signal or by another process, and has stopped. */
  readonly stopped: Promise<void>
}

/** Serves a table until a signal or another process ends it. */
export async function runServer(request: RunOptions): Promise<Running> {
  const { location, log } = request
  const server = await serveTable(request)
  const options = { ...request, mountPoint: request.mountPoint ?? inheritedMount(location, server.exportPath) }
  const { promise: stopped, resolve } = Promise.withResolvers<void>()
  let stopping: Promise<void> | undefined
  const stop = (): Promise<void> => {
    stopping ??= (async () => {
      await unmountIfMounted(options.mountPoint, log)
      await server.stop()
      removeRecord(location)
    })()
    return stopping
  }
  const control = startControl(location, {
    status: () => ({ pid: process.pid, version: request.version, held: server.held(), measuring: server.measuring() }),
    settle: () => server.settle(),
    stop,
  })
  const end = (): void => {
    void stop()
      .catch(error => log(`stopping: ${messageOf(error)}`))
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
    log: options.logFile,
    command: request.command({ ...options, port: server.port }),
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
async function unmountIfMounted(mountPoint: string | undefined, log: (sentence: string) => void): Promise<void> {
  if (mountPoint === undefined || mountAt(mountPoint) === undefined) return
  try {
    await unmount(mountPoint)
  } catch (error) {
    log(`${messageOf(error)}; it is cut off`)
    // What is held has to come to its end even if the mount cannot.
    await unmount(mountPoint, true).catch(failure => log(messageOf(failure)))
  }
}
