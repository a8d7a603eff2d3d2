import { join } from 'node:path'
import type { ByteCache } from './cache/byte-cache.ts'
import { DiskCache } from './cache/disk.ts'
import { MemoryCache } from './cache/memory.ts'
import { TieredCache } from './cache/tiered.ts'
import { WorkerPool } from './columns/workers/pool.ts'
import { type Clock, systemClock } from './core/clock.ts'
import { cacheHome } from './core/xdg.ts'
import { type SqlLimits, serverLimits } from './sql/limits.ts'
import { sqlProcessCommand } from './sql/program.ts'
import { SqlService } from './sql/service.ts'
import { openStore, parseLocation } from './storage/location.ts'
import type { ObjectStore } from './storage/object-store.ts'
import { openTable, type Table, type TableOptions } from './table/table.ts'

export type { ObjectStore } from './storage/object-store.ts'
export type { NewVersion } from './table/table.ts'

const MEMORY_CACHE_BYTES = 32 << 20
const DISK_CACHE_BYTES = 10 * 1024 ** 3

export interface LakeOptions {
  readonly cacheDirectory?: string
  /** The bound of the disk cache, in bytes. */
  readonly cacheBytes?: number
  readonly clock?: Clock
  readonly log?: (sentence: string) => void
  readonly onVersion?: TableOptions['onVersion']
  /** All of the table will be read: the threads for that begin while the table is opened. */
  readonly startThreads?: boolean
  /** Puts something in front of the table's store. */
  readonly wrapStore?: ((store: ObjectStore) => ObjectStore) | undefined
}

/** An open table with what stands beside it. */
export interface Lake {
  readonly location: string
  readonly table: Table
  readonly cache: ByteCache
  readonly pool: WorkerPool
  readonly clock: Clock
  close(): Promise<void>
}

export interface OpenSqlOptions {
  /** A folder of the server's own. */
  readonly folder: string
  /** What differs from the limits of a server. */
  readonly limits?: Partial<SqlLimits> | undefined
  readonly log: (sentence: string) => void
}

/** What runs SQL on the table of a server. It loads no engine here: processes of its own do. */
export type { SqlLimits, SqlService }

export function openSql({ table, location, clock }: Lake, options: OpenSqlOptions): SqlService {
  return new SqlService({
    ...options,
    limits: { ...serverLimits(), ...options.limits },
    table,
    clock,
    command: () => sqlProcessCommand(location),
  })
}

/** Opens the table at a location. Rejects with TableError or StorageError. */
export async function openLake(location: string, options: LakeOptions = {}): Promise<Lake> {
  const clock = options.clock ?? systemClock
  const log = options.log ?? (() => undefined)
  const { wrapStore = (store: ObjectStore) => store } = options
  const store = wrapStore(openStore(parseLocation(location)))
  const pool = new WorkerPool({})
  if (options.startThreads === true) pool.start()
  const table = await openTable(store, { clock, onVersion: options.onVersion }).catch(async error => {
    await pool.close()
    throw error
  })
  const directory = join(options.cacheDirectory ?? cacheHome(), 'text')
  const cache = new TieredCache(
    new MemoryCache(MEMORY_CACHE_BYTES),
    new DiskCache({ directory, capacityBytes: options.cacheBytes ?? DISK_CACHE_BYTES, log }),
  )
  return {
    location: store.location,
    table,
    cache,
    pool,
    clock,
    close: async () => {
      await pool.close()
      await cache.close()
      await table.close()
    },
  }
}
