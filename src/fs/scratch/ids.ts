import type { Database } from 'bun:sqlite'

/** Smaller ids belong to the views. */
export const FIRST_ID = 1000n
const BLOCK = 1024n
/** So many are left when the next block is taken. */
const LOW = 256n

/**
 * File ids that are never given out twice. A block of them is taken at once, on disk, before its first id is used: a
 * crash wastes the rest of a block and nothing else.
 */
export class Ids {
  readonly #database: Database
  #next = 0n
  #end = 0n

  constructor(database: Database) {
    this.#database = database
    database.run(
      'CREATE TABLE IF NOT EXISTS scratch_ids (only INTEGER PRIMARY KEY CHECK (only = 1), next INTEGER NOT NULL)',
    )
  }

  /** Not to be called within a transaction: its rollback would give the block out again. */
  next(): bigint {
    if (this.#next === this.#end) this.#takeBlock()
    else if (this.#end - this.#next === LOW) this.#takeAhead()
    return this.#next++
  }

  /** While some are left: should the disk be full at that moment, there is time until it is not. */
  #takeAhead(): void {
    const rest = { next: this.#next, end: this.#end }
    try {
      this.#takeBlock()
    } catch {
      this.#next = rest.next
      this.#end = rest.end
    }
  }

  #takeBlock(): void {
    if (this.#database.inTransaction) throw new Error('file ids are not taken within a transaction')
    const row = this.#database.query<{ next: number | bigint }, []>('SELECT next FROM scratch_ids').get()
    const stored = row === null ? FIRST_ID : BigInt(row.next)
    const start = stored > this.#end ? stored : this.#end
    withSynchronous(this.#database, 'FULL', () =>
      this.#database
        .query(
          'INSERT INTO scratch_ids (only, next) VALUES (1, ?) ON CONFLICT (only) DO UPDATE SET next = excluded.next',
        )
        .run(start + BLOCK),
    )
    this.#next = start
    this.#end = start + BLOCK
  }
}

/**
 * Runs one transaction with its own `PRAGMA synchronous`; the database is shared, so the setting is put back. Within
 * the transaction of another the setting cannot change, and that one's holds.
 */
export function withSynchronous<T>(database: Database, level: 'NORMAL' | 'FULL', run: () => T): T {
  if (database.inTransaction) return run()
  const before = database.query<{ synchronous: number | bigint }, []>('PRAGMA synchronous').get()
  database.run(`PRAGMA synchronous = ${level}`)
  try {
    return run()
  } finally {
    database.run(`PRAGMA synchronous = ${Number(before?.synchronous ?? 2)}`)
  }
}
