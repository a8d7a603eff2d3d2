import type { Database, Statement } from 'bun:sqlite'
import { type FileHandle, open } from 'node:fs/promises'
import { errnoOf } from '../../core/errors.ts'
import { withSynchronous } from './ids.ts'

export type NodeKind = 'file' | 'directory' | 'reference'

/** The facts that are remembered of one entry; the real tree decides whether they still hold. */
export interface NodeRow {
  readonly id: bigint
  readonly parent: bigint
  readonly name: string
  readonly kind: NodeKind
  /** Of the real file; undefined for a reference, and while a file is being created. */
  readonly inode: bigint | undefined
  /** A moment: see `momentMs`. */
  readonly createdMs: number
  /** Of the exclusive create that made the file. */
  readonly verifier: bigint | undefined
  /** The size and mtime that a reference shows: bytes, and nanoseconds since the epoch. */
  readonly size: bigint
  readonly mtime: bigint
}

/** A rename that was begun: after a crash it tells which id the file under the new name had. */
export interface RenameIntent {
  readonly id: bigint
  readonly parent: bigint
  readonly name: string
}

interface StoredRow {
  id: number | bigint
  parent: number | bigint
  name: string
  kind: NodeKind
  inode: string | null
  created_ms: number | bigint
  verifier: string | null
  size: string
  mtime: string
}

const COLUMNS = 'id, parent, name, kind, inode, created_ms, verifier, size, mtime'

/**
 * The table (parent id, name) <-> id. 64-bit values are kept as text where they can be beyond 2^53. Writes survive a
 * killed process; what a power failure takes of them costs ids, which is harmless, so they do not wait for the disk.
 */
export class Nodes {
  readonly #database: Database
  readonly #statements = new Map<string, Statement>()

  constructor(database: Database) {
    this.#database = database
    database.run('PRAGMA journal_mode = WAL')
    database.run(
      `CREATE TABLE IF NOT EXISTS scratch_nodes (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name TEXT NOT NULL,
       kind TEXT NOT NULL, inode TEXT, created_ms INTEGER NOT NULL, verifier TEXT, size TEXT NOT NULL, mtime TEXT NOT NULL,
       UNIQUE (parent, name))`,
    )
    database.run("CREATE INDEX IF NOT EXISTS scratch_references ON scratch_nodes (parent) WHERE kind = 'reference'")
    database.run(
      'CREATE TABLE IF NOT EXISTS scratch_renames (id INTEGER PRIMARY KEY, parent INTEGER NOT NULL, name TEXT NOT NULL)',
    )
  }

