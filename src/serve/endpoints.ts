import type { FileSystem } from '../fs/filesystem.ts'
import type { Exports } from '../nfs/exports.ts'
import { ListenError, type NfsServer, startNfsServer } from '../nfs/server.ts'
import { ServeError } from './errors.ts'

export const DEFAULT_PORT = 12049
export const DEFAULT_HOST = '127.0.0.1'
/** Tried in turn when no port was asked for. */
const PORTS_TRIED = 100

/** An address and a TCP port that a server listens on. */
export interface Endpoint {
  readonly host: string
  readonly port: number
}

/** The address and port that a server is to listen on. */
export interface WantedEndpoint {
  readonly host: string
  /** undefined: the default port or the next free one. 0: any free port. */
  readonly port: number | undefined
}

export interface EndpointsOptions {
  readonly secret: Uint8Array
  readonly exports: Exports
  readonly log: (sentence: string) => void
  /** A client's connection has ended. */
  readonly onDisconnect: () => void
}

/** The endpoints of one tree's server; the first one stays as long as the server. */
export class Endpoints {
  readonly #fs: FileSystem
  readonly #options: EndpointsOptions
  readonly #servers: NfsServer[] = []

  constructor(fs: FileSystem, options: EndpointsOptions) {
    this.#fs = fs
    this.#options = options
  }

  get all(): readonly Endpoint[] {
    return this.#servers
  }

  /** Connections whose clients were served. */
  get clients(): number {
    return this.#servers.reduce((sum, server) => sum + server.stats().servedConnections, 0)
  }

  /** An endpoint that answers at a wanted one: one that is there, or a new one. Rejects with ServeError. */
  async listen({ host, port }: WantedEndpoint): Promise<Endpoint> {
    const known = this.#servers.find(
      server => covers(server.host, host) && (port === undefined || port === server.port),
    )
    if (known !== undefined) return known
    const server = await onSomePort({ host, port }, chosen =>
      startNfsServer(this.#fs, { ...this.#options, host, port: chosen }),
    )
    this.#servers.push(server)
    return server
  }

  /** Stops listening at all but the first one and those that are still wanted. */
  async keepOnly(wanted: (endpoint: Endpoint) => boolean, graceMs: number): Promise<void> {
    const leaving = this.#servers.filter((server, i) => i > 0 && !wanted(server))
    for (const server of leaving) this.#servers.splice(this.#servers.indexOf(server), 1)
    await Promise.all(leaving.map(server => server.close(graceMs)))
  }

  /** Takes no more calls, waits at most `graceMs` for those under way, and closes all connections. */
  async close(graceMs: number): Promise<void> {
    await Promise.all(this.#servers.splice(0).map(server => server.close(graceMs)))
  }
}

/** True if who listens on `host` is reached at `wanted`, too. */
function covers(host: string, wanted: string): boolean {
  if (host === wanted || host === '::') return true
  return host === '0.0.0.0' && !wanted.includes(':')
}

async function onSomePort(
  { host, port }: WantedEndpoint,
  start: (port: number) => Promise<NfsServer>,
): Promise<NfsServer> {
  const ports = port === undefined ? Array.from({ length: PORTS_TRIED }, (_, i) => DEFAULT_PORT + i) : [port]
  for (const candidate of ports) {
    try {
      return await start(candidate)
    } catch (error) {
      if (!(error instanceof ListenError)) throw error
      if (error.code === 'listen_failed') throw new ServeError(error.code, error.message, { cause: error })
    }
  }
  const sentence =
    port === undefined
      ? `no port from ${DEFAULT_PORT} to ${DEFAULT_PORT + PORTS_TRIED - 1} of ${host} is free; say which one to take with --port`
      : `Port ${port} of ${host} is in use; choose another one with --port, or leave --port out for the next free one`
  throw new ServeError('address_in_use', sentence)
}
