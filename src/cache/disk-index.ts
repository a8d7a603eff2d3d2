import { Database } from 'bun:sqlite'
import { errnoOf, isCorruptDatabase } from '../core/errors.ts'

/** A change of the tables below needs a new number: an index of another number is emptied. */
const SCHEMA_VERSION = 2
/** The time that a write waits (and all of this process with it) for another's; reads never do (write-ahead log). */
const BUSY_TIMEOUT_MS = 1000
/** The switch to the write-ahead log does not honour the busy timeout, so it is tried again for as long. */
const WAL_ATTEMPTS = 50
const WAL_PAUSE_MS = 20
const EVICT_BATCH = 256

const SCHEMA = [
  'DROP TABLE IF EXISTS blobs',
  'DROP TABLE IF EXISTS totals',
  // Ids are never given out twice, so what is known of one stays true.
  `CREATE TABLE blobs (
     id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, file TEXT UNIQUE, size INTEGER NOT NULL,
     checksum TEXT NOT NULL, used INTEGER NOT NULL, meta BLOB NOT NULL, inline BLOB) STRICT`,
  'CREATE INDEX blobs_used ON blobs (used)',
  // Triggers keep the sums, so that they are right whichever process writes, and need no scan.
  'CREATE TABLE totals (entries INTEGER NOT NULL, size INTEGER NOT NULL) STRICT',
  'INSERT INTO totals VALUES (0, 0)',
  `CREATE TRIGGER blobs_in AFTER INSERT ON blobs BEGIN
     UPDATE totals SET entries = entries + 1, size = size + new.size + length(new.meta); END`,
  `CREATE TRIGGER blobs_out AFTER DELETE ON blobs BEGIN
     UPDATE totals SET entries = entries - 1, size = size - old.size - length(old.meta); END`,
  `PRAGMA user_version = ${SCHEMA_VERSION}`,
]

/** The row of a value in the index: its bytes are either in the row itself or in a file. */
interface NewIndexRow {
  readonly file: string | null
  readonly inline: Uint8Array | null
  /** Of the bytes, without the companion data. */
  readonly size: number
  readonly meta: Uint8Array
  readonly checksum: string
}

export interface IndexRow extends NewIndexRow {
  /** Of this value: another one under the same name has another id. */
  readonly id: number
}

export interface NamedRow extends NewIndexRow {
  readonly name: string
}

export interface Totals {
  readonly entries: number
  /** Bytes and companion data. */
  readonly size: number
}

/** The index of a disk cache in SQLite, which several processes may have open. Methods throw SQLiteError. */
export class DiskIndex {
  readonly #database: Database

  constructor(path: string) {
    this.#database = new Database(path)
    try {
      this.#database.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`)
      this.#useWriteAheadLog()
      this.#database.run('PRAGMA synchronous = NORMAL')
      // An index that is as it should be is opened without a write, hence without waiting for another process.
      if (this.#version() !== SCHEMA_VERSION) this.#create()
      this.totals()
    } catch (error) {
      this.#database.close()
      throw error
    }
  }

  find(name: string): IndexRow | undefined {
    const query = 'SELECT id, file, inline, size, meta, checksum FROM blobs WHERE name = ?'
    return this.#database.query<IndexRow, [string]>(query).get(name) ?? undefined
  }

  hasFile(file: string): boolean {
    return this.#database.query('SELECT 1 FROM blobs WHERE file = ?').get(file) !== null
  }

  totals(): Totals {
    const totals = this.#database.query<Totals, []>('SELECT entries, size FROM totals').get()
    if (totals === null) throw Object.assign(new Error('its totals are missing'), { code: 'SQLITE_CORRUPT' })
    return totals
  }

  /** Enters values in the places of earlier ones under their names; says which files those had, now nobody's. */
  put(
    rows: readonly NamedRow[],
    used: number,
  ): readonly { readonly id: number; readonly replacedFile: string | null }[] {
    const remove = this.#database.query<{ file: string | null }, [string]>(
      'DELETE FROM blobs WHERE name = ? RETURNING file',
    )
    const insert = this.#database.query<
      { id: number },
      [string, string | null, number, string, number, Uint8Array, Uint8Array | null]
    >('INSERT INTO blobs (name, file, size, checksum, used, meta, inline) VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING id')
    return this.#database
      .transaction(() =>
        rows.map(({ name, file, inline, size, meta, checksum }) => {
          const replaced = remove.get(name)
          const { id } = insert.get(name, file, size, checksum, used, meta, inline)!
          return { id, replacedFile: replaced?.file ?? null }
        }),
      )
      .immediate()
  }

  remove(id: number): void {
    this.#database.query('DELETE FROM blobs WHERE id = ?').run(id)
  }

  /**
   * Removes some of the values that were not used for the longest time, until at most `sizeMax` bytes are held; one
   * call is one short transaction. Says what went; nothing if there is nothing to do.
   */
  evict(sizeMax: number): readonly { readonly id: number; readonly file: string | null }[] {
    return this.#database
      .transaction(() => {
        let excess = this.totals().size - sizeMax
        if (excess <= 0) return []
        const oldest = this.#database
          .query<{ id: number; file: string | null; weight: number }, [number]>(
            'SELECT id, file, size + length(meta) AS weight FROM blobs ORDER BY used, id LIMIT ?',
          )
          .all(EVICT_BATCH)
        return oldest.filter(({ id, weight }) => {
          if (excess <= 0) return false
          excess -= weight
          this.remove(id)
          return true
        })
      })
      .immediate()
  }

  /** Sets times of last use, by id. */
  touch(uses: ReadonlyMap<number, number>): void {
    const update = this.#database.query('UPDATE blobs SET used = ? WHERE id = ?')
    this.#database
      .transaction(() => {
        for (const [id, used] of uses) update.run(used, id)
      })
      .immediate()
  }

  close(): void {
    this.#database.close()
  }

  #version(): number | undefined {
    return this.#database.query<{ user_version: number }, []>('PRAGMA user_version').get()?.user_version
  }

  #create(): void {
    this.#database
      .transaction(() => {
        // Another process may have been quicker.
        if (this.#version() === SCHEMA_VERSION) return
        for (const statement of SCHEMA) this.#database.run(statement)
      })
      .immediate()
  }

  #useWriteAheadLog(): void {
    for (let attempt = 1; ; attempt++) {
      try {
        this.#database.run('PRAGMA journal_mode = WAL')
        return
      } catch (error) {
        if (errnoOf(error)?.startsWith('SQLITE_BUSY') !== true || attempt === WAL_ATTEMPTS) throw error
        Bun.sleepSync(WAL_PAUSE_MS)
      }
    }
  }
}

/**
 * True if an error says that the index is no (whole) index of ours, so that it is of no more use. Being busy, a full
 * disk or a lack of rights are not of this kind: others may be using the index with success.
 */
export function isDamage(error: unknown): boolean {
  // Our statements are constant: one that is refused as such (SQLITE_ERROR) met tables that are not ours.
  return isCorruptDatabase(error) || errnoOf(error) === 'SQLITE_ERROR'
}