  get(id: bigint): NodeRow | undefined {
    return decoded(this.#query(`SELECT ${COLUMNS} FROM scratch_nodes WHERE id = ?`).get(id) as StoredRow | null)
  }

  find(parent: bigint, name: string): NodeRow | undefined {
    const stored = this.#query(`SELECT ${COLUMNS} FROM scratch_nodes WHERE parent = ? AND name = ?`).get(parent, name)
    return decoded(stored as StoredRow | null)
  }

  /** Every entry of a directory by name. */
  names(parent: bigint): Map<string, { readonly id: bigint; readonly kind: NodeKind }> {
    const rows = this.#query('SELECT id, name, kind FROM scratch_nodes WHERE parent = ?').all(parent) as Pick<
      StoredRow,
      'id' | 'name' | 'kind'
    >[]
    return new Map(rows.map(({ id, name, kind }) => [name, { id: BigInt(id), kind }]))
  }

  /** The latest `createdMs`; undefined if there are no entries. */
  newestMs(): number | undefined {
    const query = this.#query('SELECT created_ms FROM scratch_nodes ORDER BY created_ms DESC LIMIT 1')
    const row = query.get() as Pick<StoredRow, 'created_ms'> | null
    return row === null ? undefined : Number(row.created_ms)
  }

  references(): bigint[] {
    const rows = this.#query("SELECT id FROM scratch_nodes WHERE kind = 'reference' ORDER BY id").all() as StoredRow[]
    return rows.map(row => BigInt(row.id))
  }

  hasReferences(parent: bigint): boolean {
    return (
      this.#query("SELECT 1 FROM scratch_nodes WHERE parent = ? AND kind = 'reference' LIMIT 1").get(parent) !== null
    )
  }

  /** Replaces what the id or the name stood for. */
  put(rows: readonly NodeRow[]): void {
    this.#change(() => {
      const statement = this.#query(
        `INSERT OR REPLACE INTO scratch_nodes (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      for (const row of rows) statement.run(...encoded(row))
    })
  }

  /** The entry under its new name; what stood there is forgotten, and so is the intent. */
  move(id: bigint, parent: bigint, name: string): void {
    this.#change(() => {
      const replaced = this.find(parent, name)
      if (replaced !== undefined && replaced.id !== id) this.#deleteTree(replaced.id)
      this.#query('UPDATE scratch_nodes SET parent = ?, name = ? WHERE id = ?').run(parent, name, id)
      this.#query('DELETE FROM scratch_renames WHERE id = ?').run(id)
    })
  }

  /** Forgets an entry and everything below it; tells how many references were among them. */
  forget(id: bigint): number {
    return this.#change(() => this.#deleteTree(id))
  }

  intend({ id, parent, name }: RenameIntent): void {
    this.#change(() => {
      this.#query('INSERT OR REPLACE INTO scratch_renames (id, parent, name) VALUES (?, ?, ?)').run(id, parent, name)
    })
  }

  dropIntent(id: bigint): void {
    this.#change(() => {
      this.#query('DELETE FROM scratch_renames WHERE id = ?').run(id)
    })
  }

  intents(): RenameIntent[] {
    const rows = this.#query('SELECT id, parent, name FROM scratch_renames ORDER BY id').all() as StoredRow[]
    return rows.map(({ id, parent, name }) => ({ id: BigInt(id), parent: BigInt(parent), name }))
  }

  /** Resolves when all changes so far survive a power failure; the event loop goes on meanwhile. */
  async sync(): Promise<void> {
    const { filename } = this.#database
    if (filename === '' || filename === ':memory:') return
    let log: FileHandle
    try {
      log = await open(`${filename}-wal`, 'r')
    } catch (error) {
      // No log: it was moved into the database, which syncs both.
      if (errnoOf(error) === 'ENOENT') return
      throw error
    }
    try {
      await log.datasync()
    } finally {
      await log.close()
    }
  }

  /** The prepared statements belong to this object: the shared database stays open. */
  close(): void {
    for (const statement of this.#statements.values()) statement.finalize()
    this.#statements.clear()
  }

  #deleteTree(id: bigint): number {
    const below = `WITH RECURSIVE below (id) AS (
      SELECT ?1 UNION SELECT node.id FROM scratch_nodes AS node JOIN below ON node.parent = below.id)`
    const { references } = this.#query(
      `${below} SELECT count(*) AS "references" FROM scratch_nodes WHERE kind = 'reference' AND id IN (SELECT id FROM below)`,
    ).get(id) as { references: number | bigint }
    this.#query(`${below} DELETE FROM scratch_nodes WHERE id IN (SELECT id FROM below)`).run(id)
    return Number(references)
  }

  #change<T>(run: () => T): T {
    return withSynchronous(this.#database, 'NORMAL', () => this.#database.transaction(run).immediate())
  }

  #query(sql: string): Statement {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#database.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }
}

function encoded(row: NodeRow): (bigint | string | number | null)[] {
  const { id, parent, name, kind, inode, createdMs, verifier, size, mtime } = row
  return [id, parent, name, kind, text(inode), createdMs, text(verifier), String(size), String(mtime)]
}

function decoded(row: StoredRow | null): NodeRow | undefined {
  if (row === null) return undefined
  return {
    id: BigInt(row.id),
    parent: BigInt(row.parent),
    name: row.name,
    kind: row.kind,
    inode: row.inode === null ? undefined : BigInt(row.inode),
    createdMs: Number(row.created_ms),
    verifier: row.verifier === null ? undefined : BigInt(row.verifier),
    size: BigInt(row.size),
    mtime: BigInt(row.mtime),
  }
}

function text(value: bigint | undefined): string | null {
  return value === undefined ? null : String(value)
}
