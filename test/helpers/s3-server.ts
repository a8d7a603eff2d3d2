import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

interface StoredObject {
  readonly bytes: Uint8Array
  readonly etag: string
  readonly modifiedMs: number
  readonly checksum: string | undefined
}

/** A request as the stand-in has it before it answers. */
export interface S3Request {
  readonly method: string
  readonly bucket: string
  readonly key: string
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Uint8Array
  /** What it is, as S3 names its actions: GetObject, PutObject, ListObjectsV2, ... */
  readonly action: string
  /** Whether the object was there when the request began. */
  readonly wasThere: boolean
}

/** What goes wrong with a request: it is answered with an error, or its connection is cut at some point. */
export type S3Fault =
  | { readonly status: number; readonly code?: string; readonly message?: string; readonly headers?: object }
  /** `effect`: the request is carried out, and nobody hears of it. */
  | { readonly cut: 'before' | 'after' | 'half' }
  /** Nothing is answered, ever. */
  | { readonly hang: true }
  /** What comes is no HTTP. */
  | { readonly garbled: true }
  /** The body is changed, and its checksum is not. */
  | { readonly corrupt: true }

export interface S3Server extends AsyncDisposable {
  readonly endpoint: string
  readonly requests: S3Request[]
  /** Asked of each request; undefined: it is answered as it should be. */
  fault: ((request: S3Request) => S3Fault | undefined) | undefined
  /** Keys of a listing's page. */
  pageSize: number
  /**
   * Whether `If-None-Match` counts. There are stores that ignore it, that look first and write later ('racing'), and that look
   * when a request begins and write when it ends ('early').
   */
  conditions: 'exact' | 'ignored' | 'racing' | 'early'
  /** Ranges are answered with all of the object. */
  ignoresRanges: boolean
  /** Uploads in parts that are neither complete nor aborted. */
  readonly uploads: number
  readonly buckets: Map<string, Map<string, StoredObject>>
}

