import { collect } from '../core/garbage.ts'
import { Unused } from '../core/unused.ts'
import type { ByteCache, CachedBytes, CacheStats } from './byte-cache.ts'

/** What takes more than this share of the cache would drive out too much else. */
const SHARE_MAX = 4

/** What an entry takes beside its bytes, roughly: small ones would take far more than they count for otherwise. */
const ENTRY_BYTES = 512

/** Nothing is kept when none of it was used in so long. */
const UNUSED_MS = 60_000

/** Bytes in memory; the least recently used go first, and all when the cache is not used any more. */
export class MemoryCache implements ByteCache {
  readonly #capacityBytes: number
  readonly #entries = new Map<string, CachedBytes>()
  readonly #unused = new Unused(UNUSED_MS, () => this.#clear())
  #sizeBytes = 0
  #hits = 0
  #misses = 0

  constructor(capacityBytes: number) {
    this.#capacityBytes = capacityBytes
  }

  async get(key: string): Promise<CachedBytes | undefined> {
    this.#unused.touch()
    const value = this.#entries.get(key)
    if (value === undefined) {
      this.#misses++
      return undefined
    }
    this.#hits++
    this.#entries.delete(key)
    this.#entries.set(key, value)
    return value
  }

  async put(key: string, value: CachedBytes): Promise<void> {
    this.#unused.touch()
    this.#drop(key)
    const size = sizeOf(value)
    if (size > this.#capacityBytes / SHARE_MAX) return
    this.#entries.set(key, value)
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
    this.#forget()
  }

  #clear(): void {
    this.#forget()
    collect()
  }

  #forget(): void {
    this.#entries.clear()
    this.#sizeBytes = 0
  }

  #drop(key: string): void {
    const value = this.#entries.get(key)
    if (value === undefined) return
    this.#entries.delete(key)
    this.#sizeBytes -= sizeOf(value)
  }
}

function sizeOf({ bytes, meta }: CachedBytes): number {
  return bytes.length + meta.length + ENTRY_BYTES
}
