import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf } from '../core/errors.ts'
import { sha256Hex } from '../core/hash.ts'
import type { ByteCache, CachedBytes, CacheStats } from './byte-cache.ts'
import { newBlobName, readBlob, removeBlob, removeStrays, writeBlob } from './disk-files.ts'
import { DiskIndex, type IndexRow, isDamage, type NamedRow } from './disk-index.ts'

export interface DiskCacheOptions {
  /** Made if missing. Several processes may share it. */
  readonly directory: string
  readonly capacityBytes: number
  readonly log: (sentence: string) => void
}

/** Values below this lie in the index itself: a file each would cost more than it holds. */
const INLINE_BYTES_MAX = 8 << 10
/** Values that lie in the index are entered together if they come so soon after each other: a transaction each costs more than they hold. */
const GATHER_MS = 5
/** Making room goes on to this share of the capacity, so that it is not done at every put. */
const ROOM = 0.9
/** Times of use are noted from this share of the capacity on: before, nothing is to go soon, and a reader writes nothing. */
const NOTED_FROM = 0.5
const USES_BUFFERED_MAX = 1000
const USES_BUFFERED_MS = 30_000
/** Ids of values that this process has checked; beyond this, all are checked once more. */
const VERIFIED_MAX = 1 << 16
/** A process that lives for so long looks for what dead ones left: it takes longer than a short command. */
const TIDY_AFTER_MS = 1000
/** An index that is damaged again and again says that the disk is: then the cache is left alone. */
const NEW_STARTS_MAX = 3

/**
 * Bytes in files, found by an index in SQLite; the least recently used go when the files grow beyond the capacity. A
 * file is written under a temporary name, renamed, and only then indexed; none is ever written again. What does not
 * match its checksum, as after a crash of the machine, is dropped and counts as a miss.
 */
export class DiskCache implements ByteCache {
  readonly #options: DiskCacheOptions
  readonly #indexPath: string
  #index: DiskIndex | undefined
  readonly #verified = new Set<number>()
  readonly #uses = new Map<number, number>()
  #usesSince = Date.now()
  readonly #working = new Set<Promise<void>>()
  #gathered: NamedRow[] = []
  #entering: Promise<void> | undefined
  readonly #closed = Promise.withResolvers<void>()
  #closing = false
  #hits = 0
  #misses = 0
  #complained = false
  #newStarts = 0

