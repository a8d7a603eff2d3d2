import { mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, join } from 'node:path'
import { messageOf } from '../../core/errors.ts'
import { openLake } from '../../lake.ts'
import { ask } from '../../mount/control.ts'
import { startDaemon } from '../../mount/daemon.ts'
import { darwinMountCommand } from '../../mount/darwin.ts'
import { MountError } from '../../mount/errors.ts'
import { canonicalPath, checkCanMount, checkMountPoint, mount, mountsOf } from '../../mount/linux.ts'
import { readRecords, type ServerRecord } from '../../mount/registry.ts'
import { shellQuoted } from '../../mount/run.ts'
import { command } from '../command.ts'
import { interruptible } from '../interrupt.ts'
import { note, print } from '../output.ts'
import { cacheBytesOf, hostOf, portOf, serveArgs } from '../serve-args.ts'
import { DEFAULT_PORT } from '../server.ts'
import { sqlLimitsOf } from '../sql-args.ts'
import { locationName } from '../table-of.ts'
import { type RunningOptions, runServer, serveCommand } from './serve.ts'

const PORTS_TRIED = 100

export default command({
  name: 'mount',
  summary: 'Show a table as files; returns when they can be used',
  examples: ['posixlake mount ./people /mnt/people', 'posixlake mount ./people /mnt/people --read-only --port 12050'],
  args: {
    ...serveArgs,
    folder: { type: 'positional', required: true, description: 'The mount point: a folder that exists' },
    foreground: { type: 'boolean', description: 'Stay, and log to the terminal; Ctrl-C unmounts' },
  },
  run: async args => {
    const options: RunningOptions = {
      location: locationName(args.table),
      host: hostOf(args.host),
      port: portOf(args.port),
      readOnly: args['read-only'] === true,
      allowOther: args['allow-other'] === true,
      cacheBytes: cacheBytesOf(args['cache-size']),
      sqlLimits: sqlLimitsOf(args),
      mountPoint: args.folder,
      log: undefined,
    }
    await checkTable(options.location)
    if (process.platform === 'darwin') return mountByHand(options)
    const lost = lostMount(options.location, canonicalPath(args.folder))
    const mountPoint = lost?.mountPoint ?? checkMountPoint(args.folder, options.location)
    await checkCanMount([process.execPath, ...process.argv.slice(2)])
    await (args.foreground === true ? stay : goOn)(
      { ...options, mountPoint, ...lost, names: [args.table, args.folder] },
      lost === undefined,
    )
    return undefined
  },
})

/** Says what is wrong with the table before anything is started. */
async function checkTable(location: string): Promise<void> {
  if ((await ask(location, 'status')) !== undefined) {
    throw new MountError('busy', `${location} is being served already; \`posixlake status\` says where`)
  }
  const lake = await openLake(location)
  await lake.close()
}

/**
 * A mount of the table whose server died: the next server has to take up its port, on which programs wait. MountError if it
 * is at another folder than the wanted one.
 */
function lostMount(
  location: string,
  wanted: string,
): { mountPoint: string; port: number; readOnly: boolean } | undefined {
  const record = readRecords().find(known => known.location === location)
  const [entry] = record === undefined ? [] : mountsOf(record.exportPath)
  if (record === undefined || entry === undefined) return undefined
  const { mountPoint } = entry
  if (mountPoint !== wanted) {
    const words = [location, mountPoint].map(shellQuoted).join(' ')
    throw new MountError(
      'busy',
      `${location} is mounted at ${mountPoint}, and its server is gone; bring it back with: posixlake mount ${words}, or end it with: posixlake unmount ${shellQuoted(mountPoint)}`,
    )
  }
  return { mountPoint, port: record.port, readOnly: record.readOnly }
}

type MountOptions = RunningOptions & {
  readonly mountPoint: string
  /** The table and the folder, as the user calls them. */
  readonly names: readonly [string, string]
}

/** Mounts what is served now; if that fails the server ends, too. */
async function mountServed(server: { host: string; port: number; exportPath: string }, options: MountOptions) {
  const { mountPoint, readOnly, location } = options
  try {
    await mount({ ...server, mountPoint, readOnly })
  } catch (error) {
    await ask(location, 'stop')
    throw error
  }
}

async function stay(options: MountOptions, isNew: boolean): Promise<void> {
  const { server, stopped } = await runServer(options)
  if (isNew) await mountServed(server, options)
  note(`${options.names.join(' is mounted at ')}; Ctrl-C unmounts it.`)
  void server.warmUp().catch(error => note(messageOf(error)))
  await stopped
}

async function goOn(options: MountOptions, isNew: boolean): Promise<void> {
  const log = join(logDirectory(), `${basename(options.location)}-${Bun.hash.crc32(options.location).toString(16)}.log`)
  await interruptible(async signal => {
    const server = await startOnSomePort({ ...options, log })
    // Ctrl-C does not reach the daemon.
    if (signal.aborted && isNew) await ask(options.location, 'stop')
    signal.throwIfAborted()
    if (isNew) await mountServed(server, options)
  })
  await print(`${options.names.join(' is mounted at ')}${isNew ? '' : ' again; its server was gone'}.\n`)
}

/** The daemon's command line names its port, so that started again it takes up the same one. */
async function startOnSomePort(options: RunningOptions & { log: string }): Promise<ServerRecord> {
  const ports =
    options.port === undefined ? Array.from({ length: PORTS_TRIED }, (_, i) => DEFAULT_PORT + i) : [options.port]
  for (const port of ports) {
    try {
      return await startDaemon({ command: serveCommand(options, port), location: options.location, log: options.log })
    } catch (error) {
      const taken = error instanceof MountError && /in use|EADDRINUSE/.test(error.message)
      if (!taken || port === ports.at(-1)) throw error
    }
  }
  throw new MountError(
    'failed',
    `no port from ${DEFAULT_PORT} to ${DEFAULT_PORT + PORTS_TRIED - 1} is free; say which one to take with --port`,
  )
}

function logDirectory(): string {
  const base = process.env['XDG_STATE_HOME']
  const directory = join(
    base === undefined || base === '' ? join(homedir(), '.local', 'state') : base,
    'posixlake',
    'log',
  )
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  return directory
}

async function mountByHand(options: RunningOptions): Promise<undefined> {
  const request = {
    host: options.host,
    port: options.port ?? DEFAULT_PORT,
    exportPath: '/posixlake',
    mountPoint: options.mountPoint ?? '',
    readOnly: options.readOnly,
  }
  throw new MountError(
    'not_supported',
    `mounting by itself works on Linux only; run \`posixlake serve ${options.location}\`, and in another terminal: sudo ${darwinMountCommand(request).join(' ')}`,
  )
}
