import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import { freePort } from './free-port.ts'

const START_ATTEMPTS = 5
const KEYS = { accessKeyId: 'store-of-a-test', secretAccessKey: 'secret-of-a-test' }

/** An S3 store of a test's own; its data goes with it. */
export interface StoreServer extends AsyncDisposable {
  readonly endpoint: string
  /** What programs find it by. */
  readonly environment: Readonly<Record<string, string>>
  /** Ends the server, and keeps its data for `start`. */
  stop(): Promise<void>
  start(): Promise<void>
  makeBucket(name: string): Promise<void>
}

/** A program that is a store. */
export interface StoreProgram {
  readonly name: string
  /** Returns the command that serves a folder at an address. */
  readonly command: (address: string, data: string) => readonly string[]
  /** Its environment, with the keys that it is to know. */
  readonly environment: (keys: typeof KEYS) => Readonly<Record<string, string>>
  /** What it answers as soon as it is ready. */
  readonly healthPath: string
}

/** Starts a store on a free port, with a bucket for tests. */
export async function startStore(program: StoreProgram, bucket: string): Promise<StoreServer> {
  const data = mkdtempSync(join(tmpdir(), 'posixlake-store-'))
  let failure = ''
  for (let attempt = 0; attempt < START_ATTEMPTS; attempt++) {
    const server = new Server(program, data, freePort())
    try {
      await server.start()
      await server.makeBucket(bucket)
      return server
    } catch (error) {
      // Somebody else may have taken the port meanwhile.
      failure = String(error)
      await server.stop()
    }
  }
  rmSync(data, { recursive: true, force: true })
  throw new Error(`${program.name} does not start: ${failure}`)
}

class Server implements StoreServer {
  readonly endpoint: string
  readonly environment: Readonly<Record<string, string>>
  readonly #program: StoreProgram
  readonly #address: string
  readonly #data: string
  #process: Bun.Subprocess | undefined

  constructor(program: StoreProgram, data: string, port: number) {
    this.#program = program
    this.#address = `127.0.0.1:${port}`
    this.endpoint = `http://${this.#address}`
    this.environment = {
      AWS_ENDPOINT_URL: this.endpoint,
      AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
      AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
      AWS_REGION: 'us-east-1',
    }
    this.#data = data
  }

  async start(): Promise<void> {
    const child = Bun.spawn([...this.#program.command(this.#address, this.#data)], {
      env: { PATH: process.env['PATH'] ?? '', HOME: this.#data, ...this.#program.environment(KEYS) },
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
    return fetch(`${this.endpoint}${this.#program.healthPath}`).then(
      // MinIO answers so, too, while it has not opened its data yet.
      ({ ok, headers }) => ok && !headers.has('x-minio-server-status'),
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
