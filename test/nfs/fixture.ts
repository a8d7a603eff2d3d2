import { ExportedFileSystem } from '../../src/fs/export.ts'
import type { Export } from '../../src/fs/filesystem.ts'
import type { AllowedUids } from '../../src/nfs/access.ts'
import { Exports } from '../../src/nfs/exports.ts'
import { type NfsServer, type NfsServerOptions, startNfsServer } from '../../src/nfs/server.ts'
import { type ClientOptions, type Handle, NfsClient } from './client.ts'
import { MemoryFileSystem } from './memory-filesystem.ts'

export const SECRET = new Uint8Array(32).fill(7)
export const PLAIN: Export = { frozen: false, readOnly: false, others: false }
export const FROZEN: Export = { ...PLAIN, frozen: true }
/** The name of the frozen export, without the leading slash. */
export const EXPORT_SECRET = new Exports({ secret: SECRET, uids: new Set(), plain: PLAIN }).pathOf(FROZEN).slice(1)

/** A server over a MemoryFileSystem on a free port, closed at the end of the test. */
export interface Served extends AsyncDisposable {
  readonly fs: MemoryFileSystem
  readonly server: NfsServer
  readonly exports: Exports
  readonly logged: string[]
  connect(options?: Partial<ClientOptions>): Promise<NfsClient>
  /** A client, and the handle of the root. */
  mounted(options?: Partial<ClientOptions>): Promise<[NfsClient, Handle]>
}

export interface ServedOptions extends Partial<Omit<NfsServerOptions, 'exports'>> {
  /** Whom the plain and the frozen export let in. */
  readonly allowedUids?: AllowedUids
  readonly exportName?: string
}

export async function serve(
  { allowedUids, exportName, ...options }: ServedOptions = {},
  fs: MemoryFileSystem = new MemoryFileSystem(),
): Promise<Served> {
  const logged: string[] = []
  const others = allowedUids === 'any'
  const exports = new Exports({
    secret: SECRET,
    // A program that does not run as root is taken for its own user, whatever it says.
    uids: allowedUids === undefined || others ? new Set([1000, process.getuid?.() ?? 0]) : allowedUids,
    plain: { ...PLAIN, others },
    ...(exportName === undefined ? {} : { name: exportName }),
  })
  exports.open({ ...FROZEN, others })
  const server = await startNfsServer(new ExportedFileSystem(fs), {
    port: 0,
    secret: SECRET,
    exports,
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
    exports,
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
