import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { ask } from '../../src/serve/control.ts'
import { openStore, parseLocation } from '../../src/storage/location.ts'
import type { ObjectStore } from '../../src/storage/object-store.ts'

export const BINARY = resolve(process.env['POSIXLAKE'] ?? 'dist/posixlake')

/** The tables are on S3, in a MinIO of this process: `TABLES_ON=s3`. */
export const isOnS3 = process.env['TABLES_ON'] === 's3'
let bucket: Promise<string> | undefined

/** Returns a place for a new table, by the folder of its mount. */
async function placeFor(folder: string): Promise<string> {
  if (!isOnS3) return join(folder, 'table')
  bucket ??= startStore()
  return `s3://posixlake-test/${basename(folder)}?endpoint=${await bucket}`
}

async function startStore(): Promise<string> {
  // The SDK takes its time to load.
  const { startMinio } = await import('../helpers/minio.ts')
  const minio = await startMinio()
  Object.assign(process.env, minio.environment)
  process.on('exit', () => void minio.stop())
  return minio.endpoint
}

export interface Result {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A table of its own, mounted with the built binary, and the commands to use it as people do. */
export interface Mounted {
  readonly table: string
  /** What the table lies in, to look behind the mount. */
  readonly store: ObjectStore
  readonly mount: string
  readonly data: string
  readonly csv: string
  /** Runs a shell command with the mount as its folder. */
  sh(command: string): Promise<Result>
  /** Runs posixlake. */
  posixlake(...args: string[]): Promise<Result>
  write(path: string, text: string): Promise<void>
  /** data.csv, read anew by a program of its own. */
  read(): Promise<string>
  /** Resolves when the server holds no save. */
  settle(): Promise<void>
  /** How many versions the table has. */
  commits(): Promise<number>
  /** The server's state folder, beside which the users' own files lie. */
  state(): Promise<string>
  errors(): Promise<string>
  clearErrors(): Promise<void>
  list(folder: string): Promise<string[]>
  /** A shell command that types a first line into nano and saves. */
  nano(path: string, line: string): string
  close(): Promise<void>
}

export interface MountOptions {
  readonly schema?: string
  /** Arguments of `posixlake create`, in place of `--schema`. */
  readonly create?: readonly string[]
  readonly mountArgs?: readonly string[]
}

export async function run(command: readonly string[], cwd = '/', env: Record<string, string> = {}): Promise<Result> {
  const child = Bun.spawn([...command], {
    cwd,
    stdout: 'pipe',
    stderr: 'pipe',
    stdin: 'ignore',
    env: { ...process.env, ...env },
  })
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  const missing = /([^\s:]+): command not found/.exec(stderr)?.[1]
  if (missing !== undefined) throw new Error(`${missing} is missing: its Debian package belongs into .ci/programs.mjs`)
  return { code, stdout, stderr }
}

export async function must(command: readonly string[], cwd?: string): Promise<string> {
  const { code, stdout, stderr } = await run(command, cwd)
  if (code !== 0) throw new Error(`${command.join(' ')}: exit status ${code}\n${stdout}${stderr}`)
  return stdout
}

export async function mountTable(options: MountOptions): Promise<Mounted> {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'posixlake-mounted-')))
  const table = await placeFor(folder)
  const mount = join(folder, 'mount')
  mkdirSync(mount)
  await must([BINARY, 'create', table, ...(options.create ?? ['--schema', options.schema ?? 'id:Int64,name:String'])])
  await must([BINARY, 'mount', table, mount, ...(options.mountArgs ?? [])])
  const store = openStore(parseLocation(table))
  const data = join(mount, 'data')
  const csv = join(data, 'data.csv')
  const sh = (command: string): Promise<Result> => run(['bash', '-c', command], mount)
  const read = async (path: string): Promise<string> => {
    const { code, stdout, stderr } = await run(['cat', path])
    if (code !== 0) throw new Error(stderr)
    return stdout
  }
  return {
    table,
    store,
    mount,
    data,
    csv,
    sh,
    posixlake: (...args) => run([BINARY, ...args]),
    write: async (path, text) => void (await Bun.write(path, text)),
    read: () => read(csv),
    settle: async () => void (await ask(table, 'settle')),
    commits: async () => {
      const log = await store.list('_delta_log')
      return log.filter(({ path }) => /\/\d{20}\.json$/.test(path)).length
    },
    state: async () => {
      const [status] = JSON.parse(await must([BINARY, 'status', mount, '--format', 'json'])) as { state: string }[]
      return status!.state
    },
    errors: () => read(join(mount, '.errors')),
    clearErrors: async () => void (await must(['bash', '-c', `: > ${join(mount, '.errors')}`])),
    list: async name => (await must(['ls', '-A', join(mount, name)])).split('\n').filter(entry => entry !== ''),
    nano: (path, line) => `python3 ${join(import.meta.dir, 'nano.py')} ${path} '${line}'`,
    close: async () => {
      await must([BINARY, 'unmount', mount])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
