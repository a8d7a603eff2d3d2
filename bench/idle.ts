/*
 * A mount that nobody uses for a day: bun bench/idle.ts [HOURS] [NAME]
 * Runs a server from its source with a clock that is fast (see fast-clock.ts) and one client that stays connected, has read
 * data.csv once, and asks for its attributes once an hour, as a program that lists the folder does. All that the server does by itself,
 * it does as often as in that time. Its memory, descriptors and files on disk are noted, and should be flat.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseDdl } from '../src/columns/schema.ts'
import { localStore } from '../src/storage/local.ts'
import { createTable } from '../src/table/operations/create.ts'
import { freePort } from '../test/helpers/free-port.ts'
import { processSample, Samples, sizeOf } from './samples.ts'
import { connected } from './served.ts'

const HOURS = Number(process.argv[2] ?? 24)
const NAME = process.argv[3] ?? 'idle'
/** An hour takes so long. */
const HOUR_MS = Number(process.env['HOUR_MS'] ?? 5000)
const folder = mkdtempSync(join(process.env['BENCH_DIR'] ?? tmpdir(), 'posixlake-idle-'))
const location = join(folder, 'table')

mkdirSync(location)
await createTable(localStore(location), { schema: parseDdl('id:Int64,name:String') })
const port = freePort()
const source = (path: string): string => join(import.meta.dir, path)
const server = Bun.spawn(
  [
    process.execPath,
    '--preload',
    source('fast-clock.ts'),
    source('../src/main.ts'),
    'serve',
    location,
    '--port',
    String(port),
  ],
  {
    env: { ...process.env, XDG_CACHE_HOME: join(folder, 'cache'), FAST_CLOCK: String(3_600_000 / HOUR_MS) },
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: Bun.file(join(folder, 'log')),
  },
)
try {
  const client = await connected(port, server)
  const root = await client.mount('/posixlake')
  const file = await client.walk(root, 'data/data.csv')
  await client.write(file, BigInt('id,name\n'.length), '1,x\n')
  const samples = new Samples(NAME)
  for (let hour = 0; hour <= HOURS; hour++) {
    const state = sizeOf(join(location, '_posixlake'))
    samples.add({
      hours: hour,
      ...processSample(server.pid),
      'state MB': state.megabytes,
      'state files': state.files,
    })
    if (hour === HOURS) break
    await Bun.sleep(HOUR_MS)
    await client.getattr(file)
  }
  const text = await client.readText(await client.walk(root, 'data/data.csv'))
  if (text !== 'id,name\n1,x\n') throw new Error(`data.csv was read as ${text}`)
  client.close()
} finally {
  server.kill('SIGTERM')
  await server.exited
}
rmSync(folder, { recursive: true, force: true })
