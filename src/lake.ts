import { join } from 'node:path'
import type { ByteCache } from './cache/byte-cache.ts'
import { DiskCache } from './cache/disk.ts'
import { MemoryCache } from './cache/memory.ts'
import { TieredCache } from './cache/tiered.ts'
import { type Clock, systemClock } from './core/clock.ts'
import { cacheHome } from './core/xdg.ts'
import { type SqlLimits, serverLimits } from './sql/limits.ts'
import { sqlProcessCommand } from './sql/program.ts'
import { SqlService } from './sql/service.ts'
import { openStore, parseLocation, type StoreOptions, s3Name } from './storage/location.ts'
import type { ObjectStore } from './storage/object-store.ts'
import { openTable, type Table, type TableOptions } from './table/table.ts'
import { WorkerPool } from './table/workers/pool.ts'

export type { ObjectStore } from './storage/object-store.ts'
export type { NewVersion } from './table/table.ts'

const MEMORY_CACHE_BYTES = 32 << 20
const DISK_CACHE_BYTES = 10 * 1024 ** 3
/** A store that is elsewhere is asked for new versions no more often, and each question costs a request. */
const FRESH_MS = 1000

export interface LakeOptions {
  readonly cacheDirectory?: string
  /** The bound of the disk cache, in bytes. */
  readonly cacheBytes?: number
  readonly clock?: Clock
  readonly log?: (sentence: string) => void
  readonly onVersion?: TableOptions['onVersion']
  /** Puts something in front of the table's store. */
  readonly wrapStore?: ((store: ObjectStore) => ObjectStore) | undefined
}

/** An open table with what stands beside it. */
export interface Lake {
  /** Tells the table from all others: its directory, or its URL with the endpoint. */
  readonly location: string
  readonly table: Table
  readonly cache: ByteCache
  readonly pool: WorkerPool
  readonly clock: Clock
  /** The bound of the disk cache, if it was named. */
  readonly cacheBytes: number | undefined
  close(): Promise<void>
}

export interface OpenSqlOptions {
  /** A folder of the server's own. */
  readonly folder: string
  /** Limits of statements that differ from the usual ones of a server. */
  readonly limits?: Partial<SqlLimits> | undefined
  readonly log: (sentence: string) => void
}

/** The service that runs SQL on the table of a server. It loads no engine here: processes of its own do. */
export type { SqlLimits, SqlService }

export function openSql({ table, location, clock, cacheBytes }: Lake, options: OpenSqlOptions): SqlService {
  return new SqlService({
    ...options,
    limits: { ...serverLimits(), ...options.limits },
    table,
    clock,
    command: () => sqlProcessCommand(location, cacheBytes),
  })
}

/** A table's store, and the cache beside it. */
export interface CachedStore {
  readonly store: ObjectStore
  /** Made when it is asked for first. */
  readonly cache: () => ByteCache
  close(): Promise<void>
}

export interface CachedStoreOptions extends Pick<LakeOptions, 'cacheDirectory' | 'cacheBytes'> {
  readonly log: (sentence: string) => void
  readonly onWrite?: StoreOptions['onWrite']
}

/** Opens the store of a location; what is read of one that is not on this machine goes through the disk cache. */
export function openCachedStore(location: string, options: CachedStoreOptions): CachedStore {
  const { log, onWrite, cacheDirectory = cacheHome(), cacheBytes = DISK_CACHE_BYTES } = options
  let made: ByteCache | undefined
  const cache = (): ByteCache => {
    made ??= new TieredCache(
      new MemoryCache(MEMORY_CACHE_BYTES),
      new DiskCache({ directory: join(cacheDirectory, 'text'), capacityBytes: cacheBytes, log }),
    )
    return made
  }
  const store = openStore(parseLocation(location), { cache, ...(onWrite === undefined ? {} : { onWrite }) })
  return { store, cache, close: async () => made?.close() }
}

/** Opens the table at a location. Rejects with TableError or StorageError. */
export async function openLake(location: string, options: LakeOptions = {}): Promise<Lake> {
  const clock = options.clock ?? systemClock
  const log = options.log ?? (() => undefined)
  const { wrapStore = (store: ObjectStore) => store } = options
  const opened = openCachedStore(location, { ...options, log })
  const store = wrapStore(opened.store)
  const pool = new WorkerPool({})
  const place = parseLocation(location)
  const name = place.kind === 's3' ? s3Name(place) : store.location
  const freshMs = place.kind === 's3' ? FRESH_MS : 0
  const table = await openTable(store, { clock, onVersion: options.onVersion, freshMs }).catch(async error => {
    await pool.close()
    await opened.close()
    throw error
  })
  const cache = opened.cache()
  return {
    location: name,
    table,
    cache,
    pool,
    clock,
    cacheBytes: options.cacheBytes,
    close: async () => {
      await pool.close()
      await table.close()
      await opened.close()
    },
  }
}
