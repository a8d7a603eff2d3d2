import type { ByteCache } from '../cache/byte-cache.ts'
import { totalLength } from '../core/search.ts'
import { type ObjectStore, type ObjectWriter, readAnew } from './object-store.ts'

/** Objects are kept in blocks: a part of one that is read again need not be read as the same part. */
const BLOCK_BYTES = 256 << 10
/** So many blocks are kept as one, where all of them are fetched together: each that is kept costs a file. */
const GROUP_BLOCKS = 4
const GROUP_BYTES = BLOCK_BYTES * GROUP_BLOCKS
/** Blocks that are missing side by side are fetched together, but no more than these at once. */
const RUN_BLOCKS_MAX = 32
/** Ranges that are fetched at the same time for one read. */
const PARALLEL = 4
/** A name with a UUID in it is given once: whatever has it never changes. Data files, vectors and checkpoints have such names. */
const GIVEN_ONCE = /[\da-f]{8}-[\da-f]{4}-[\da-f]{4}-[\da-f]{4}-[\da-f]{12}[^/]*$/i

/** A written object is kept, too, if it is no larger: whoever writes a few rows reads them next. */
const KEPT_BYTES_MAX = 4 << 20

const NO_META = new Uint8Array(0)

/** A store whose immutable objects are kept in a cache, as far as ranges of them were read. */
export function cachedStore(store: ObjectStore, cache: ByteCache): ObjectStore {
  const blocks = new Blocks(store, cache)
  return {
    location: store.location,
    localPath: path => store.localPath(path),
    read: (path, start = 0, end) =>
      end === undefined || !GIVEN_ONCE.test(path) ? store.read(path, start, end) : blocks.read(path, start, end),
    readOnce: (path, start, end) =>
      GIVEN_ONCE.test(path) ? blocks.readOnce(path, start, end) : store.read(path, start, end),
    readAnew: (path, start, end) =>
      GIVEN_ONCE.test(path) ? blocks.readAnew(path, start, end) : readAnew(store, path, start, end),
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

function groupKeyOf(store: ObjectStore, path: string, group: number): string {
  return `object\0${store.location}/${path}\0${GROUP_BYTES}\0${group}`
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

/** The blocks of a store's objects, those that are kept and those that are fetched. */
class Blocks {
  readonly #store: ObjectStore
  readonly #cache: ByteCache
  /** Those that are on their way: whoever needs one, too, waits for it. */
  readonly #coming = new Map<string, Promise<Uint8Array>>()

  constructor(store: ObjectStore, cache: ByteCache) {
    this.#store = store
    this.#cache = cache
  }

  async read(path: string, start: number, end: number): Promise<Uint8Array> {
    if (end <= start) return this.#store.read(path, start, end)
    const first = Math.floor(start / BLOCK_BYTES)
    const blocks = await this.#kept(path, first, end)
    const coming = blocks.map((block, i) => block ?? this.#coming.get(keyOf(this.#store, path, first + i)))
    const runs = missingRuns(coming)
    const fetchSome = async (): Promise<void> => {
      for (let run = runs.shift(); run !== undefined; run = runs.shift()) {
        const found = this.#fetch(path, first + run.from, run.count)
        for (const [i, block] of found.entries()) coming[run.from + i] = block
        await Promise.all(found)
      }
    }
    await Promise.all(Array.from({ length: Math.min(PARALLEL, runs.length) }, fetchSome))
    return rangeOf((await Promise.all(coming)) as Uint8Array[], start - first * BLOCK_BYTES, end - start)
  }

  /** Fetches exactly what is asked for, and keeps nothing of it, unless all of it is kept already. */
  async readOnce(path: string, start: number, end: number): Promise<Uint8Array> {
    const first = Math.floor(start / BLOCK_BYTES)
    const blocks = end <= start ? [undefined] : await this.#kept(path, first, end)
    if (blocks.includes(undefined)) return this.#store.read(path, start, end)
    return rangeOf(blocks as Uint8Array[], start - first * BLOCK_BYTES, end - start)
  }

  /** Fetches all anew, in whole groups, which go before the blocks in them. */
  async readAnew(path: string, start: number, end: number): Promise<Uint8Array> {
    if (end <= start) return this.#store.read(path, start, end)
    const first = Math.floor(start / GROUP_BYTES) * GROUP_BLOCKS
    const count = Math.ceil(end / GROUP_BYTES) * GROUP_BLOCKS - first
    const whole = await this.#fetchAndKeep(path, first, count)
    return rangeOf([whole], start - first * BLOCK_BYTES, end - start)
  }

  /** The blocks from one on that hold what is before `end`, as far as they are kept. */
  async #kept(path: string, first: number, end: number): Promise<(Uint8Array | undefined)[]> {
    const count = Math.ceil(end / BLOCK_BYTES) - first
    const firstGroup = Math.floor(first / GROUP_BLOCKS)
    const groupCount = Math.floor((first + count - 1) / GROUP_BLOCKS) - firstGroup + 1
    const groups = await Promise.all(
      Array.from({ length: groupCount }, (_, i) => this.#cache.get(groupKeyOf(this.#store, path, firstGroup + i))),
    )
    const find = async (_: unknown, i: number): Promise<Uint8Array | undefined> => {
      const block = first + i
      const group = groups[Math.floor(block / GROUP_BLOCKS) - firstGroup]
      if (group === undefined) return (await this.#cache.get(keyOf(this.#store, path, block)))?.bytes
      const at = (block % GROUP_BLOCKS) * BLOCK_BYTES
      return group.bytes.subarray(at, at + BLOCK_BYTES)
    }
    return Promise.all(Array.from({ length: count }, find))
  }

  /** Fetches blocks side by side, each of which the object may be too short for. */
  #fetch(path: string, first: number, count: number): Promise<Uint8Array>[] {
    const kept = this.#fetchAndKeep(path, first, count)
    return Array.from({ length: count }, (_, i) => {
      const key = keyOf(this.#store, path, first + i)
      const block = kept
        .then(whole => whole.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES))
        .finally(() => this.#coming.delete(key))
      this.#coming.set(key, block)
      return block
    })
  }

  async #fetchAndKeep(path: string, first: number, count: number): Promise<Uint8Array> {
    const whole = await this.#store.read(path, first * BLOCK_BYTES, (first + count) * BLOCK_BYTES)
    for (let i = 0; i * BLOCK_BYTES < whole.length; ) {
      const group = (first + i) / GROUP_BLOCKS
      const isGroup = Number.isInteger(group) && (i + GROUP_BLOCKS) * BLOCK_BYTES <= whole.length
      const blocks = isGroup ? GROUP_BLOCKS : 1
      const bytes = whole.subarray(i * BLOCK_BYTES, (i + blocks) * BLOCK_BYTES)
      const key = isGroup ? groupKeyOf(this.#store, path, group) : keyOf(this.#store, path, first + i)
      await this.#cache.put(key, { bytes, meta: NO_META })
      i += blocks
    }
    return whole
  }
}

/** Bytes from an offset on in blocks that lie one behind the other; fewer where the last block of the object is short. */
function rangeOf(blocks: readonly Uint8Array[], offset: number, count: number): Uint8Array {
  const sizeBytes = totalLength(blocks)
  // In a buffer of its own: what is in the cache may be a mapping of a file, and is not to be written to.
  const bytes = new Uint8Array(Math.max(0, Math.min(count, sizeBytes - offset)))
  let at = -offset
  for (const block of blocks) {
    const from = Math.max(0, -at)
    const part = block.subarray(from, Math.max(from, bytes.length - at))
    if (part.length > 0) bytes.set(part, at + from)
    at += block.length
  }
  return bytes
}

/** Blocks that are missing side by side. */
function missingRuns(blocks: readonly unknown[]): { readonly from: number; count: number }[] {
  const runs: { from: number; count: number }[] = []
  for (const [i, block] of blocks.entries()) {
    if (block !== undefined) continue
    const last = runs.at(-1)
    if (last !== undefined && last.from + last.count === i && last.count < RUN_BLOCKS_MAX) last.count++
    else runs.push({ from: i, count: 1 })
  }
  return runs
}
