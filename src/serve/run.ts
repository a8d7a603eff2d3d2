import { messageOf } from '../core/errors.ts'
import { COMPACTION } from '../fs/compactor.ts'
import { type Control, type ControlHandlers, type ServerStatus, startControl } from './control.ts'
import { ServeError } from './errors.ts'
import { exportRecords, Mounts } from './mounts.ts'
import { recordOf, removeRecord, type ServerRecord, type ServerSettings, writeRecord } from './registry.ts'
import { serveTable, type TableServer } from './table-server.ts'

export interface RunOptions {
  readonly settings: ServerSettings
  readonly version: string
  readonly log: (sentence: string) => void
  /** The command line that serves the table in the same way again. */
  readonly command: (settings: ServerSettings) => readonly string[]
}

/** A server with all that other processes see of it. */
export interface Running {
  readonly server: TableServer
  /** Resolves when it has ended: told by a signal or by another process, or with its last mount. Rejects if it could not. */
  readonly stopped: Promise<void>
  /** Ends it, if it is not ending already. */
  stop(): void
}

/** Serves a table until a signal, another process or its last unmounting ends it. Rejects as serveTable does. */
export async function runServer(options: RunOptions): Promise<Running> {
  const { settings, log } = options
  const { location } = settings
  const previous = recordOf(location)
  const life = Promise.withResolvers<Life>()
  // Who asks before the server is ready waits.
  life.promise.catch(() => undefined)
  let control: Control | undefined
  let ready: Life | undefined
  try {
    const server = await serveTable({
      ...settings,
      ...(settings.noCompact === true ? {} : { compaction: COMPACTION }),
      log,
      onLocked: () => {
        control = startControl(location, handlersOf(life.promise))
      },
      onUnlock: () => {
        control?.unlisten()
        removeRecord(location)
      },
      onDisconnect: () => ready?.mounts.look(),
    })
    ready = new Life(server, options)
    await ready.begin(previous)
    life.resolve(ready)
    const { ended, stop } = ready
    // What it fails with, `stopped` tells.
    return { server, stopped: ended.finally(() => control?.close()), stop: () => void stop().catch(() => undefined) }
  } catch (error) {
    life.reject(error)
    await control?.close()
    throw error
  }
}

function handlersOf(life: Promise<Life>): ControlHandlers {
  return {
    watch: async () => null,
    status: async () => (await life).status(),
    look: async () => {
      await (await life).server.look()
      return null
    },
    settle: async () => {
      await (await life).server.settle()
      return null
    },
    stop: async () => {
      await (await life).stop()
      return null
    },
    join: async (request, asker) => {
      const { isStopping, mounts, location } = await life
      if (isStopping()) throw new ServeError('stopping', `the server of ${location} is ending; try again`)
      return mounts.join(request, asker)
    },
    mounted: async ({ mountPoint }) => {
      ;(await life).mounts.made(mountPoint)
      return null
    },
    leave: async () => {
      const { mounts, isStopping, stop } = await life
      await mounts.withoutClients()
      if (isStopping()) await stop()
      return { ended: isStopping(), isUsed: !isStopping() && mounts.isUsedWithout() }
    },
  }
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

/** A server from its start to its end. */
class Life {
  readonly server: TableServer
  readonly location: string
  readonly mounts: Mounts
  readonly ended: Promise<void>
  readonly #options: RunOptions
  readonly #startedMs = Date.now()
  readonly #end = Promise.withResolvers<void>()
  #stopping: Promise<void> | undefined

  constructor(server: TableServer, options: RunOptions) {
    this.server = server
    this.#options = options
    this.location = options.settings.location
    this.ended = this.#end.promise
    this.mounts = new Mounts({
      server,
      exports: exportRecords(server),
      untilUnmounted: options.settings.untilUnmounted,
      log: options.log,
      onUnused: () => void this.stop().catch(() => undefined),
      onChange: () => this.writeRecord(),
    })
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.on(signal, () => {
        options.log(`${signal} has come`)
        this.interrupt()
      })
    }
    // A mount without its server hangs: what went wrong in the background is told, and ends nothing else.
    for (const event of ['unhandledRejection', 'uncaughtException'] as const)
      process.on(event, error => options.log(`this is a defect in posixlake: ${stackOf(error)}`))
    // The end of a terminal is not the end of a server that was started in the background.
    process.on('SIGHUP', () => undefined)
  }

  readonly isStopping = (): boolean => this.#stopping !== undefined

  /** Takes over what a server that died has left, and tells other processes of this one. */
  async begin(previous: ServerRecord | undefined): Promise<void> {
    try {
      await this.mounts.inherit(previous)
      this.writeRecord()
    } catch (error) {
      await this.server.stop()
      throw error
    }
  }

  /** Unmounts, brings what is held to its end, and closes everything; the same promise for all who ask. */
  readonly stop = (): Promise<void> => {
    this.#stopping ??= this.#stop()
    this.#stopping.then(this.#end.resolve, this.#end.reject)
    return this.#stopping
  }

  async #stop(): Promise<void> {
    const { log } = this.#options
    log('the server is ending')
    // Whoever waits for a statement would keep the mount in use.
    await this.server.endStatements()
    await this.mounts.end()
    await this.server.stop()
    log('the server has ended')
  }

  async status(): Promise<ServerStatus> {
    const { server, mounts } = this
    mounts.look()
    const problem = await server.health.look()
    return {
      pid: process.pid,
      version: this.#options.version,
      held: server.held(),
      measuring: server.measuring(),
      compaction: server.compaction(),
      mounts: mounts.present,
      problem,
    }
  }

  /** Tells other processes of the server. */
  writeRecord(): void {
    const { server, location, mounts } = this
    const { settings, command } = this.#options
    const kept = { ...settings, host: server.host, port: server.port }
    writeRecord({
      pid: process.pid,
      location,
      settings: kept,
      endpoints: server.endpoints.all.map(({ host, port }) => ({ host, port })),
      host: server.host,
      port: server.port,
      exportPath: server.exportPath,
      readOnly: settings.readOnly,
      exports: exportRecords(server),
      mountPoints: mounts.ours,
      log: settings.logFile,
      state: server.stateDirectory,
      command: command(kept),
      startedMs: this.#startedMs,
    })
  }

  /** Ends the server; at once, whatever is under way, if it is ending already. */
  readonly interrupt = (): void => {
    const { log } = this.#options
    if (!this.isStopping()) {
      this.stop().catch(error => log(`the server could not end: ${messageOf(error)}`))
      return
    }
    log('the server ends at once; what is held is kept for the next server of the table')
    void this.mounts.cutOff().finally(() => process.exit(1))
  }
}
