import type { GetObjectCommandOutput } from '@aws-sdk/client-s3'
import { BrokenBody } from './errors.ts'

/** The facts about a body before it comes, and how much of it is wanted. */
export interface Expected {
  /** As announced. */
  readonly sizeBytes: number | undefined
  /** No more of it is wanted. */
  readonly bytesMax?: number | undefined
  readonly signal: AbortSignal
  /** Called whenever some came. */
  readonly goesOn: () => void
}

/**
 * All bytes of an answer, or as many as are wanted. Rejects with BrokenBody if all are not as many as were announced, and
 * as the SDK does if their checksum is wrong.
 */
export async function bytesOf(
  body: GetObjectCommandOutput['Body'],
  { sizeBytes, bytesMax = Number.POSITIVE_INFINITY, signal, goesOn }: Expected,
): Promise<Uint8Array> {
  goesOn()
  const reader = body?.transformToWebStream().getReader() as ReadableStreamDefaultReader<Uint8Array> | undefined
  if (reader === undefined) return new Uint8Array(0)
  // The stream of a body does not always hear of the signal.
  const aborted = Promise.withResolvers<never>()
  aborted.promise.catch(() => undefined)
  const abort = (): void => aborted.reject(signal.reason)
  signal.addEventListener('abort', abort)
  try {
    // Of a length that was announced: the parts need not be kept until all are there.
    const whole = sizeBytes === undefined || sizeBytes > bytesMax ? undefined : new Uint8Array(sizeBytes)
    const parts: Uint8Array[] = []
    let done = 0
    for (;;) {
      const next = await Promise.race([reader.read(), aborted.promise])
      if (next.done) break
      goesOn()
      if (whole !== undefined && done + next.value.length > whole.length)
        throw new BrokenBody(`more than ${sizeBytes} bytes came`)
      if (whole === undefined) parts.push(next.value)
      else whole.set(next.value, done)
      done += next.value.length
      if (done > bytesMax) {
        await reader.cancel()
        return Buffer.concat(parts, bytesMax)
      }
    }
    if (sizeBytes !== undefined && done < sizeBytes) throw new BrokenBody(`${done} of ${sizeBytes} bytes came`)
    return whole ?? Buffer.concat(parts, done)
  } catch (error) {
    await reader.cancel().catch(() => undefined)
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
