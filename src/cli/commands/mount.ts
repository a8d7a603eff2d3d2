import { openLake } from '../../lake.ts'
import { darwinMountCommand } from '../../mount/darwin.ts'
import { MountError } from '../../mount/errors.ts'
import { canonicalPath, checkCanMount, checkMountPoint, mount } from '../../mount/linux.ts'
import { shellQuoted } from '../../mount/run.ts'
import { type Attachment, attach } from '../../serve/attach.ts'
import { ask, type JoinRequest } from '../../serve/control.ts'
import { startDaemon } from '../../serve/daemon.ts'
import { detach } from '../../serve/detach.ts'
import { DEFAULT_PORT } from '../../serve/endpoints.ts'
import { exposure } from '../../serve/exposure.ts'
import { logPath } from '../../serve/log.ts'
import { mountsOf, recordOf, type ServerSettings } from '../../serve/registry.ts'
import type { Running } from '../../serve/run.ts'
import { command } from '../command.ts'
import { Interruption, interruptible } from '../interrupt.ts'
import { note, print } from '../output.ts'
import { hostOf, portOf, serveArgs, settingsOf } from '../serve-args.ts'
import { serveCommand, serveHere } from './serve.ts'

export default command({
  name: 'mount',
  summary: 'Show a table as files; returns when they can be used',
  examples: [
    'posixlake mount ./people /mnt/people',
    'posixlake mount ./people /mnt/people-to-read --read-only --allow-other',
  ],
  args: {
    ...serveArgs,
    folder: { type: 'positional', required: true, description: 'The mount point: a folder that exists' },
    foreground: { type: 'boolean', description: 'Stay, and log to the terminal; Ctrl-C unmounts' },
  },
  run: async args => {
    const settings: ServerSettings = { ...settingsOf(args), logFile: undefined, untilUnmounted: true }
    const { location, readOnly, allowOther } = settings
    if (process.platform === 'darwin') throw mountByHand(settings, args.folder)
    await checkTable(location)
    const wanted = canonicalPath(args.folder)
    const known = mountsOf(recordOf(location)?.exports ?? [])
    // A mount of this table that is there already may be one whose server died.
    const isKnown = known.some(({ mountPoint }) => mountPoint === wanted)
    const mountPoint = isKnown ? wanted : checkMountPoint(args.folder, location)
    await checkCanMount([process.execPath, ...process.argv.slice(2)])
    const request = { mountPoint, readOnly, allowOther, host: hostOf(args.host), port: portOf(args.port) }
    const plan: Plan = { settings, request, names: [args.table, args.folder] }
    return args.foreground === true ? stay(plan) : goOn(plan)
  },
})

interface Plan {
  readonly settings: ServerSettings
  readonly request: JoinRequest
  /** The table and the folder, as the user calls them. */
  readonly names: readonly [string, string]
}

/** Says what is wrong with a table before a server of it is started. */
async function checkTable(location: string): Promise<void> {
  if ((await ask(location, 'status')) !== undefined) return
  const lake = await openLake(location)
  await lake.close()
}

/** If a server died, and mounts of it wait, the next one goes on as it was. */
function settingsNow(settings: ServerSettings): ServerSettings {
  const previous = recordOf(settings.location)
  if (previous === undefined || mountsOf(previous.exports).length === 0) return settings
  return { ...previous.settings, logFile: settings.logFile, untilUnmounted: true }
}

async function goOn(plan: Plan): Promise<undefined> {
  const { settings, request } = plan
  const { location } = settings
  await interruptible(async signal => {
    const attached = await attach(location, request, async () => {
      const logFile = logPath(location)
      await startDaemon({ command: serveCommand(settingsNow({ ...settings, logFile })), log: logFile, signal })
    })
    try {
      signal.throwIfAborted()
      await print(`${await mountAttached(attached, plan)}.\n`)
    } finally {
      attached.release()
    }
  })
  return undefined
}

async function stay(plan: Plan): Promise<undefined> {
  const { settings, request } = plan
  let running: Running | undefined
  const interruption = new Interruption()
  const attached = await attach(settings.location, request, async () => {
    running = await serveHere(settingsNow(settings))
  })
  try {
    note(`${await mountAttached(attached, plan)}; Ctrl-C unmounts it.`)
  } catch (error) {
    attached.release()
    await running?.stopped
    throw error
  }
  if (running === undefined) await stayWith(attached, settings.location, request.mountPoint, interruption)
  else await untilStopped(running, interruption)
  // Whatever still hangs, such as a command of the system, is not waited for.
  process.exit()
}

/** This process serves the table; once it does, the server itself looks for signals. */
async function untilStopped({ stop, stopped }: Running, interruption: Interruption): Promise<void> {
  if (interruption.hasCome) stop()
  interruption.forget()
  await stopped
}

/** Another process serves the table: this one waits for the mount's end, or ends it. */
async function stayWith(
  { closed, release }: Attachment,
  location: string,
  mountPoint: string,
  interruption: Interruption,
): Promise<void> {
  const record = recordOf(location)
  if (record !== undefined) note(`Process ${record.pid} serves the table; its log: ${record.log ?? 'on its terminal'}.`)
  await Promise.race([closed, interruption.come])
  if (!interruption.hasCome) return note(`${mountPoint} is unmounted.`)
  release()
  await detach(mountPoint, location, false)
}

/** Mounts what the server is ready for. The result says so; MountError if it did not come about. */
async function mountAttached({ joined, started }: Attachment, { settings, request, names }: Plan): Promise<string> {
  const { mountPoint, readOnly } = request
  const where = names.join(' is mounted at ')
  if (joined.kind === 'mounted') {
    if (started) return `${where} again; its server was gone`
    const how = joined.readOnly === readOnly ? '' : readOnly ? ', and writable' : ', read-only'
    throw new MountError(
      'busy',
      `${where} already${how}; unmount it first, or choose another folder: posixlake unmount ${shellQuoted(mountPoint)}`,
    )
  }
  await mount({ ...joined, mountPoint, readOnly })
  await ask(settings.location, 'mounted', { mountPoint })
  const exposed = exposure(joined, request)
  if (exposed !== undefined) note(exposed)
  if (!started && settings.cacheBytes !== undefined)
    note('The server of the table runs already, and keeps the bound of its cache: --cache-size counts for a new one.')
  if (!started && settings.noCompact === true)
    note('The server of the table runs already, and goes on as it was started: --no-compact counts for a new one.')
  return where
}

function mountByHand({ location, host, port, readOnly }: ServerSettings, mountPoint: string): MountError {
  const request = { host, port: port ?? DEFAULT_PORT, exportPath: '/posixlake', mountPoint, readOnly }
  return new MountError(
    'not_supported',
    `mounting by itself works on Linux only; run \`posixlake serve ${location}\`, and in another terminal: sudo ${darwinMountCommand(request).join(' ')}`,
  )
}
