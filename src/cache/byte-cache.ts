/**
 * A bounded store of bytes whose keys name content that never changes, so nothing is ever invalidated, only forgotten.
 * A miss is always allowed; a hit is always whole and checked.
 */
export interface ByteCache {
  /** The bytes, or undefined if they are not held (or failed their checksum: then they are dropped). Do not write to them: they may be a mapping of a file. */
  get(key: string): Promise<CachedBytes | undefined>
  /** Keeps bytes under a key. Never fails the caller: a full disk only means that they are not kept. */
  put(key: string, value: CachedBytes): Promise<void>
  stats(): CacheStats
  close(): Promise<void>
}

export interface CachedBytes {
  readonly bytes: Uint8Array
  /** Small companion data (a sparse row index, for one), kept and returned with the bytes. */
  readonly meta: Uint8Array
}

export interface CacheStats {
  readonly entries: number
  readonly sizeBytes: number
  readonly capacityBytes: number
  readonly hits: number
  readonly misses: number
}
