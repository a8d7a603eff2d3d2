import type { ByteCache } from '../cache/byte-cache.ts'
import type { ObjectStore, ObjectWriter } from './object-store.ts'

/** Objects are kept in blocks: a part of one that is read again need not be read as the same part. */
const BLOCK_BYTES = 256 << 10
/** Blocks that are missing side by side are fetched together, but no more than these at once. */
const RUN_BLOCKS_MAX = 32
/** What is fetched at the same time for one read. */
const PARALLEL = 4
/** A name with a UUID in it is given once: whatever has it never changes. Data files, vectors and checkpoints have such names. */
const GIVEN_ONCE = /[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}[^/]*$/i

/** What is written is kept, too, if it is no larger: whoever writes a few rows reads them next. */
const KEPT_BYTES_MAX = 4 << 20

const NO_META = new Uint8Array(0)

/** A store whose immutable objects are kept in a cache, as far as ranges of them were read. */
export function cachedStore(store: ObjectStore, cache: ByteCache): ObjectStore {
  return {
    location: store.location,
    localPath: path => store.localPath(path),
    read: (path, start = 0, end) =>
      end === undefined || !GIVEN_ONCE.test(path)
        ? store.read(path, start, end)
        : readBlocks(store, cache, path, start, end),
    stat: path => store.stat(path),
    list: (prefix, startAfter) => store.list(prefix, startAfter),
    write: async (path, bytes) => {
      await store.write(path, bytes)
      if (bytes.length <= KEPT_BYTES_MAX) await keep(store, cache, path, bytes)
    },
    create: async path => keepingWriter(await store.create(path), bytes => keep(store, cache, path, bytes)),
    putIfAbsent: (path, bytes) => store.putIfAbsent(path, bytes),
    delete: path => store.delete(path),
    deleteMany: paths => store.deleteMany(paths),
  }
}

function keyOf(store: ObjectStore, path: string, block: number): string {
  return `object\0${store.location}/${path}\0${BLOCK_BYTES}\0${block}`
}

/** Keeps a whole object, if its name is given once. */
async function keep(store: ObjectStore, cache: ByteCache, path: string, bytes: Uint8Array): Promise<void> {
  if (!GIVEN_ONCE.test(path)) return
  for (let block = 0; block * BLOCK_BYTES < bytes.length; block++) {
    const part = bytes.slice(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)
    await cache.put(keyOf(store, path, block), { bytes: part, meta: NO_META })
  }
}

/** A writer that hands on what was written when it is there, if it is not much. */
function keepingWriter(writer: ObjectWriter, keepAll: (bytes: Uint8Array) => Promise<void>): ObjectWriter {
  let parts: Uint8Array[] | undefined = []
  let sizeBytes = 0
  return {
    write: async bytes => {
      sizeBytes += bytes.length
      if (sizeBytes > KEPT_BYTES_MAX) parts = undefined
      parts?.push(bytes.slice())
      await writer.write(bytes)
    },
    close: async () => {
      await writer.close()
      if (parts !== undefined) await keepAll(Buffer.concat(parts))
      parts = undefined
    },
    abort: () => writer.abort(),
  }
}

async function readBlocks(
  store: ObjectStore,
  cache: ByteCache,
  path: string,
  start: number,
  end: number,
): Promise<Uint8Array> {
  if (end <= start) return store.read(path, start, end)
  const first = Math.floor(start / BLOCK_BYTES)
  const count = Math.ceil(end / BLOCK_BYTES) - first
  const blocks: (Uint8Array | undefined)[] = await Promise.all(
    Array.from({ length: count }, async (_, i) => (await cache.get(keyOf(store, path, first + i)))?.bytes),
  )
  const runs = missingRuns(blocks)
  const fetchSome = async (): Promise<void> => {
    for (let run = runs.shift(); run !== undefined; run = runs.shift()) {
      const from = (first + run.from) * BLOCK_BYTES
      const bytes = await store.read(path, from, from + run.count * BLOCK_BYTES)
      for (let i = 0; i < run.count; i++) {
        const block = bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES)
        blocks[run.from + i] = block
        if (block.length > 0) await cache.put(keyOf(store, path, first + run.from + i), { bytes: block, meta: NO_META })
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(PARALLEL, runs.length) }, fetchSome))
  // The object may end before what was asked for; then its last blocks are short or empty.
  const whole = blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks as Uint8Array[])
  const offset = start - first * BLOCK_BYTES
  // What is in the cache may be a mapping of a file, and is not to be written to.
  return whole.slice(offset, offset + end - start)
}

/** Blocks that are missing side by side. */
function missingRuns(blocks: readonly (Uint8Array | undefined)[]): { readonly from: number; count: number }[] {
  const runs: { from: number; count: number }[] = []
  for (const [i, block] of blocks.entries()) {
    if (block !== undefined) continue
    const last = runs.at(-1)
    if (last !== undefined && last.from + last.count === i && last.count < RUN_BLOCKS_MAX) last.count++
    else runs.push({ from: i, count: 1 })
  }
  return runs
}
