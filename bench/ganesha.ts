/*
 * The repeated read through NFS, beside nfs-ganesha serving the same bytes as a plain file: bun bench/ganesha.ts [ROWS ...]
 * One client of ours reads both, a megabyte at a time and eight under way, in turns. Seconds are the client's, from the first READ
 * to the last reply; processor time is the server's. It needs root and Debian's packages nfs-ganesha, nfs-ganesha-vfs and rpcbind,
 * and runs in a network of its own, since nfs-ganesha serves nobody whom rpcbind does not know of.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Subprocess } from 'bun'
import { freePort } from '../test/helpers/free-port.ts'
import { type Handle, NfsClient } from '../test/nfs/client.ts'
import { writeCsv } from './made-tables.ts'
import { median } from './median.ts'
import { connected, cpuMs, served } from './served.ts'
import { readThrough } from './transfers.ts'

const ROUNDS = 9
const OWN_NETWORK = 'POSIXLAKE_OWN_NETWORK'
const BINARY = resolve(process.env['POSIXLAKE'] ?? 'dist/posixlake')
const sizes = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [50_000, 500_000, 5_000_000]

/** All that run. */
const servers: Subprocess[] = []

/** A server and the file of it that is read. */
interface Side {
  readonly name: string
  readonly server: Subprocess
  readonly client: NfsClient
  readonly file: Handle
  readonly seconds: number[]
  readonly busy: number[]
}

async function ganesha(folder: string, path: string): Promise<Side> {
  const [port, mountPort] = [freePort(), freePort()]
  const conf = join(folder, 'ganesha.conf')
  writeFileSync(
    conf,
    `NFS_CORE_PARAM { Protocols = 3; NFS_Port = ${port}; MNT_Port = ${mountPort}; Enable_NLM = false; Enable_RQUOTA = false; }
EXPORT { Export_Id = 1; Path = ${path}; Pseudo = /plain; Access_Type = RO; Squash = No_Root_Squash; Protocols = 3;
  Transports = TCP; SecType = sys; FSAL { Name = VFS; } }\n`,
  )
  const command = ['ganesha.nfsd', '-F', '-L', join(folder, 'log'), '-f', conf, '-p', join(folder, 'pid')]
  const server = Bun.spawn(command, { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' })
  servers.push(server)
  const client = await connected(port, server)
  const mounting = await NfsClient.connect({ port: mountPort })
  const root = await mounting.mount(path)
  mounting.close()
  return { name: 'nfs-ganesha', server, client, file: await client.walk(root, 'data.csv'), seconds: [], busy: [] }
}

async function posixlake(folder: string, table: string): Promise<Side> {
  const { client, server } = await served(BINARY, table, folder)
  servers.push(server)
  const file = await client.walk(await client.mount('/posixlake'), 'data/data.csv')
  return { name: 'posixlake', server, client, file, seconds: [], busy: [] }
}

async function readOnce({ client, file, server, seconds, busy }: Side): Promise<number> {
  const [started, before] = [performance.now(), cpuMs(server)]
  const size = await readThrough(client, file)
  seconds.push((performance.now() - started) / 1000)
  busy.push((cpuMs(server) - before) / 1000)
  return size
}

async function compare(rows: number): Promise<void> {
  const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-ganesha-'))
  const sides: Side[] = []
  try {
    const [plain, table] = [join(folder, 'plain'), join(folder, 'table')]
    mkdirSync(plain)
    writeCsv(join(folder, 'rows.csv'), rows)
    Bun.spawnSync([BINARY, 'create', table, '--from-csv', join(folder, 'rows.csv')])
    const shown = Bun.file(join(plain, 'data.csv'))
    await Bun.write(shown, new Response(Bun.spawn([BINARY, 'cat', table], { stdout: 'pipe' }).stdout))
    sides.push(await ganesha(folder, plain), await posixlake(folder, table))
    for (let round = 0; round < ROUNDS; round++)
      for (const side of sides) {
        const size = await readOnce(side)
        if (size !== shown.size) throw new Error(`${side.name} has ${size} bytes, and not ${shown.size}`)
      }
    const [theirs, ours] = sides.map(side => ({ seconds: median(side.seconds), busy: median(side.busy) }))
    const speed = (seconds: number): string => `${(shown.size / 1e6 / seconds).toFixed(0)} MB/s`
    process.stdout.write(
      `${rows} rows, ${(shown.size / 1e6).toFixed(1)} MB: posixlake ${speed(ours!.seconds)} (${ours!.busy.toFixed(2)} s of the processor), ` +
        `nfs-ganesha ${speed(theirs!.seconds)} (${theirs!.busy.toFixed(2)} s), ratio ${(theirs!.seconds / ours!.seconds).toFixed(2)}\n`,
    )
  } finally {
    for (const { client } of sides) client.close()
    for (const server of servers.splice(0)) {
      server.kill('SIGTERM')
      await server.exited
    }
    rmSync(folder, { recursive: true, force: true })
  }
}

if (process.env[OWN_NETWORK] === undefined) {
  const command = ['unshare', '--net', process.execPath, ...process.argv.slice(1)]
  const env = { ...process.env, [OWN_NETWORK]: '1' }
  process.exit(await Bun.spawn(command, { env, stdin: 'inherit', stdout: 'inherit', stderr: 'inherit' }).exited)
}
Bun.spawnSync(['ip', 'link', 'set', 'lo', 'up'])
const rpcbind = Bun.spawn(['rpcbind', '-f'], { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' })
try {
  for (const rows of sizes) await compare(rows)
} finally {
  rpcbind.kill()
}
