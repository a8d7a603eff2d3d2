import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'

/** A request as the proxy has it before it hands it on. */
export interface ProxyRequest {
  readonly method: string
  /** Path and query, as they were sent. */
  readonly target: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** The things that go wrong on the way to the store or back. */
export const PROXY_FAULTS = [
  /** 503, and the store never hears of it. */
  'slow down',
  /** 500, and the store did what it was asked to. */
  'error after',
  'reset before',
  /** The reply is lost. */
  'reset after',
  /** The store gets half of the body, and then the connection ends. */
  'request cut',
  'request flipped',
  /** The client gets half of the body, and then the connection ends. */
  'reply cut',
  /** Half of the body, with a length that fits. */
  'reply short',
  'reply flipped',
  'slow',
  /** The client is cut off, and the store hears of it a second later. */
  'late',
  /** Nothing is answered, ever. */
  'hang',
] as const

export type ProxyFault = (typeof PROXY_FAULTS)[number]

/** Something between programs and an S3 store that does what networks do. */
export interface S3Proxy extends AsyncDisposable {
  readonly endpoint: string
  /** Asked of each request; undefined: it is handed on as it is. */
  fault: ((request: ProxyRequest) => ProxyFault | undefined) | undefined
  /** Conditional writes that found the name taken are said to have been done. */
  lies: boolean
  /** How often each went wrong. */
  readonly counts: Map<ProxyFault, number>
  readonly requests: number
  /** From now on nothing listens there, and what is under way is cut. */
  refuse(): Promise<void>
  accept(): Promise<void>
}

const LATE_MS = 1000
const SLOW_MS_MAX = 1500
/** Headers of one connection. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding'])

/** Starts a proxy in front of the store at an endpoint; the store must take requests for any host. */
export async function startS3Proxy(store: string, random: () => number = Math.random): Promise<S3Proxy> {
  const proxy = new FaultyProxy(store, random)
  await proxy.accept()
  return proxy
}

class FaultyProxy implements S3Proxy {
  fault: S3Proxy['fault']
  lies = false
  readonly counts = new Map<ProxyFault, number>()
  requests = 0
  readonly #store: string
  readonly #random: () => number
  #server: Server | undefined
  #port = 0

  constructor(store: string, random: () => number) {
    this.#store = store
    this.#random = random
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  async accept(): Promise<void> {
    if (this.#server !== undefined) return
    const server = createServer((incoming, response) => {
      // Whoever asked may be gone by now.
      this.#answer(incoming, response).catch(() => response.destroy())
    })
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#port, '127.0.0.1', resolve)
    })
    this.#port = (server.address() as AddressInfo).port
    this.#server = server
  }

  async refuse(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    if (server === undefined) return
    const closed = new Promise<void>(resolve => server.close(() => resolve()))
    server.closeAllConnections()
    await closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.refuse()
  }

  async #answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Uint8Array[] = []
    for await (const part of incoming) parts.push(part as Uint8Array)
    const headers = Object.fromEntries(
      Object.entries(incoming.headers).flatMap(([name, value]) =>
        HOP_BY_HOP.has(name) || value === undefined ? [] : [[name, String(value)]],
      ),
    )
    const body = Buffer.concat(parts)
    const request = { method: incoming.method ?? 'GET', target: incoming.url ?? '/', headers, body }
    this.requests++
    const fault = this.fault?.(request)
    if (fault === undefined) return reply(response, await this.#forward(request))
    this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1)
    await this.#fail(fault, request, incoming, response)
  }

  async #fail(
    fault: ProxyFault,
    request: ProxyRequest,
    incoming: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const cut = (): void => void incoming.socket.destroy()
    switch (fault) {
      case 'slow down':
        return reply(response, error(503, 'SlowDown', request))
      case 'error after':
        await this.#forward(request)
        return reply(response, error(500, 'InternalError', request))
      case 'reset before':
        return cut()
      case 'reset after':
        await this.#forward(request)
        return cut()
      case 'request cut':
        await this.#forwardHalf(request)
        return cut()
      case 'request flipped':
        return reply(response, await this.#forward({ ...request, body: this.#flipped(request.body) }))
      case 'reply cut': {
        const { status, headers, body } = await this.#forward(request)
        response.writeHead(status, headers)
        response.write(body.subarray(0, body.length >> 1), cut)
        return
      }
      case 'reply short': {
        const { status, headers, body, isHead } = await this.#forward(request)
        const half = body.subarray(0, body.length >> 1)
        const length = isHead ? {} : { 'content-length': String(half.length) }
        return reply(response, { status, headers: { ...headers, ...length }, body: half, isHead })
      }
      case 'reply flipped': {
        const answer = await this.#forward(request)
        return reply(response, { ...answer, body: this.#flipped(answer.body) })
      }
      case 'slow':
        await Bun.sleep(this.#random() * SLOW_MS_MAX)
        return reply(response, await this.#forward(request))
      case 'late':
        cut()
        await Bun.sleep(LATE_MS)
        await this.#forward(request)
        return
      case 'hang':
        return
    }
  }

  #flipped(bytes: Uint8Array): Uint8Array {
    if (bytes.length === 0) return bytes
    const copy = Uint8Array.from(bytes)
    const at = Math.floor(this.#random() * copy.length)
    copy[at] = copy[at]! ^ (1 << Math.floor(this.#random() * 8))
    return copy
  }

  async #forward({ method, target, headers, body }: ProxyRequest): Promise<Answer> {
    const hasBody = method === 'PUT' || method === 'POST'
    const answer = await fetch(this.#store + target, {
      method,
      headers,
      ...(hasBody ? { body } : {}),
      redirect: 'manual',
      decompress: false,
    } as RequestInit)
    const bytes = new Uint8Array(await answer.arrayBuffer())
    if (this.lies && answer.status === 412)
      return { status: 200, headers: { etag: '"0"', 'content-length': '0' }, body: new Uint8Array(0), isHead: false }
    const kept = [...answer.headers].filter(([name]) => !HOP_BY_HOP.has(name))
    return { status: answer.status, headers: Object.fromEntries(kept), body: bytes, isHead: method === 'HEAD' }
  }

  #forwardHalf({ method, target, headers, body }: ProxyRequest): Promise<void> {
    const { hostname, port } = new URL(this.#store)
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    return new Promise(resolve => {
      const socket = connect(Number(port), hostname, () => {
        socket.write(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`)
        socket.write(body.subarray(0, body.length >> 1), () => socket.destroy())
      })
      socket.on('error', () => undefined)
      socket.on('close', () => resolve())
    })
  }
}

interface Answer {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: Uint8Array
  readonly isHead: boolean
}

function error(status: number, code: string, { method }: ProxyRequest): Answer {
  const body = Buffer.from(
    `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>injected</Message></Error>`,
  )
  const headers = { 'content-type': 'application/xml', 'content-length': String(body.length) }
  return { status, headers, body, isHead: method === 'HEAD' }
}

function reply(response: ServerResponse, { status, headers, body, isHead }: Answer): void {
  response.writeHead(status, headers)
  response.end(isHead || status === 204 ? undefined : body)
}
