import type { GetObjectCommandOutput } from '@aws-sdk/client-s3'
import { BrokenBody } from './errors.ts'

/**
 * All bytes of an answer. Rejects with BrokenBody if they are not as many as were announced (`sizeBytes`), and as the SDK
 * does if their checksum is wrong. `goesOn` is called whenever some came.
 */
export async function bytesOf(
  body: GetObjectCommandOutput['Body'],
  sizeBytes: number | undefined,
  signal: AbortSignal,
  goesOn: () => void,
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
    const whole = sizeBytes === undefined ? undefined : new Uint8Array(sizeBytes)
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
