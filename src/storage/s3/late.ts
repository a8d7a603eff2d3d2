import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

/** The part of a signed request of the SDK that is sent. */
interface SignedRequest {
  readonly protocol: string
  readonly hostname: string
  readonly port?: number | undefined
  readonly method: string
  readonly path: string
  readonly query?: Readonly<Record<string, string | string[] | null>> | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly body?: unknown
}

const WAIT_MS = 10_000
/** The time that all but the last bytes are given to get to the store and be looked at. */
const UNDER_WAY_MS = 50

/**
 * Sends requests that have all but the last byte of their bodies underway before any has the last one: a store that looks
 * for the object when a request begins, and writes it when the request ends, then lets all of them win.
 */
export class LateHandler {
  readonly #expected: number
  readonly #ready = Promise.withResolvers<void>()
  #arrived = 0

  constructor(expected: number) {
    this.#expected = expected
    setTimeout(this.#ready.resolve, WAIT_MS).unref()
  }

  async handle(
    request: SignedRequest,
  ): Promise<{ response: { statusCode: number; headers: object; body: Uint8Array } }> {
    const body = request.body as Uint8Array
    const socket = await opened(request)
    try {
      const status = statusOf(socket)
      status.catch(() => undefined)
      socket.write(headOf(request))
      socket.write(body.subarray(0, -1))
      if (++this.#arrived === this.#expected) this.#ready.resolve()
      await this.#ready.promise
      await Bun.sleep(UNDER_WAY_MS)
      socket.write(body.subarray(-1))
      return { response: { statusCode: await status, headers: {}, body: new Uint8Array(0) } }
    } finally {
      socket.destroy()
    }
  }
}

function opened({ protocol, hostname, port }: SignedRequest): Promise<Socket> {
  const isTls = protocol === 'https:'
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const host = hostname.replace(/^\[|\]$/g, '')
  const socket: Socket = isTls
    ? connectTls({ host, port: port ?? 443, servername: host }, () => resolve(socket))
    : connectTcp({ host, port: port ?? 80 }, () => resolve(socket))
  socket.setTimeout(WAIT_MS, () => socket.destroy(Object.assign(new Error('no answer came'), { code: 'ETIMEDOUT' })))
  socket.on('error', reject)
  return promise
}

function headOf({ method, path, query = {}, headers }: SignedRequest): string {
  const pairs = Object.entries(query).map(([name, value]) => `${name}=${encodeURIComponent(String(value ?? ''))}`)
  const lines = Object.entries({ ...headers, connection: 'close' }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path}${pairs.length === 0 ? '' : `?${pairs.join('&')}`} HTTP/1.1\r\n${lines.join('')}\r\n`
}

/** The status of the answer; an interim one (100) is none. */
function statusOf(socket: Socket): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  let text = ''
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1')
    for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
      const status = Number(/^HTTP\/1\.\d (\d{3})/.exec(text)?.[1] ?? 0)
      if (status >= 200) return resolve(status)
      text = text.slice(end + 4)
    }
  })
  const cut = (): void => reject(Object.assign(new Error('the connection was cut'), { code: 'ECONNRESET' }))
  socket.on('error', reject)
  socket.on('close', cut)
  socket.on('end', cut)
  return promise
}
