import { Unused } from '../core/unused.ts'
import type { ByteCache, CachedBytes, CacheStats } from './byte-cache.ts'

/** A value that takes more than this share of the cache is not kept: it would drive out too much else. */
const SHARE_MAX = 4

/** Bytes that an entry takes beside its value, roughly: small values would take far more than they count for otherwise. */
const ENTRY_BYTES = 512

interface HeldValue {
  readonly value: CachedBytes
  /** The mark of its last use, see Unused. */
  readonly usedMark: number
}

/** Bytes in memory; the least recently used go first, and what was not used for a minute goes. */
export class MemoryCache implements ByteCache {
  readonly #capacityBytes: number
  readonly #entries = new Map<string, HeldValue>()
  readonly #unused = new Unused(() => this.#dropUnused())
  #sizeBytes = 0
  #hits = 0
  #misses = 0

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes
  }

  async get(key: string): Promise<CachedBytes | undefined> {
    const known = this.#entries.get(key)
    if (known === undefined) {
      this.#misses++
      return undefined
    }
    this.#hits++
    const { value } = known
    this.#entries.delete(key)
    this.#entries.set(key, { value, usedMark: this.#unused.use() })
    return value
  }

  async put(key: string, value: CachedBytes): Promise<void> {
    this.#drop(key)
    const size = cachedBytes(value)
    if (size > this.#capacityBytes / SHARE_MAX) return
    this.#entries.set(key, { value, usedMark: this.#unused.use() })
    this.#sizeBytes += size
    for (const oldest of this.#entries.keys()) {
      if (this.#sizeBytes <= this.#capacityBytes) break
      this.#drop(oldest)
    }
  }

  stats(): CacheStats {
    return {
      entries: this.#entries.size,
      sizeBytes: this.#sizeBytes,
      capacityBytes: this.#capacityBytes,
      hits: this.#hits,
      misses: this.#misses,
    }
  }

  async close(): Promise<void> {
    this.#unused.stop()
    this.#entries.clear()
    this.#sizeBytes = 0
  }

  #dropUnused(): boolean {
    for (const [key, { usedMark }] of this.#entries) {
      // The others were used later.
      if (!this.#unused.isUnused(usedMark)) break
      this.#drop(key)
    }
    return this.#entries.size > 0
  }

  #drop(key: string): void {
    const known = this.#entries.get(key)
    if (known === undefined) return
    this.#entries.delete(key)
    this.#sizeBytes -= cachedBytes(known.value)
  }
}

function cachedBytes({ bytes, meta }: CachedBytes): number {
  return bytes.length + meta.length + ENTRY_BYTES
}
