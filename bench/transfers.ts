import type { Handle, NfsClient } from '../test/nfs/client.ts'

const MEGABYTE = 1 << 20
/** READs and WRITEs of the kernel: a megabyte each, so many under way. */
const IN_FLIGHT = 8

/** Reads a file from front to back as the kernel does for `cat`. Returns its size; `look` sees all of it, in parts of any order. */
export async function readThrough(
  client: NfsClient,
  file: Handle,
  look: (bytes: Uint8Array, at: number) => void = () => undefined,
): Promise<number> {
  const size = Number((await client.getattr(file)).size)
  await inParts(size, async (at, end) => {
    for (let next = at; next < end; ) {
      const { data } = await client.read(file, BigInt(next), end - next)
      if (data.length === 0) throw new Error(`there is nothing at byte ${next} of ${size}`)
      look(data, next)
      next += data.length
    }
  })
  return size
}

/** Writes so many bytes, those that `part` gives, as the kernel does for `cp`. They are durable after a COMMIT. */
export function send(
  client: NfsClient,
  file: Handle,
  sizeBytes: number,
  part: (start: number, end: number) => Uint8Array,
): Promise<void> {
  return inParts(sizeBytes, async (at, end) => void (await client.write(file, BigInt(at), part(at, end), 'UNSTABLE')))
}

async function inParts(size: number, run: (start: number, end: number) => Promise<void>): Promise<void> {
  let next = 0
  const some = async (): Promise<void> => {
    for (let at = next; at < size; at = next) {
      next += MEGABYTE
      await run(at, Math.min(size, at + MEGABYTE))
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, some))
}
