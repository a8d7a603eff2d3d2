import type { CompletedPart } from '@aws-sdk/client-s3'
import type { ObjectWriter } from '../object-store.ts'
import { StorageError } from '../object-store.ts'
import type { Requests } from './requests.ts'

/** The size of a part; a smaller object goes in one request. S3 takes parts of 5 MiB and more, and 10,000 of them. */
export const PART_BYTES = 8 << 20
const PARALLEL = 4
/** Parts grow twofold each time that there are so many more, so that no file has too many. */
const PARTS_OF_A_SIZE = 1000

export interface UploadTarget {
  readonly requests: Requests
  readonly bucket: string
  readonly key: string
  /** For messages. */
  readonly target: string
  readonly partBytes?: number | undefined
  /** Puts the object in one request. */
  readonly put: (bytes: Uint8Array) => Promise<void>
  /** The size of the object, if it is there. */
  readonly statSize: () => Promise<number | undefined>
  /** Called when the object is there. */
  readonly done: () => void
}

/** An object that is written piece by piece: a multipart upload, or one request if it is small. */
export class S3Writer implements ObjectWriter {
  readonly #to: UploadTarget
  #pending: Uint8Array[] = []
  #pendingBytes = 0
  #sizeBytes = 0
  #uploadId: Promise<string> | undefined
  readonly #parts: Promise<CompletedPart>[] = []
  readonly #running = new Set<Promise<unknown>>()
  #failure: unknown

  constructor(to: UploadTarget) {
    this.#to = to
  }

  async write(bytes: Uint8Array): Promise<void> {
    // The caller may use its buffer again.
    this.#pending.push(bytes.slice())
    this.#pendingBytes += bytes.length
    this.#sizeBytes += bytes.length
    while (this.#pendingBytes >= this.#partBytes()) await this.#send(this.#partBytes())
    if (this.#failure !== undefined) throw this.#failure
  }

  async close(): Promise<void> {
    if (this.#uploadId === undefined) return this.#to.put(this.#take(this.#pendingBytes))
    if (this.#pendingBytes > 0) await this.#send(this.#pendingBytes)
    await this.#complete(await Promise.all(this.#parts))
  }

  async abort(): Promise<void> {
    this.#pending = []
    this.#pendingBytes = 0
    const begun = this.#uploadId
    if (begun === undefined) return
    this.#uploadId = undefined
    await Promise.allSettled(this.#running)
    // What cannot be taken away is charged for until the rule of the bucket for unfinished uploads takes it.
    await this.#abort(begun).catch(() => undefined)
  }

  #partBytes(): number {
    return (this.#to.partBytes ?? PART_BYTES) * 2 ** Math.floor(this.#parts.length / PARTS_OF_A_SIZE)
  }

  /** The first bytes of what is pending. */
  #take(count: number): Uint8Array {
    const all = this.#pending.length === 1 ? this.#pending[0]! : Buffer.concat(this.#pending)
    const rest = all.subarray(count)
    this.#pending = rest.length === 0 ? [] : [rest]
    this.#pendingBytes = rest.length
    return all.subarray(0, count)
  }

  /** Begins to send a part; waits while as many as may be are under way. */
  async #send(count: number): Promise<void> {
    const bytes = this.#take(count)
    this.#uploadId ??= this.#begin()
    const part = this.#upload(this.#parts.length + 1, bytes)
    const running: Promise<void> = part.then(
      () => void this.#running.delete(running),
      (error: unknown) => {
        this.#running.delete(running)
        this.#failure ??= error
      },
    )
    this.#parts.push(part)
    this.#running.add(running)
    if (this.#running.size >= PARALLEL) await Promise.race(this.#running)
  }

  #begin(): Promise<string> {
    const { requests, bucket, key, target } = this.#to
    return requests.run({
      action: 'CreateMultipartUpload',
      target,
      bucket,
      send: async ({ client, commands }, abortSignal) => {
        const input = { Bucket: bucket, Key: key, ChecksumAlgorithm: 'CRC32' } as const
        const { UploadId } = await client.send(new commands.CreateMultipartUploadCommand(input), { abortSignal })
        if (UploadId === undefined) throw new StorageError('io', `${target}: the store gives no id for the upload`)
        return UploadId
      },
    })
  }

  async #upload(PartNumber: number, bytes: Uint8Array): Promise<CompletedPart> {
    const { requests, bucket, key, target } = this.#to
    const UploadId = await this.#uploadId
    return requests.run({
      action: 'UploadPart',
      target,
      bucket,
      sizeBytes: bytes.length,
      send: async ({ client, commands }, abortSignal) => {
        const input = { Bucket: bucket, Key: key, UploadId, PartNumber, Body: bytes }
        const { ETag, ChecksumCRC32 } = await client.send(new commands.UploadPartCommand(input), { abortSignal })
        return { PartNumber, ETag, ...(ChecksumCRC32 === undefined ? {} : { ChecksumCRC32 }) }
      },
    })
  }

  async #complete(Parts: CompletedPart[]): Promise<void> {
    const { requests, bucket, key, target, statSize } = this.#to
    const UploadId = await this.#uploadId
    const outcome = await requests.run<'done' | 'gone'>({
      action: 'CompleteMultipartUpload',
      target,
      bucket,
      outcomeOf: (_, name) => (name === 'NoSuchUpload' ? 'gone' : undefined),
      send: async ({ client, commands }, abortSignal) => {
        const input = { Bucket: bucket, Key: key, UploadId, MultipartUpload: { Parts } }
        await client.send(new commands.CompleteMultipartUploadCommand(input), { abortSignal })
        return 'done'
      },
    })
    // The reply to an attempt that came through may have been lost: then the object is there.
    if (outcome === 'gone' && (await statSize()) !== this.#sizeBytes)
      throw new StorageError('io', `${target}: the store does not know the upload any more; write the file again`)
    this.#uploadId = undefined
    this.#to.done()
  }

  async #abort(begun: Promise<string>): Promise<void> {
    const { requests, bucket, key, target } = this.#to
    const UploadId = await begun
    await requests.run({
      action: 'AbortMultipartUpload',
      target,
      bucket,
      outcomeOf: status => (status === 404 ? true : undefined),
      send: async ({ client, commands }, abortSignal) => {
        await client.send(new commands.AbortMultipartUploadCommand({ Bucket: bucket, Key: key, UploadId }), {
          abortSignal,
        })
        return true
      },
    })
  }
}
