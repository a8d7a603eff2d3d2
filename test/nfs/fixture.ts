import { type NfsServer, type NfsServerOptions, startNfsServer } from '../../src/nfs/server.ts'
import { type ClientOptions, type Handle, NfsClient } from './client.ts'
import { MemoryFileSystem } from './memory-filesystem.ts'

export const EXPORT_SECRET = 'f00df00df00df00d'
export const SECRET = new Uint8Array(32).fill(7)

/** A server over a MemoryFileSystem on a free port, closed at the end of the test. */
export interface Served extends AsyncDisposable {
  readonly fs: MemoryFileSystem
  readonly server: NfsServer
  readonly logged: string[]
  connect(options?: Partial<ClientOptions>): Promise<NfsClient>
  /** A client, and the handle of the root. */
  mounted(options?: Partial<ClientOptions>): Promise<[NfsClient, Handle]>
}

export async function serve(
  options: Partial<NfsServerOptions> = {},
  fs: MemoryFileSystem = new MemoryFileSystem(),
): Promise<Served> {
  const logged: string[] = []
  const server = await startNfsServer(fs, {
    port: 0,
    secret: SECRET,
    exportSecret: EXPORT_SECRET,
    // A program that does not run as root is taken for its own user, whatever it says.
    allowedUids: new Set([1000, process.getuid?.() ?? 0]),
    log: sentence => logged.push(sentence),
    ...options,
  })
  const clients: NfsClient[] = []
  const connect = async (clientOptions: Partial<ClientOptions> = {}) => {
    const client = await NfsClient.connect({ port: server.port, ...clientOptions })
    clients.push(client)
    return client
  }
  return {
    fs,
    server,
    logged,
    connect,
    async mounted(clientOptions) {
      const client = await connect(clientOptions)
      return [client, await client.mount('/')]
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.close()
      await server.close(1000)
    },
  }
}
