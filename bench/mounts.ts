/*
 * A server that is mounted and unmounted again and again: bun bench/mounts.ts [TIMES] [BINARY] [NAME]
 * Each time it is joined as `posixlake mount` does it, mounted by the MOUNT protocol over a connection of its own, read through
 * that, unmounted and left; the rights of the mounts take turns. KERNEL=1 has the kernel mount it, by `posixlake mount` and
 * `posixlake unmount`. The server's memory, descriptors and files on disk are noted, and the median time of one turn; all of
 * it should be flat.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseDdl } from '../src/columns/schema.ts'
import { question } from '../src/serve/control.ts'
import { runtimeDirectory } from '../src/serve/registry.ts'
import { localStore } from '../src/storage/local.ts'
import { createTable } from '../src/table/operations/create.ts'
import { freePort } from '../test/helpers/free-port.ts'
import { NfsClient } from '../test/nfs/client.ts'
import { median } from './median.ts'
import { processSample, Samples, sizeOf } from './samples.ts'
import { connected } from './served.ts'

const TIMES = Number(process.argv[2] ?? 10_000)
const BINARY = resolve(process.argv[3] ?? 'dist/posixlake')
const NAME = process.argv[4] ?? 'mounts'
const BY_KERNEL = process.env['KERNEL'] !== undefined
const POINTS = Math.min(25, TIMES)
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-mounts-'))
const location = join(folder, 'table')
const mountPoint = join(folder, 'mount')
const environment = { ...process.env, XDG_CACHE_HOME: join(folder, 'cache'), XDG_STATE_HOME: join(folder, 'home') }

/** One turn without the kernel. */
async function mountOnce(i: number): Promise<void> {
  const request = { mountPoint: `${mountPoint}-${i}`, readOnly: i % 2 === 1, allowOther: i % 4 > 1 }
  const asked = question(location, 'join', request)
  const joined = await asked.answer
  if (joined?.kind !== 'mount') throw new Error(`the server cannot be joined: ${JSON.stringify(joined)}`)
  const client = await NfsClient.connect({ port: joined.port })
  const root = await client.mount(joined.exportPath)
  const text = await client.readText(await client.walk(root, 'data/data.csv'))
  if (text !== 'id\n') throw new Error(`data.csv was read as ${text}`)
  await client.unmount(joined.exportPath)
  client.close()
  asked.close()
  await asked.closed
}

/** One turn of the kernel's. */
async function mountByKernel(i: number): Promise<void> {
  const rights = [...(i % 2 === 1 ? ['--read-only'] : []), ...(i % 4 > 1 ? ['--allow-other'] : [])]
  for (const command of [
    [BINARY, 'mount', location, mountPoint, ...rights],
    ['cat', join(mountPoint, 'data/data.csv')],
    [BINARY, 'unmount', mountPoint],
  ]) {
    const child = Bun.spawn(command, { env: environment, stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' })
    const [said, code] = await Promise.all([new Response(child.stderr).text(), child.exited])
    if (code !== 0) throw new Error(`${command.join(' ')}: exit status ${code}: ${said}`)
  }
}

mkdirSync(location)
mkdirSync(mountPoint)
await createTable(localStore(location), { schema: parseDdl('id:Int64') })
const port = freePort()
const server = Bun.spawn([BINARY, 'serve', location, '--port', String(port)], {
  env: environment,
  stdin: 'ignore',
  stdout: 'ignore',
  stderr: Bun.file(join(folder, 'log')),
})
try {
  ;(await connected(port, server)).close()
  const samples = new Samples(NAME)
  let times: number[] = []
  for (let i = 1; i <= TIMES; i++) {
    const started = performance.now()
    await (BY_KERNEL ? mountByKernel(i) : mountOnce(i))
    times.push(performance.now() - started)
    if (i % Math.ceil(TIMES / POINTS) !== 0 && i !== TIMES) continue
    const state = sizeOf(join(location, '_posixlake'))
    samples.add({
      mounts: i,
      ...processSample(server.pid),
      'state MB': state.megabytes,
      'state files': state.files,
      'files of all servers': readdirSync(runtimeDirectory()).length,
      'mount and unmount ms': median(times),
    })
    times = []
  }
} catch (error) {
  process.stderr.write(readFileSync(join(folder, 'log'), 'utf8').slice(-2000))
  throw error
} finally {
  server.kill('SIGTERM')
  await server.exited
}
rmSync(folder, { recursive: true, force: true })
