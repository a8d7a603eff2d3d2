import { VERSION } from '../../core/version.ts'
import { darwinMountCommand } from '../../mount/darwin.ts'
import { mountCommand } from '../../mount/linux.ts'
import { shellQuoted } from '../../mount/run.ts'
import { reportOutcome } from '../../serve/daemon.ts'
import { exposure } from '../../serve/exposure.ts'
import { fileLog } from '../../serve/log.ts'
import type { ServerSettings } from '../../serve/registry.ts'
import { type Running, runServer } from '../../serve/run.ts'
import type { TableServer } from '../../serve/table-server.ts'
import { command } from '../command.ts'
import { logToTerminal, note, print } from '../output.ts'
import { serveArgs, settingsOf } from '../serve-args.ts'
import { sqlLimitFlags } from '../sql-args.ts'
import { storeFlags } from '../store-args.ts'

/** The command line that serves a table with these settings. */
export function serveCommand(settings: ServerSettings): string[] {
  const {
    location,
    host,
    port,
    readOnly,
    allowOther,
    cacheBytes,
    noCompact,
    logFile,
    untilUnmounted,
    sqlLimits,
    store,
  } = settings
  const executable = Bun.main.startsWith('/$bunfs/') ? [process.execPath] : [process.execPath, Bun.main]
  return [
    ...executable,
    'serve',
    location,
    '--host',
    host,
    ...(port === undefined ? [] : ['--port', String(port)]),
    ...(readOnly ? ['--read-only'] : []),
    ...(allowOther ? ['--allow-other'] : []),
    ...(cacheBytes === undefined ? [] : ['--cache-size', String(cacheBytes)]),
    ...(noCompact === true ? ['--no-compact'] : []),
    ...sqlLimitFlags(sqlLimits),
    ...storeFlags(store),
    ...(logFile === undefined ? [] : ['--log', logFile]),
    ...(untilUnmounted ? ['--until-unmounted'] : []),
  ]
}

/** Serves a table in this process; its log goes to the file of the settings, or else to the terminal. */
export async function serveHere(settings: ServerSettings): Promise<Running> {
  const log = settings.logFile === undefined ? logToTerminal : fileLog(settings.logFile)
  const running = await runServer({ settings, log, version: VERSION, command: serveCommand })
  const { host, port } = running.server
  if (settings.logFile !== undefined)
    log(`${settings.location} is served on ${host}:${port} by posixlake ${VERSION}, process ${process.pid}`)
  const exposed = exposure({ host, port }, settings)
  if (exposed !== undefined) log(exposed)
  void running.server.warmUp().catch(error => log(error instanceof Error ? error.message : String(error)))
  return running
}

export default command({
  name: 'serve',
  summary: 'Serve a table over NFS without mounting it; prints the command that mounts it',
  examples: ['posixlake serve ./people', 'posixlake serve ./people --port 12049 --read-only'],
  args: {
    ...serveArgs,
    log: { type: 'string', valueHint: 'FILE', description: 'Log to this file, in the background (set by mount)' },
    'until-unmounted': { type: 'boolean', description: 'End with the last mount (set by mount)' },
  },
  run: async args => {
    const settings: ServerSettings = {
      ...settingsOf(args),
      logFile: args.log,
      untilUnmounted: args['until-unmounted'] === true,
    }
    const { server, stopped } = await serveHere(settings).catch(error => {
      reportOutcome(error)
      throw error
    })
    reportOutcome()
    if (settings.logFile === undefined) await announce(server, settings)
    await stopped
    // Whatever still hangs, such as a command of the system, is not waited for.
    process.exit()
  },
})

async function announce(server: TableServer, settings: ServerSettings): Promise<void> {
  const { host, port, exportPath, plainPath } = server
  const request = { host, port, exportPath, mountPoint: '/mnt/posixlake', readOnly: settings.readOnly }
  const line = (words: readonly string[]): string => `  sudo ${words.map(shellQuoted).join(' ')}\n`
  await print(
    `Serving ${settings.location} on ${host}:${port}.\n\nLinux:\n${line(mountCommand(request))}\nmacOS:\n${line(darwinMountCommand({ ...request, exportPath: plainPath }))}`,
  )
  note('Ctrl-C ends it.')
}