  constructor(options: DiskCacheOptions) {
    this.#options = options
    this.#indexPath = join(options.directory, 'index.sqlite')
    this.#guard(() => {
      mkdirSync(options.directory, { recursive: true, mode: 0o700 })
      this.#index = this.#openIndex()
    })
    void this.#inBackground(() => this.#tidy())
  }

  async get(key: string): Promise<CachedBytes | undefined> {
    const value = this.#guard(() => this.#find(nameOf(key)))
    if (value === undefined) this.#misses++
    else this.#hits++
    if (this.#uses.size >= USES_BUFFERED_MAX || Date.now() - this.#usesSince > USES_BUFFERED_MS) this.#flushUses()
    return value
  }

  async put(key: string, value: CachedBytes): Promise<void> {
    if (this.#index === undefined || this.#closing) return
    if (value.bytes.length + value.meta.length > this.#options.capacityBytes * ROOM) return
    await this.#inBackground(() => this.#write(nameOf(key), value))
  }

  stats(): CacheStats {
    const totals = this.#guard(() => this.#index?.totals())
    return {
      entries: totals?.entries ?? 0,
      sizeBytes: totals?.size ?? 0,
      capacityBytes: this.#options.capacityBytes,
      hits: this.#hits,
      misses: this.#misses,
    }
  }

  /** Waits for what is being written. Afterwards nothing is found and nothing kept. */
  async close(): Promise<void> {
    this.#closing = true
    this.#closed.resolve()
    // A write that fails may leave a file to remove, which is work again.
    while (this.#working.size > 0) await Promise.all(this.#working)
    this.#flushUses()
    this.#index?.close()
    this.#index = undefined
  }

  #find(name: string): CachedBytes | undefined {
    const entry = this.#index?.find(name)
    if (entry === undefined) return undefined
    const bytes = entry.file === null ? entry.inline : readBlob(this.#options.directory, entry.file, entry.size)
    if (bytes === null || bytes === undefined || !this.#isWhole(entry, bytes)) {
      this.#drop(entry)
      return undefined
    }
    this.#uses.set(entry.id, Date.now())
    return { bytes, meta: entry.meta }
  }

  /** Checked once in a process: later reads of a mapping should not touch all of it. */
  #isWhole({ id, meta, checksum }: IndexRow, bytes: Uint8Array): boolean {
    if (this.#verified.has(id)) return true
    if (checksumOf(bytes, meta) !== checksum) return false
    this.#trust(id)
    return true
  }

  #trust(id: number): void {
    if (this.#verified.size >= VERIFIED_MAX) this.#verified.clear()
    this.#verified.add(id)
  }

  async #write(name: string, { bytes, meta }: CachedBytes): Promise<void> {
    const { directory } = this.#options
    const checksum = checksumOf(bytes, meta)
    const size = bytes.length
    if (size < INLINE_BYTES_MAX) {
      await this.#enterSoon({ name, file: null, inline: bytes, size, meta, checksum })
      return
    }
    const file = newBlobName(name)
    await writeBlob(directory, file, bytes)
    try {
      await this.#enter([{ name, file, inline: null, size, meta, checksum }])
    } catch (error) {
      await removeBlob(directory, file)
      throw error
    }
  }

  #enterSoon(row: NamedRow): Promise<void> {
    this.#gathered.push(row)
    this.#entering ??= this.#inBackground(async () => {
      await Promise.race([Bun.sleep(GATHER_MS), this.#closed.promise])
      this.#entering = undefined
      const rows = this.#gathered
      this.#gathered = []
      await this.#enter(rows)
    })
    return this.#entering
  }

  async #enter(rows: readonly NamedRow[]): Promise<void> {
    if (this.#index === undefined) throw new Error('the index was lost while a value was written')
    for (const { id, replacedFile } of this.#index.put(rows, Date.now())) {
      this.#trust(id)
      if (replacedFile !== null) await removeBlob(this.#options.directory, replacedFile)
    }
    await this.#makeRoom()
  }

  async #makeRoom(): Promise<void> {
    const { capacityBytes, directory } = this.#options
    if (this.#index === undefined || this.#index.totals().size <= capacityBytes) return
    this.#flushUses()
    for (;;) {
      const gone = this.#index?.evict(capacityBytes * ROOM) ?? []
      if (gone.length === 0) return
      for (const { id, file } of gone) {
        this.#verified.delete(id)
        if (file !== null) await removeBlob(directory, file)
      }
    }
  }

  #drop({ id, file }: IndexRow): void {
    this.#index?.remove(id)
    this.#verified.delete(id)
    this.#uses.delete(id)
    if (file !== null) void this.#inBackground(() => removeBlob(this.#options.directory, file))
  }

  /** Times of use reach the index in batches: a write for every read would cost more than the read. */
  #flushUses(): void {
    this.#usesSince = Date.now()
    if (this.#uses.size === 0) return
    const uses = new Map(this.#uses)
    this.#uses.clear()
    this.#guard(() => {
      if (this.#index === undefined) return
      if (this.#index.totals().size >= this.#options.capacityBytes * NOTED_FROM) this.#index.touch(uses)
    })
  }

  /** Removes what other processes left behind, and what is too much for a capacity that was larger earlier. */
  async #tidy(): Promise<void> {
    await this.#makeRoom()
    const { promise: later, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, TIDY_AFTER_MS)
    await Promise.race([later, this.#closed.promise])
    clearTimeout(timer)
    if (this.#index === undefined || this.#closing) return
    const isNamed = (file: string): boolean => this.#index?.hasFile(file) !== false
    await removeStrays(this.#options.directory, isNamed, () => this.#closing || this.#index === undefined)
  }

  #openIndex(): DiskIndex {
    try {
      return new DiskIndex(this.#indexPath)
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#removeIndex(error)
      return new DiskIndex(this.#indexPath)
    }
  }

  /** The files that it named are removed as strays in time. */
  #removeIndex(error: unknown): void {
    this.#options.log(`the cache index ${this.#indexPath} is damaged and is started anew: ${messageOf(error)}`)
    for (const ending of ['', '-wal', '-shm']) rmSync(this.#indexPath + ending, { force: true })
  }

  #startAnew(error: unknown): void {
    this.#index?.close()
    this.#index = undefined
    this.#verified.clear()
    this.#uses.clear()
    if (++this.#newStarts > NEW_STARTS_MAX) {
      this.#complain(error)
      return
    }
    try {
      this.#removeIndex(error)
      this.#index = new DiskIndex(this.#indexPath)
    } catch (again) {
      this.#complain(again)
    }
  }

  /** Undefined if the work throws: the failure is said, and no caller's. */
  #guard<T>(work: () => T): T | undefined {
    try {
      return work()
    } catch (error) {
      this.#recover(error)
      return undefined
    }
  }

  /** Never rejects; close() waits for it. */
  async #inBackground(work: () => Promise<void>): Promise<void> {
    const done = work().catch(error => this.#recover(error))
    this.#working.add(done)
    await done
    this.#working.delete(done)
  }

  #recover(error: unknown): void {
    if (isDamage(error) && this.#index !== undefined) this.#startAnew(error)
    else this.#complain(error)
  }

  /** Said once: a full disk would say it at every put. */
  #complain(error: unknown): void {
    if (this.#complained) return
    this.#complained = true
    this.#options.log(
      `the cache in ${this.#options.directory} cannot be used as it should, so some reads are slower; make room there or repair it: ${messageOf(error)}`,
    )
  }
}

/** Keys may be long and hold any character; files are named by their hash. */
function nameOf(key: string): string {
  return sha256Hex(key).slice(0, 40)
}

/** Two 64-bit hashes. */
function checksumOf(bytes: Uint8Array, meta: Uint8Array): string {
  return `${Bun.hash.wyhash(bytes).toString(36)}.${Bun.hash.wyhash(meta).toString(36)}`
}
