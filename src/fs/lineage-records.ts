import type { Database } from 'bun:sqlite'
import type { TextFormatName } from '../columns/text/formats/index.ts'
import { TEXT_FORMAT_VERSION } from '../columns/text/rendered.ts'
import { EndRecords } from './end-records.ts'
import type { KnownEnds } from './ends-of-file.ts'
import type { Lineage } from './lineage.ts'

/** Old lineages whose handles are still good. */
const OLD_LINEAGES_KEPT = 1000
/** A lineage that no client has used for so long is forgotten. */
const FORGOTTEN_MS = 7 * 24 * 3_600_000

interface LineageRow {
  id: string
  status: Lineage['status']
  version: string
  mtime: string
  renamed_from: string | null
  written: string | null
  text_format: number | null
}

/** A lineage as the state database has it. */
export type LineageRecord = Pick<Lineage, 'id' | 'status' | 'version' | 'mtime' | 'renamedFrom' | 'written'> & {
  /** The text is of another version of the format than its clients remember. */
  readonly isOtherText: boolean
}

/** The lineages of one format in the state database. What reads throws SQLite's errors. */
export class LineageRecords {
  readonly #database: Database
  readonly #format: TextFormatName
  /** Lineages that the state database does not have as they are: it could not be written. */
  readonly #unsaved = new Set<Lineage>()
  /** The same of what clients know of one, by lineage and client. */
  readonly #unsavedEnds = new Map<string, () => void>()
  readonly ends: EndRecords
  /** Actions that wait for a lineage to be saved. */
  #waiting: (() => void)[] = []

  constructor(database: Database, format: TextFormatName) {
    this.#database = database
    this.#format = format
    this.ends = new EndRecords(database)
    database.run(
      `CREATE TABLE IF NOT EXISTS lines (id TEXT PRIMARY KEY, format TEXT NOT NULL, status TEXT NOT NULL,
       version TEXT NOT NULL, mtime TEXT NOT NULL, renamed_from TEXT, changed INTEGER NOT NULL)`,
    )
    const columns = database.query<{ name: string }, []>('PRAGMA table_info(lines)').all()
    if (!columns.some(({ name }) => name === 'written')) database.run('ALTER TABLE lines ADD COLUMN written TEXT')
    if (!columns.some(({ name }) => name === 'text_format'))
      database.run('ALTER TABLE lines ADD COLUMN text_format INTEGER')
  }

  /** Writes a lineage. Where that fails it is tried again with the next one, or by `saveRest`. */
  save(lineage: Lineage): void {
    this.#unsaved.add(lineage)
    this.#saveAll()
  }

  /** Writes what a client knows of a lineage; as `save` does. */
  saveEnds(lineage: Lineage, client: string, known: KnownEnds | undefined, nowMs: number): void {
    this.#unsavedEnds.set(`${lineage.id} ${client}`, () => this.ends.write(lineage, client, known, nowMs))
    this.#saveAll()
  }

  /** Runs something as soon as all lineages are saved as they are now. */
  whenSaved(run: () => void): void {
    this.#waiting.push(run)
    this.#saveAll()
  }

  /** Writes what could not be written before. */
  saveRest(): void {
    if (this.#unsaved.size + this.#unsavedEnds.size > 0) this.#saveAll()
  }

  #saveAll(): void {
    try {
      for (const lineage of this.#unsaved) {
        this.#write(lineage)
        this.#unsaved.delete(lineage)
      }
      for (const [key, write] of this.#unsavedEnds) {
        write()
        this.#unsavedEnds.delete(key)
      }
    } catch {
      return
    }
    const waiting = this.#waiting
    this.#waiting = []
    for (const run of waiting) run()
  }

  #write(lineage: Lineage): void {
    this.#database
      .query(
        `INSERT INTO lines (id, format, status, version, mtime, renamed_from, written, text_format, changed)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (id) DO UPDATE SET status = excluded.status, version = excluded.version, mtime = excluded.mtime,
         renamed_from = excluded.renamed_from, written = excluded.written, text_format = excluded.text_format,
         changed = excluded.changed`,
      )
      .run(
        String(lineage.id),
        lineage.format,
        lineage.status,
        String(lineage.version),
        String(lineage.mtime),
        lineage.renamedFrom ?? null,
        lineage.written.length === 0 ? null : lineage.written.join(' '),
        TEXT_FORMAT_VERSION,
        lineage.savedMs,
      )
  }

  /** Those that the name leads to or that programs save into. */
  inUse(): LineageRecord[] {
    return this.#database
      .query<LineageRow, [string]>("SELECT * FROM lines WHERE format = ? AND status IN ('current', 'writing')")
      .all(this.#format)
      .map(recordOf)
  }

  get(id: bigint): LineageRecord | undefined {
    const query = this.#database.query<LineageRow, [string, string]>('SELECT * FROM lines WHERE id = ? AND format = ?')
    const row = query.get(String(id), this.#format)
    return row === null ? undefined : recordOf(row)
  }

  /** Takes out what no client has used for long, and what is too much, but for those to `keep`. Returns the ids of all that are left. */
  forgetOld(keep: readonly bigint[], nowMs: number): Set<bigint> {
    const format = this.#format
    this.#database
      .query(
        `DELETE FROM lines WHERE format = ? AND status <> 'current' AND (changed < ? OR id NOT IN
         (SELECT id FROM lines WHERE format = ? ORDER BY changed DESC LIMIT ${OLD_LINEAGES_KEPT}))
         AND id NOT IN (SELECT value FROM json_each(?))`,
      )
      .run(format, nowMs - FORGOTTEN_MS, format, JSON.stringify(keep.map(String)))
    this.ends.forgetOld()
    const ids = this.#database.query<{ id: string }, [string]>('SELECT id FROM lines WHERE format = ?').all(format)
    return new Set(ids.map(({ id }) => BigInt(id)))
  }
}

function recordOf({ id, status, version, mtime, renamed_from, written, text_format }: LineageRow): LineageRecord {
  return {
    id: BigInt(id),
    status,
    version: BigInt(version),
    mtime: BigInt(mtime),
    renamedFrom: renamed_from ?? undefined,
    written: written === null ? [] : written.split(' '),
    isOtherText: text_format !== TEXT_FORMAT_VERSION,
  }
}
