import type { Database } from 'bun:sqlite'
import { type Disk, systemDisk } from '../../src/fs/edits/disk.ts'
import type { Seams } from '../../src/serve/table-server.ts'
import { type ObjectStore, type ObjectWriter, StorageError } from '../../src/storage/object-store.ts'

/** How the call that fails does so: without, or with, having done what it was to do. */
export type When = 'before' | 'after'

/** What fails: the table's store, the files of saves under way, the state database. */
export type Part = 'store' | 'disk' | 'database'

/** Which call fails, and how. */
export interface Fault {
  readonly part: Part
  /** The n-th call that writes, counted from 1. */
  readonly n: number
  readonly when: When
  /** All behind it fail, too. */
  readonly lasting?: boolean
  /** From then on the store cannot be read either. */
  readonly hidesLog?: boolean
}

/**
 * Counts the calls that write, and lets the n-th of a part fail, and those behind it while `lasting`. Until `arm` and after
 * `heal` nothing fails.
 */
export class Faults {
  #left = Number.POSITIVE_INFINITY
  #part: Part | undefined
  #when: When = 'before'
  #isLasting = false
  #isDown = false
  /** Reads of the store fail too once something has failed, until it is healed. */
  #hidesLog = false
  hasFailed = false

  arm({ part, n, when, lasting = false, hidesLog = false }: Fault): void {
    this.#part = part
    this.#left = n
    this.#when = when
    this.#isLasting = lasting
    this.#hidesLog = hidesLog
    this.hasFailed = false
  }

  heal(): void {
    this.#part = undefined
    this.#isDown = false
  }

  /** Whether this call fails. */
  #fails(part: Part): boolean {
    if (part !== this.#part) return false
    if (this.#isLasting && this.hasFailed) return true
    if (--this.#left !== 0) return false
    this.hasFailed = true
    this.#isDown = this.#hidesLog
    return true
  }

  sync<T>(part: Part, error: () => Error, run: () => T): T {
    const fails = this.#fails(part)
    if (fails && this.#when === 'before') throw error()
    const result = run()
    if (fails) throw error()
    return result
  }

  async async<T>(part: Part, error: () => Error, run: () => Promise<T>): Promise<T> {
    const fails = this.#fails(part)
    if (fails && this.#when === 'before') throw error()
    const result = await run()
    if (fails) throw error()
    return result
  }

  get seams(): Omit<Seams, 'clock'> {
    return {
      store: store => this.#store(store),
      disk: this.#disk,
      database: database => this.#database(database),
    }
  }

  #store(store: ObjectStore): ObjectStore {
    const error = (): Error => new StorageError('io', 'injected: the disk reported an error')
    const write = <T>(run: () => Promise<T>): Promise<T> => this.async('store', error, run)
    const read = async <T>(run: () => Promise<T>): Promise<T> => {
      if (this.#isDown) throw error()
      return run()
    }
    const writer = (inner: ObjectWriter): ObjectWriter => ({
      write: bytes => write(() => inner.write(bytes)),
      close: () => write(() => inner.close()),
      abort: () => inner.abort(),
    })
    return {
      location: store.location,
      localPath: path => store.localPath(path),
      read: (path, start, end) => read(() => store.read(path, start, end)),
      stat: path => read(() => store.stat(path)),
      list: (prefix, startAfter) => read(() => store.list(prefix, startAfter)),
      // Checkpoints come in the background, at moments of their own.
      write: (path, bytes) => (isCheckpoint(path) ? store.write(path, bytes) : write(() => store.write(path, bytes))),
      create: async path => {
        if (isCheckpoint(path)) return store.create(path)
        let made: ObjectWriter | undefined
        try {
          return writer(
            await write(async () => {
              made = await store.create(path)
              return made
            }),
          )
        } catch (cause) {
          await made?.abort()
          throw cause
        }
      },
      putIfAbsent: (path, bytes) => write(() => store.putIfAbsent(path, bytes)),
      delete: path => write(() => store.delete(path)),
    }
  }

  readonly #disk: Disk = {
    open: (path, flags) => this.sync('disk', diskError, () => systemDisk.open(path, flags)),
    write: (...args) => this.sync('disk', diskError, () => systemDisk.write(...args)),
    truncate: (fd, size) => this.sync('disk', diskError, () => systemDisk.truncate(fd, size)),
    sync: fd => this.async('disk', diskError, () => systemDisk.sync(fd)),
    syncFolder: path => this.sync('disk', diskError, () => systemDisk.syncFolder(path)),
    rename: (from, to) => this.sync('disk', diskError, () => systemDisk.rename(from, to)),
    unlink: path => this.sync('disk', diskError, () => systemDisk.unlink(path)),
  }

  /** A database whose statements that write fail. Reading ones do not. */
  #database(database: Database): Database {
    const statement = <S extends object>(sql: string, inner: S): S =>
      new Proxy(inner, {
        get: (target, key) => {
          const value: unknown = Reflect.get(target, key, target)
          if (typeof value !== 'function') return value
          const call = (...args: unknown[]): unknown => Reflect.apply(value, target, args)
          if (!isWrite(sql) || (key !== 'run' && key !== 'get' && key !== 'all')) return call
          return (...args: unknown[]) => this.sync('database', databaseError, () => call(...args))
        },
      })
    return new Proxy(database, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target)
        if (typeof value !== 'function') return value
        const call = (...args: unknown[]): unknown => Reflect.apply(value, target, args)
        if (key === 'query' || key === 'prepare')
          return (sql: string, ...rest: unknown[]) => statement(sql, call(sql, ...rest) as object)
        if (key !== 'run') return call
        return (sql: string, ...rest: unknown[]) =>
          isWrite(sql) ? this.sync('database', databaseError, () => call(sql, ...rest)) : call(sql, ...rest)
      },
    })
  }
}

function isCheckpoint(path: string): boolean {
  return path.includes('checkpoint')
}

function isWrite(sql: string): boolean {
  return /^\s*(?:insert|update|delete|replace)/i.test(sql)
}

function diskError(): Error {
  return Object.assign(new Error('ENOSPC: injected: no space left on device'), { code: 'ENOSPC' })
}

function databaseError(): Error {
  return Object.assign(new Error('injected: database or disk is full'), { code: 'SQLITE_FULL' })
}
