import { vectorOf } from '../columns/vectors.ts'
import type { Snapshot } from '../table/snapshot.ts'
import type { Rows } from './format.ts'

/** The question for nothing but the number of rows, with a name for it or without. */
const COUNT =
  /^\s*select\s+count\s*\(\s*\*\s*\)(?:\s+as\s+(?:"((?:[^"]|"")+)"|([a-z_][a-z0-9_]*)))?\s+from\s+(?:data|"data")\s*;?\s*$/i
/** The engine's name for it. */
const UNNAMED = 'count_star()'

/** The name of the only column of a statement that asks for the number of rows alone; undefined for every other statement. */
export function countedAs(sql: string): string | undefined {
  const found = COUNT.exec(sql)
  return found === null ? undefined : (found[1]?.replaceAll('""', '"') ?? found[2] ?? UNNAMED)
}

/** The result of a statement that asks for the number of rows alone, without the engine; undefined where that is to answer. */
export function countOf(snapshot: Snapshot, name: string): Rows | undefined {
  // A table without columns is none to the engine.
  const rows = snapshot.schema.length === 0 ? undefined : snapshot.live.rows
  if (rows === undefined) return undefined
  const type = { kind: 'long' } as const
  return {
    schema: [{ name, type, nullable: true, metadata: {} }],
    batches: async function* () {
      yield { rows: 1, vectors: [vectorOf(type, [rows])] }
    },
  }
}
