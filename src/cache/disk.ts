import { Database } from 'bun:sqlite'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, unlinkSync } from 'node:fs'
import { open, rename, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { messageOf } from '../core/errors.ts'
import { discarded } from '../core/garbage.ts'
import type { ByteCache, CachedBytes, CacheStats } from './byte-cache.ts'

export interface DiskCacheOptions {
  /** Made if missing. Several processes may share it. */
  readonly directory: string
  readonly capacityBytes: number
  readonly log: (sentence: string) => void
}

/** Files of this size and more are mapped, smaller ones read. */
const MAP_BYTES_MIN = 1 << 20
/** Values below this lie in the index itself: a file each would cost more than it holds. */
const INLINE_BYTES_MAX = 8 << 10
/** Making room goes on to this share of the capacity, so that it is not done at every put. */
const ROOM = 0.9
const USES_BUFFERED_MAX = 1000
/** A process that died may leave files behind; younger ones may be another's work in progress. */
const STRAY_MS = 3600_000
const SCHEMA_VERSION = 1

interface Row {
  file: string | null
  inline: Uint8Array | null
  size: number
  meta: Uint8Array
  checksum: string
}

/**
 * Bytes in files, found by an index in SQLite; the least recently used go when the files grow beyond the capacity. A
 * file is written under a temporary name, synced, renamed, and only then indexed. What does not match its checksum is
 * dropped and counts as a miss.
 */
export class DiskCache implements ByteCache {
  readonly #options: DiskCacheOptions
  #index: Database | undefined
  readonly #verified = new Set<string>()
  readonly #uses = new Map<string, number>()
  readonly #writing = new Set<Promise<void>>()
  #sizeBytes = 0
  #entries = 0
  #hits = 0
  #misses = 0
  #complained = false

  constructor(options: DiskCacheOptions) {
    this.#options = options
    try {
      mkdirSync(options.directory, { recursive: true, mode: 0o700 })
      this.#index = this.#openIndex()
      this.#measure()
      this.#removeStrays()
    } catch (error) {
      this.#complain(error)
      this.#index = undefined
    }
  }

  async get(key: string): Promise<CachedBytes | undefined> {
    const name = nameOf(key)
    const value = this.#find(name)
    if (value === undefined) {
      this.#misses++
      return undefined
    }
    this.#hits++
    this.#uses.set(name, Date.now())
    if (this.#uses.size >= USES_BUFFERED_MAX) this.#flushUses()
    return value
  }

  async put(key: string, value: CachedBytes): Promise<void> {
    if (this.#index === undefined || value.bytes.length > this.#options.capacityBytes) return
    const writing = this.#write(nameOf(key), value).catch(error => this.#complain(error))
    this.#writing.add(writing)
    await writing
    this.#writing.delete(writing)
  }

  stats(): CacheStats {
    const { capacityBytes } = this.#options
    return { entries: this.#entries, sizeBytes: this.#sizeBytes, capacityBytes, hits: this.#hits, misses: this.#misses }
  }

  async close(): Promise<void> {
    await Promise.all(this.#writing)
    try {
      this.#flushUses()
    } finally {
      this.#index?.close()
      this.#index = undefined
    }
  }

  #find(name: string): CachedBytes | undefined {
    if (this.#index === undefined) return undefined
    try {
      const row = this.#index
        .query<Row, [string]>('SELECT file, inline, size, meta, checksum FROM blobs WHERE name = ?')
        .get(name)
      if (row === null) return undefined
      const bytes = row.inline ?? this.#read(row)
      if (bytes !== undefined && (this.#verified.has(name) || checksumOf(bytes, row.meta) === row.checksum)) {
        this.#verified.add(name)
        return { bytes, meta: row.meta }
      }
      this.#drop(name, row)
      return undefined
    } catch (error) {
      this.#complain(error)
      return undefined
    }
  }

  /** Undefined if the file is not there as it was written. */
  #read({ file, size }: Row): Uint8Array | undefined {
    if (file === null) return undefined
    const path = join(this.#options.directory, file)
    if (statSync(path, { throwIfNoEntry: false })?.size !== size) return undefined
    try {
      return size >= MAP_BYTES_MIN ? this.#map(path, size) : readFileSync(path)
    } catch {
      return undefined
    }
  }

  #map(path: string, size: number): Uint8Array {
    // The mappings of earlier reads end when they are collected.
    discarded(size)
    return Bun.mmap(path)
  }

  async #write(name: string, { bytes, meta }: CachedBytes): Promise<void> {
    const inline = bytes.length < INLINE_BYTES_MAX
    const file = inline ? null : join(name.slice(0, 2), name)
    if (file !== null) await this.#writeFile(join(this.#options.directory, file), bytes)
    const index = this.#index
    if (index === undefined) return
    const known = index.query<{ size: number }, [string]>('SELECT size FROM blobs WHERE name = ?').get(name)
    index
      .query(
        `INSERT OR REPLACE INTO blobs (name, file, inline, size, meta, checksum, used) VALUES (?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(name, file, inline ? bytes : null, bytes.length, meta, checksumOf(bytes, meta), Date.now())
    this.#verified.add(name)
    if (known === null) this.#entries++
    this.#sizeBytes += bytes.length - (known?.size ?? 0)
    if (this.#sizeBytes > this.#options.capacityBytes) this.#makeRoom()
  }

  async #writeFile(path: string, bytes: Uint8Array): Promise<void> {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
    const temporary = `${path}.${crypto.randomUUID()}.tmp`
    try {
      const handle = await open(temporary, 'wx', 0o600)
      try {
        await handle.writeFile(bytes)
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(temporary, path)
    } catch (error) {
      await unlink(temporary).catch(() => undefined)
      throw error
    }
  }

  #makeRoom(): void {
    const index = this.#index!
    this.#flushUses()
    // Other processes write to the same index, so the sum is taken anew.
    this.#measure()
    const oldest = index.query<Row & { name: string }, []>('SELECT * FROM blobs ORDER BY used')
    for (const row of oldest.all()) {
      if (this.#sizeBytes <= this.#options.capacityBytes * ROOM) break
      this.#drop(row.name, row)
    }
  }

  #drop(name: string, { file, size }: Row): void {
    this.#index!.query('DELETE FROM blobs WHERE name = ?').run(name)
    this.#verified.delete(name)
    this.#uses.delete(name)
    this.#entries--
    this.#sizeBytes -= size
    // Who has it mapped keeps it: only the name goes.
    if (file !== null) rmSync(join(this.#options.directory, file), { force: true })
  }

  /** Times of use reach the index in batches: a write for every read would cost more than the read. */
  #flushUses(): void {
    const index = this.#index
    if (index === undefined || this.#uses.size === 0) return
    const update = index.query('UPDATE blobs SET used = ? WHERE name = ?')
    index.transaction(() => {
      for (const [name, used] of this.#uses) update.run(used, name)
    })()
    this.#uses.clear()
  }

  #measure(): void {
    const sum = this.#index!.query<{ entries: number; size: number }, []>(
      'SELECT count(*) AS entries, coalesce(sum(size), 0) AS size FROM blobs',
    ).get()!
    this.#entries = sum.entries
    this.#sizeBytes = sum.size
  }

  #openIndex(): Database {
    const path = join(this.#options.directory, 'index.sqlite')
    try {
      return openAndCheck(path)
    } catch (error) {
      this.#removeIndex(error)
      return openAndCheck(path)
    }
  }

  #startAnew(error: unknown): void {
    try {
      this.#removeIndex(error)
      this.#index = openAndCheck(join(this.#options.directory, 'index.sqlite'))
      this.#verified.clear()
      this.#uses.clear()
      this.#measure()
    } catch (again) {
      this.#options.log(`the cache in ${this.#options.directory} cannot be used: ${messageOf(again)}`)
    }
  }

  /** The files that it named are removed as strays in time. */
  #removeIndex(error: unknown): void {
    const path = join(this.#options.directory, 'index.sqlite')
    this.#options.log(`the cache index ${path} is damaged and is started anew: ${messageOf(error)}`)
    for (const ending of ['', '-wal', '-shm']) rmSync(path + ending, { force: true })
  }

  /** Files that no row names. */
  #removeStrays(): void {
    const { directory } = this.#options
    const named = this.#index!.query<{ found: number }, [string]>('SELECT 1 AS found FROM blobs WHERE file = ?')
    for (const folder of readdirSync(directory, { withFileTypes: true })) {
      if (!folder.isDirectory()) continue
      for (const file of readdirSync(join(directory, folder.name))) {
        const path = join(directory, folder.name, file)
        if (named.get(join(folder.name, file)) !== null) continue
        const stat = statSync(path, { throwIfNoEntry: false })
        if (stat !== undefined && Date.now() - stat.mtimeMs > STRAY_MS) unlinkSync(path)
      }
    }
  }

  /** Said once: a full disk would say it at every put. A damaged index is started anew. */
  #complain(error: unknown): void {
    if (/malformed|not a database/i.test(messageOf(error)) && this.#index !== undefined) {
      this.#index.close()
      this.#index = undefined
      this.#startAnew(error)
      return
    }
    if (this.#complained) return
    this.#complained = true
    this.#options.log(`the cache in ${this.#options.directory} cannot be used as it should: ${messageOf(error)}`)
  }
}

function openAndCheck(path: string): Database {
  const fresh = !existsSync(path)
  const index = new Database(path)
  try {
    index.run('PRAGMA busy_timeout = 5000')
    index.run('PRAGMA journal_mode = WAL')
    index.run('PRAGMA synchronous = NORMAL')
    const version = index.query<{ user_version: number }, []>('PRAGMA user_version').get()!.user_version
    if (!fresh && version !== 0 && version !== SCHEMA_VERSION) index.run('DROP TABLE IF EXISTS blobs')
    index.run(
      `CREATE TABLE IF NOT EXISTS blobs (name TEXT PRIMARY KEY, file TEXT, inline BLOB, size INTEGER NOT NULL,
       meta BLOB NOT NULL, checksum TEXT NOT NULL, used INTEGER NOT NULL)`,
    )
    index.run('CREATE INDEX IF NOT EXISTS blobs_used ON blobs (used)')
    index.run(`PRAGMA user_version = ${SCHEMA_VERSION}`)
    return index
  } catch (error) {
    index.close()
    throw error
  }
}

/** Keys may be long and hold any character; files are named by their hash. */
function nameOf(key: string): string {
  return createHash('sha256').update(key).digest('hex').slice(0, 40)
}

function checksumOf(bytes: Uint8Array, meta: Uint8Array): string {
  return `${Bun.hash.wyhash(bytes).toString(36)}.${Bun.hash.wyhash(meta).toString(36)}`
}
