import type { Subprocess } from 'bun'
import { NfsClient } from '../test/nfs/client.ts'

/** A port that nobody listens on, below those that the system gives out: nobody else gets it before it is used. */
export function freePort(): number {
  for (;;) {
    const port = 10_000 + (crypto.getRandomValues(new Uint32Array(1))[0]! % 20_000)
    try {
      Bun.listen({ hostname: '127.0.0.1', port, socket: { data: () => undefined } }).stop(true)
      return port
    } catch {
      // It is taken.
    }
  }
}

/** A client of a server that has just been started, of whatever version: once it listens. */
export async function connected(port: number, server: Subprocess): Promise<NfsClient> {
  for (;;) {
    if (server.exitCode !== null) throw new Error(`the server ended with exit status ${server.exitCode}`)
    try {
      const client = await NfsClient.connect({ port })
      await client.null()
      return client
    } catch {
      await Bun.sleep(10)
    }
  }
}