/** An S3 store in this process, for what a real one does only now and then. It believes every signature. */
export async function startS3Server(...buckets: readonly string[]): Promise<S3Server> {
  const stand = new StandIn(buckets)
  const server = createServer((request, response) => {
    stand.answer(request, response).catch(error => {
      console.error(error)
      response.destroy()
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  stand.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  stand.close = async () => {
    server.closeAllConnections()
    await new Promise<void>(resolve => server.close(() => resolve()))
  }
  return stand
}

class StandIn implements S3Server {
  endpoint = ''
  requests: S3Request[] = []
  fault: S3Server['fault']
  pageSize = 1000
  ignoresRanges = false
  conditions: S3Server['conditions'] = 'exact'
  readonly buckets: Map<string, Map<string, StoredObject>>
  readonly #uploads = new Map<string, Map<number, Uint8Array>>()
  close: () => Promise<void> = async () => undefined

  constructor(buckets: readonly string[]) {
    this.buckets = new Map(buckets.map(name => [name, new Map()]))
  }

  get uploads(): number {
    return this.#uploads.size
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const wasThere = this.#isThere(incoming)
    const parts: Uint8Array[] = []
    for await (const part of incoming) parts.push(part as Uint8Array)
    const url = new URL(incoming.url ?? '/', this.endpoint)
    const [, bucket = '', ...rest] = url.pathname.split('/')
    const key = decodeURIComponent(rest.join('/'))
    const { searchParams: query } = url
    const { method = 'GET', headers } = incoming
    const action = actionOf(method, key, query)
    const request: S3Request = { method, bucket, key, query, headers, body: Buffer.concat(parts), action, wasThere }
    this.requests.push(request)
    const fault = this.fault?.(request)
    if (fault !== undefined && 'hang' in fault) return
    if (fault !== undefined && 'garbled' in fault) return void incoming.socket.end('\0\0no answer at all\r\n\r\n')
    if (fault !== undefined && 'cut' in fault && fault.cut === 'before') return void incoming.socket.destroy()
    if (fault !== undefined && 'status' in fault) return send(response, errorAnswer(request, fault))
    const answer = await this.#answer(request)
    if (fault !== undefined && 'cut' in fault && fault.cut === 'after') return void incoming.socket.destroy()
    if (fault !== undefined && 'corrupt' in fault && answer.body !== undefined && answer.body.length > 0) {
      const body = Uint8Array.from(answer.body)
      body[0] = body[0]! ^ 1
      return send(response, { ...answer, body })
    }
    if (fault !== undefined && 'cut' in fault) return sendHalf(response, answer)
    send(response, answer)
  }

  #isThere({ url = '/' }: IncomingMessage): boolean {
    const [, bucket = '', ...rest] = new URL(url, this.endpoint).pathname.split('/')
    return this.buckets.get(bucket)?.has(decodeURIComponent(rest.join('/'))) === true
  }

  async #answer(request: S3Request): Promise<Answer> {
    const { bucket, key, action, headers, body, query } = request
    const objects = this.buckets.get(bucket)
    if (objects === undefined) return errorAnswer(request, { status: 404, code: 'NoSuchBucket' })
    const object = objects.get(key)
    switch (action) {
      case 'ListObjectsV2':
        return this.#list(objects, request)
      case 'HeadObject':
      case 'GetObject':
        return object === undefined
          ? errorAnswer(request, { status: 404, code: 'NoSuchKey' })
          : getAnswer(request, object, this.ignoresRanges)
      case 'PutObject': {
        const isThere = this.conditions === 'early' ? request.wasThere : object !== undefined
        if (headers['if-none-match'] === '*' && isThere && this.conditions !== 'ignored')
          return errorAnswer(request, { status: 412, code: 'PreconditionFailed' })
        if (this.conditions === 'racing') await new Promise(resolve => setTimeout(resolve, 2))
        const checksum = headers['x-amz-checksum-crc32'] as string | undefined
        const made = { bytes: body, etag: etagOf(body), modifiedMs: Date.now(), checksum }
        objects.set(key, made)
        return { status: 200, headers: { etag: made.etag } }
      }
      case 'DeleteObject':
        objects.delete(key)
        return { status: 204 }
      case 'DeleteObjects': {
        for (const [, name] of text(body).matchAll(/<Key>([^<]*)<\/Key>/g)) objects.delete(plain(name!))
        return xml('<DeleteResult/>')
      }
      default:
        return this.#multipart(objects, request, query.get('uploadId') ?? '')
    }
  }

  #multipart(objects: Map<string, StoredObject>, request: S3Request, id: string): Answer {
    const { key, action, body, query, headers } = request
    if (action === 'CreateMultipartUpload') {
      const uploadId = crypto.randomUUID()
      this.#uploads.set(uploadId, new Map())
      return xml(`<InitiateMultipartUploadResult><UploadId>${uploadId}</UploadId></InitiateMultipartUploadResult>`)
    }
    const upload = this.#uploads.get(id)
    if (upload === undefined) return errorAnswer(request, { status: 404, code: 'NoSuchUpload' })
    if (action === 'UploadPart') {
      upload.set(Number(query.get('partNumber')), body)
      return { status: 200, headers: { etag: etagOf(body) } }
    }
    this.#uploads.delete(id)
    if (action === 'AbortMultipartUpload') return { status: 204 }
    if (headers['if-none-match'] === '*' && objects.has(key))
      return errorAnswer(request, { status: 412, code: 'PreconditionFailed' })
    const numbers = [...text(body).matchAll(/<PartNumber>(\d+)<\/PartNumber>/g)].map(([, number]) => Number(number))
    const bytes = Buffer.concat(numbers.map(number => upload.get(number)!))
    objects.set(key, { bytes, etag: etagOf(bytes), modifiedMs: Date.now(), checksum: undefined })
    return xml(`<CompleteMultipartUploadResult><ETag>${etagOf(bytes)}</ETag></CompleteMultipartUploadResult>`)
  }

  #list(objects: Map<string, StoredObject>, { query }: S3Request): Answer {
    const prefix = query.get('prefix') ?? ''
    const after = query.get('continuation-token') ?? query.get('start-after') ?? ''
    const order = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
    const keys = [...objects.keys()].filter(key => key.startsWith(prefix) && order(key, after) > 0).sort(order)
    const page = keys.slice(0, Math.min(this.pageSize, Number(query.get('max-keys') ?? 1000)))
    const isUrl = query.get('encoding-type') === 'url'
    const contents = page.map(key => {
      const { bytes, etag, modifiedMs } = objects.get(key)!
      const name = isUrl ? encodeURIComponent(key).replaceAll('%2F', '/') : escaped(key)
      const time = new Date(modifiedMs).toISOString()
      return `<Contents><Key>${name}</Key><LastModified>${time}</LastModified><ETag>${escaped(etag)}</ETag><Size>${bytes.length}</Size></Contents>`
    })
    const isCut = page.length < keys.length
    const token = isCut ? `<NextContinuationToken>${escaped(page.at(-1)!)}</NextContinuationToken>` : ''
    return xml(
      `<ListBucketResult>${isUrl ? '<EncodingType>url</EncodingType>' : ''}<KeyCount>${page.length}</KeyCount><IsTruncated>${isCut}</IsTruncated>${token}${contents.join('')}</ListBucketResult>`,
    )
  }
}

