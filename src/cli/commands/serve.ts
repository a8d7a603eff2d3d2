import { renameSync, statSync } from 'node:fs'
import { messageOf } from '../../core/errors.ts'
import { darwinMountCommand } from '../../mount/darwin.ts'
import { mountCommand } from '../../mount/linux.ts'
import { shellQuoted } from '../../mount/run.ts'
import { type RunOptions, runServer } from '../../serve/run.ts'
import type { TableServer } from '../../serve/table-server.ts'
import { command } from '../command.ts'
import { logLine, note, print } from '../output.ts'
import { cacheBytesOf, hostOf, portOf, serveArgs } from '../serve-args.ts'
import { locationName } from '../table-of.ts'
import { VERSION } from './index.ts'

const LOG_BYTES_MAX = 10 << 20

/** The command line that takes up this server's port again. */
export function serveCommand(options: RunOptions): string[] {
  const executable = Bun.main.startsWith('/$bunfs/') ? [process.execPath] : [process.execPath, Bun.main]
  const flags = [
    ...(options.readOnly ? ['--read-only'] : []),
    ...(options.allowOther ? ['--allow-other'] : []),
    ...(options.cacheBytes === undefined ? [] : ['--cache-size', String(options.cacheBytes)]),
    ...(options.mountPoint === undefined ? [] : ['--mounted-at', options.mountPoint]),
    ...(options.logFile === undefined ? [] : ['--log', options.logFile]),
  ]
  return [
    ...executable,
    'serve',
    options.location,
    '--host',
    options.host,
    ...(options.port === undefined ? [] : ['--port', String(options.port)]),
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
    const options: RunOptions = {
      location: locationName(args.table),
      host: hostOf(args.host),
      port: portOf(args.port),
      readOnly: args['read-only'] === true,
      allowOther: args['allow-other'] === true,
      cacheBytes: cacheBytesOf(args['cache-size']),
      mountPoint: args['mounted-at'],
      logFile: args.log,
      log: logLine,
      version: VERSION,
      command: serveCommand,
    }
    const { server, stopped } = await runServer(options)
    if (options.logFile === undefined) await announce(server, options)
    else bound(options.logFile)
    void server.warmUp().catch(error => logLine(messageOf(error)))
    await stopped
    return undefined
  },
})

async function announce(server: TableServer, options: RunOptions): Promise<void> {
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
    `Serving ${options.location} on ${host}:${port}.\n\nLinux:\n${line(mountCommand(request))}\nmacOS:\n${line(darwinMountCommand({ ...request, exportPath: '/posixlake' }))}`,
  )
  note('Ctrl-C ends it.')
}

/** A log that grew too long is begun anew at the next start. */
function bound(log: string): void {
  if ((statSync(log, { throwIfNoEntry: false })?.size ?? 0) > LOG_BYTES_MAX) renameSync(log, `${log}.1`)
}
