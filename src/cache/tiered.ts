import type { ByteCache, CachedBytes, CacheStats } from './byte-cache.ts'

/** Larger values are mapped from their file, which is as quick. */
const IN_MEMORY_BYTES_MAX = 1 << 20
/** Values on their way to the disk; beyond this a writer has to wait. */
const WAITING_BYTES_MAX = 32 << 20

/** A memory cache in front of one that lasts. */
export class TieredCache implements ByteCache {
  readonly #memory: ByteCache
  readonly #disk: ByteCache
  readonly #waiting = new Map<string, CachedBytes>()
  #waitingBytes = 0
  #waitingHits = 0

  constructor(memory: ByteCache, disk: ByteCache) {
    this.#memory = memory
    this.#disk = disk
  }

  async get(key: string): Promise<CachedBytes | undefined> {
    const near = await this.#memory.get(key)
    if (near !== undefined) return near
    const waiting = this.#waiting.get(key)
    if (waiting !== undefined) {
      this.#waitingHits++
      return waiting
    }
    const far = await this.#disk.get(key)
    if (far !== undefined && far.bytes.length < IN_MEMORY_BYTES_MAX) await this.#memory.put(key, far)
    return far
  }

  /** Resolves when the value can be read; it reaches the disk in the background. */
  async put(key: string, value: CachedBytes): Promise<void> {
    if (value.bytes.length < IN_MEMORY_BYTES_MAX) await this.#memory.put(key, value)
    this.#waiting.set(key, value)
    const size = value.bytes.length + value.meta.length
    this.#waitingBytes += size
    const written = this.#disk.put(key, value).finally(() => {
      if (this.#waiting.get(key) === value) this.#waiting.delete(key)
      this.#waitingBytes -= size
    })
    if (this.#waitingBytes > WAITING_BYTES_MAX) await written
  }

  stats(): CacheStats {
    const memory = this.#memory.stats()
    const disk = this.#disk.stats()
    return { ...disk, hits: memory.hits + this.#waitingHits + disk.hits, misses: disk.misses }
  }

  async close(): Promise<void> {
    await this.#disk.close()
    await this.#memory.close()
  }
}
