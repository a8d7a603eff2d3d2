import { resolve } from 'node:path'
import { freePort } from '../helpers/free-port.ts'
import { type Handle, NfsClient, NfsClientError } from '../nfs/client.ts'

export const BINARY = resolve(process.env['POSIXLAKE'] ?? 'dist/posixlake')
/** Whoever is cut off starts and asks again, and at last the network is well. */
const PATIENCE_MS = 100_000

/** A `posixlake serve` that can be killed and started again, and a client that asks again until it is answered. */
export class TableServer {
  readonly #env: Record<string, string>
  readonly #table: string
  #child: Bun.Subprocess<'ignore', 'pipe', 'pipe'> | undefined
  #address: { readonly port: number; readonly path: string } | undefined
  #client: NfsClient | undefined
  #root: Handle | undefined
  #data: Handle | undefined
  #xid = Math.floor(Math.random() * 0x7fff_ffff)
  #temporary = 0
  /** Calls go one after the other: what is sent again has its old XID. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(env: Record<string, string>, table: string) {
    this.#env = env
    this.#table = table
  }

  async start(): Promise<void> {
    const giveUpMs = performance.now() + PATIENCE_MS
    for (;;) {
      const port = ['--port', String(this.#address?.port ?? freePort())]
      const child = Bun.spawn([BINARY, 'serve', this.#table, ...port], {
        cwd: '/',
        env: this.#env,
        stdin: 'ignore',
        stdout: 'pipe',
        stderr: 'pipe',
      })
      const said = new Response(child.stderr).text()
      let text = ''
      for await (const part of child.stdout.pipeThrough(new TextDecoderStream() as never)) {
        text += part as unknown as string
        if (text.includes('macOS')) break
      }
      const found = /,port=(\d+),.* 127\.0\.0\.1:(\/\S+)/.exec(text)
      if (found !== null) {
        this.#address = { port: Number(found[1]), path: found[2]! }
        this.#child = child
        return
      }
      await child.exited
      if (performance.now() > giveUpMs) throw new Error(`a server does not start: ${text}${await said}`)
    }
  }

  async kill(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    child?.kill('SIGKILL')
    await child?.exited
  }

  async end(): Promise<number> {
    this.#client?.close()
    this.#child?.kill('SIGTERM')
    return (await this.#child?.exited) ?? -1
  }

  /** `echo >>` */
  async append(text: string): Promise<void> {
    const data = await this.folder()
    const { handle } = await this.call(client => client.lookup(data, 'data.csv'))
    const { size } = await this.call(client => client.getattr(handle))
    await this.call(client => client.write(handle, size, text))
  }

  /** `sed -i` */
  async edit(change: (text: string) => string): Promise<void> {
    const data = await this.folder()
    const name = `sed${this.#temporary++}`
    const { handle } = await this.call(client => client.create(data, name))
    const text = change(await this.read())
    await this.call(client => client.write(handle, 0n, text))
    await this.call(client => client.rename(data, name, data, 'data.csv'))
  }

  /** `cat data/data.csv`, or another file of a folder. */
  async read(name = 'data.csv', folder?: Handle): Promise<string> {
    const within = folder ?? (await this.folder())
    const { handle } = await this.call(client => client.lookup(within, name))
    const parts: Uint8Array[] = []
    for (let offset = 0n; ; ) {
      const { data: part, eof } = await this.call(client => client.read(handle, offset, 1 << 16))
      parts.push(part)
      offset += BigInt(part.length)
      if (eof || part.length === 0) return Buffer.concat(parts).toString()
    }
  }

  /** `cat .errors` */
  async errors(): Promise<string> {
    return this.read('.errors', await this.root())
  }

  /** `ls data` */
  async names(): Promise<string[]> {
    const data = await this.folder()
    return (await this.call(client => client.list(data))).map(({ name }) => name)
  }

  /** Resolves when what an earlier process held has been brought to its end. */
  async settled(): Promise<void> {
    await this.read()
    await Bun.sleep(1500)
    await this.read()
  }

  async root(): Promise<Handle> {
    this.#root ??= await this.call(client => client.mount(this.#address!.path))
    return this.#root
  }

  /** The folder with the views. */
  async folder(): Promise<Handle> {
    const root = await this.root()
    this.#data ??= (await this.call(client => client.lookup(root, 'data'))).handle
    return this.#data
  }

  /** A call as a kernel makes it: where the server is gone, it is sent again as it was when it is back. */
  call<T>(call: (client: NfsClient) => Promise<T>): Promise<T> {
    const run = async (): Promise<T> => {
      const xid = this.#xid
      this.#xid++
      const giveUpMs = performance.now() + PATIENCE_MS
      for (;;) {
        try {
          this.#client ??= await NfsClient.connect({ port: this.#address!.port })
          this.#client.nextXid = xid
          return await call(this.#client)
        } catch (error) {
          if (error instanceof NfsClientError && error.code !== 'JUKEBOX') throw error
          if (performance.now() > giveUpMs) throw error
          if (!(error instanceof NfsClientError)) {
            this.#client?.close()
            this.#client = undefined
          }
          await Bun.sleep(30)
        }
      }
    }
    const result = this.#turn.then(run)
    this.#turn = result.catch(() => undefined)
    return result
  }
}
