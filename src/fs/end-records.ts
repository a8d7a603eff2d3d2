import type { Database } from 'bun:sqlite'
import { base64, bytesOf } from '../core/base64.ts'
import { type EndOfFile, endOf, type KnownEnds } from './ends-of-file.ts'
import type { Lineage } from './lineage.ts'

/** Clients that were heard of so long ago may go on with a program that was at work when the server died. */
const AT_WORK_MS = 60_000

/**
 * Of a client's own bytes so many are kept: a WRITE has less than a page of 4 KiB in front of what is new, and they are written with
 * each append that others come between.
 */
const TAIL_KEPT_BYTES = 64 << 10

interface EndRow {
  readonly line: string
  readonly client: string
  readonly known: string
}

/** The knowledge of the clients of lineages, in the state database: it counts for a client as long as its kernel runs. */
export class EndRecords {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
    database.run(
      `CREATE TABLE IF NOT EXISTS ends (line TEXT NOT NULL, client TEXT NOT NULL, known TEXT NOT NULL,
       changed INTEGER NOT NULL, PRIMARY KEY (line, client)) WITHOUT ROWID`,
    )
  }

  /** Writes what a client knows, or takes it out. Throws SQLite's errors. */
  write({ id }: Pick<Lineage, 'id'>, client: string, known: KnownEnds | undefined, nowMs: number): void {
    if (known === undefined) {
      this.#database.query('DELETE FROM ends WHERE line = ? AND client = ?').run(String(id), client)
      return
    }
    this.#database
      .query(
        `INSERT INTO ends (line, client, known, changed) VALUES (?, ?, ?, ?)
         ON CONFLICT (line, client) DO UPDATE SET known = excluded.known, changed = excluded.changed`,
      )
      .run(String(id), client, textOf(known), nowMs)
  }

  /** The clients of a lineage, those heard of last at the end. */
  of({ id }: Pick<Lineage, 'id'>): { client: string; known: KnownEnds }[] {
    const query = this.#database.query<EndRow, [string]>('SELECT * FROM ends WHERE line = ? ORDER BY changed')
    return query.all(String(id)).map(({ client, known }) => ({ client, known: knownOf(known) }))
  }

  /** The ids of the lineages whose clients may have been at work just now, those heard of last at the end. */
  inUse(nowMs: number): bigint[] {
    const query = this.#database.query<{ line: string }, [number]>(
      'SELECT line FROM ends WHERE changed > ? GROUP BY line ORDER BY max(changed)',
    )
    return query.all(nowMs - AT_WORK_MS).map(({ line }) => BigInt(line))
  }

  /** All clients of all lineages. */
  clients(): Set<string> {
    const rows = this.#database.query<{ client: string }, []>('SELECT DISTINCT client FROM ends').all()
    return new Set(rows.map(({ client }) => client))
  }

  /** Takes out what belongs to lineages that are gone. */
  forgetOld(): void {
    this.#database.run('DELETE FROM ends WHERE line NOT IN (SELECT id FROM lines)')
  }
}

/** An end as JSON has it, with the last bytes of its tail. */
export interface EndJson {
  readonly size: number
  readonly version?: string | undefined
  readonly landed?: string | undefined
  /** Base64. */
  readonly tail?: string | undefined
}

export function endToJson({ size, version, tail, landed }: EndOfFile): EndJson {
  return {
    size,
    version: version?.toString(),
    landed: landed === version ? undefined : landed?.toString(),
    tail: tail.length === 0 ? undefined : base64(tail.subarray(-TAIL_KEPT_BYTES)),
  }
}

export function endFromJson({ size, version, landed, tail }: EndJson): EndOfFile {
  const of = version === undefined ? undefined : BigInt(version)
  return endOf(size, of, tail === undefined ? undefined : bytesOf(tail), landed === undefined ? of : BigInt(landed))
}

interface KnownJson {
  readonly ends: readonly EndJson[]
  readonly pinnedUntilMs: number
  readonly brought?:
    | { readonly end: number; readonly rows: string; readonly landed?: string | undefined; readonly untilMs: number }
    | undefined
}

function textOf({ ends, pinnedUntilMs, brought }: KnownEnds): string {
  const json: KnownJson = {
    ends: ends.map(endToJson),
    pinnedUntilMs,
    brought: brought && { ...brought, rows: base64(brought.rows), landed: brought.landed?.toString() },
  }
  return JSON.stringify(json)
}

function knownOf(text: string): KnownEnds {
  const { ends, pinnedUntilMs, brought } = JSON.parse(text) as KnownJson
  return {
    ends: ends.map(endFromJson),
    pinnedUntilMs,
    brought: brought && {
      ...brought,
      rows: bytesOf(brought.rows),
      landed: brought.landed === undefined ? undefined : BigInt(brought.landed),
    },
  }
}
