import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'

/** The newest release of MinIO; it is to be had as source only. */
const VERSION = '20260212201848'
const MODULE = `github.com/minio/minio@v0.0.0-${VERSION}-7aac2a2c5b7c`
const START_ATTEMPTS = 5
const KEYS = { accessKeyId: 'minio-of-a-test', secretAccessKey: 'secret-of-a-test' }

/** A MinIO server of a test's own; its data goes with it. */
export interface Minio extends AsyncDisposable {
  readonly endpoint: string
  /** What programs find it by. */
  readonly environment: Readonly<Record<string, string>>
  /** Ends the server, and keeps its data for `start`. */
  stop(): Promise<void>
  start(): Promise<void>
  makeBucket(name: string): Promise<void>
}

/** Where programs that tests need are kept between runs, beside the clone and not in it: building one takes minutes. */
function folder(): string {
  return process.env['POSIXLAKE_ENGINES'] ?? join(homedir(), '.cache', 'posixlake-engines')
}

/** The path of MinIO, which is built if it is missing; that takes Go 1.21 or newer, which fetches a newer one by itself. */
export function minioProgram(): string {
  const bin = join(folder(), 'bin')
  const program = join(bin, `minio-${VERSION}`)
  if (existsSync(program)) return program
  const building = join(bin, `building-${process.pid}`)
  mkdirSync(building, { recursive: true })
  try {
    // Where Go installs itself is in nobody's PATH by itself.
    const go = Bun.which('go') ?? '/usr/local/go/bin/go'
    const env = { ...process.env, GOBIN: building, GOFLAGS: '-modcacherw' }
    const { success } = Bun.spawnSync([go, 'install', MODULE], {
      env,
      stdin: 'ignore',
      stdout: 'inherit',
      stderr: 'inherit',
    })
    if (!success) throw new Error('see above')
    renameSync(join(building, 'minio'), program)
  } catch (error) {
    throw new Error(`MinIO cannot be built: it needs Go 1.21 or newer and a module proxy: ${error}`)
  } finally {
    rmSync(building, { recursive: true, force: true })
  }
  return program
}

/** Starts a MinIO server on a free port, with a bucket for tests. */
export async function startMinio(bucket = 'posixlake-test'): Promise<Minio> {
  const program = minioProgram()
  const data = mkdtempSync(join(tmpdir(), 'posixlake-minio-'))
  let failure = ''
  for (let attempt = 0; attempt < START_ATTEMPTS; attempt++) {
    const port = freePort()
    const minio = new Server(program, data, port)
    try {
      await minio.start()
      await minio.makeBucket(bucket)
      return minio
    } catch (error) {
      // Somebody else may have taken the port meanwhile.
      failure = String(error)
      await minio.stop()
    }
  }
  rmSync(data, { recursive: true, force: true })
  throw new Error(`MinIO does not start: ${failure}`)
}

function freePort(): number {
  const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data: () => undefined } })
  const { port } = listener
  listener.stop(true)
  return port
}

class Server implements Minio {
  readonly endpoint: string
  readonly environment: Readonly<Record<string, string>>
  readonly #command: readonly string[]
  readonly #data: string
  #process: Bun.Subprocess | undefined

  constructor(program: string, data: string, port: number) {
    this.endpoint = `http://127.0.0.1:${port}`
    this.environment = {
      AWS_ENDPOINT_URL: this.endpoint,
      AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
      AWS_REGION: 'us-east-1',
    }
    this.#data = data
    this.#command = [program, 'server', '--quiet', '--address', `127.0.0.1:${port}`, data]
  }

  async start(): Promise<void> {
    const keys = {
      MINIO_ROOT_USER: KEYS.accessKeyId,
      MINIO_ROOT_PASSWORD: KEYS.secretAccessKey,
      MINIO_BROWSER: 'off',
      MINIO_PROMETHEUS_AUTH_TYPE: 'public',
    }
    const child = Bun.spawn([...this.#command], {
      env: { PATH: process.env['PATH'] ?? '', HOME: this.#data, ...keys },
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'pipe',
    })
    this.#process = child
    const said = new Response(child.stderr).text()
    while (!(await this.#isReady())) {
      if (child.exitCode !== null) throw new Error(await said)
      await Bun.sleep(20)
    }
  }

  async #isReady(): Promise<boolean> {
    return fetch(`${this.endpoint}/minio/health/ready`).then(
      ({ ok }) => ok,
      () => false,
    )
  }

  async makeBucket(name: string): Promise<void> {
    const client = new S3Client({
      endpoint: this.endpoint,
      forcePathStyle: true,
      region: 'us-east-1',
      credentials: KEYS,
    })
    await client.send(new CreateBucketCommand({ Bucket: name }))
    client.destroy()
  }

  async stop(): Promise<void> {
    this.#process?.kill('SIGKILL')
    await this.#process?.exited
    this.#process = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    rmSync(this.#data, { recursive: true, force: true })
  }
}

// Run by itself, it builds the server.
if (import.meta.main) minioProgram()