interface Answer {
  readonly status: number
  readonly headers?: object
  readonly body?: Uint8Array
  /** The answer is to HEAD: its length is told, and it has no body. */
  readonly isHead?: boolean
}

function actionOf(method: string, key: string, query: URLSearchParams): string {
  if (method === 'GET') return key === '' ? 'ListObjectsV2' : 'GetObject'
  if (method === 'HEAD') return key === '' ? 'HeadBucket' : 'HeadObject'
  if (method === 'DELETE') return query.has('uploadId') ? 'AbortMultipartUpload' : 'DeleteObject'
  if (method === 'PUT') return query.has('partNumber') ? 'UploadPart' : 'PutObject'
  if (query.has('delete')) return 'DeleteObjects'
  return query.has('uploads') ? 'CreateMultipartUpload' : 'CompleteMultipartUpload'
}

function getAnswer(
  request: S3Request,
  { bytes, etag, modifiedMs, checksum }: StoredObject,
  ignoresRanges: boolean,
): Answer {
  const { headers, method } = request
  const condition = headers['if-match']
  if (condition !== undefined && condition !== etag)
    return errorAnswer(request, { status: 412, code: 'PreconditionFailed' })
  const common = { etag, 'last-modified': new Date(modifiedMs).toUTCString(), 'accept-ranges': 'bytes' }
  const range = /^bytes=(\d+)-(\d*)$/.exec(String(headers['range'] ?? ''))
  if (range !== null && !ignoresRanges) {
    const start = Number(range[1])
    const end = Math.min(bytes.length, range[2] === '' ? bytes.length : Number(range[2]) + 1)
    if (start >= bytes.length) return errorAnswer(request, { status: 416, code: 'InvalidRange' })
    const contentRange = { 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` }
    return { status: 206, headers: { ...common, ...contentRange }, body: bytes.subarray(start, end) }
  }
  const summed =
    checksum === undefined ? {} : { 'x-amz-checksum-crc32': checksum, 'x-amz-checksum-type': 'FULL_OBJECT' }
  return { status: 200, headers: { ...common, ...summed }, body: bytes, isHead: method === 'HEAD' }
}

function errorAnswer(
  request: S3Request,
  { status, code = 'Fault', message = 'injected', headers = {} }: Extract<S3Fault, { status: number }>,
): Answer {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${escaped(message)}</Message><Resource>/${escaped(request.key)}</Resource><RequestId>1</RequestId></Error>`
  const isHead = request.method === 'HEAD'
  return {
    status,
    headers: { 'content-type': 'application/xml', ...headers },
    ...(isHead ? {} : { body: Buffer.from(body) }),
  }
}

function xml(body: string): Answer {
  const whole = `<?xml version="1.0" encoding="UTF-8"?>${body}`
  return { status: 200, headers: { 'content-type': 'application/xml' }, body: Buffer.from(whole) }
}

function send(
  response: ServerResponse,
  { status, headers = {}, body = new Uint8Array(0), isHead = false }: Answer,
): void {
  const length = status === 204 ? {} : { 'content-length': String(body.length) }
  response.writeHead(status, { ...headers, ...length } as Record<string, string>)
  response.end(isHead ? undefined : body)
}

/** The head, half of the body, and the end of the connection. */
function sendHalf(response: ServerResponse, { status, headers = {}, body = new Uint8Array(0) }: Answer): void {
  response.writeHead(status, { ...headers, 'content-length': String(body.length) } as Record<string, string>)
  response.write(body.subarray(0, body.length >> 1), () => response.socket?.destroy())
}

function etagOf(bytes: Uint8Array): string {
  return `"${createHash('md5').update(bytes).digest('hex')}"`
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes)
}

function escaped(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

function plain(value: string): string {
  return value
    .replaceAll('&lt;', '<')
    .replaceAll('&quot;', '"')
    .replaceAll('&apos;', "'")
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
}
