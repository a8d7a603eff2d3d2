import { describe, expect, test } from 'bun:test'
import { readFooter, readRowGroup } from '../../src/columns/parquet/read.ts'
import { storeSource } from '../../src/columns/parquet/source.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { batchOf, cellAt } from '../../src/columns/vectors.ts'
import { movesSince } from '../../src/table/moved-rows.ts'
import { COMPACT_LIMITS, compact } from '../../src/table/operations/compact.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { optimize } from '../../src/table/operations/optimize.ts'
import { isContinued, type LiveFile, type Snapshot } from '../../src/table/snapshot.ts'
import type { Table } from '../../src/table/table.ts'
import { commit, writeDataFiles } from '../helpers/changes.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { seeded } from '../nfs/random.ts'
import { append, readIds, remove, SCHEMA } from './fixture.ts'

/** The ids in a file by their physical numbers, deleted ones too. */
async function idsIn({ store }: Table, { path, sizeBytes }: LiveFile): Promise<number[]> {
  const source = storeSource(store, path, sizeBytes)
  const footer = await readFooter(source)
  const ids: number[] = []
  for (const group of footer.rowGroups.keys()) {
    const { rows, vectors } = await readRowGroup(source, footer, group, SCHEMA.slice(0, 1), new Map())
    for (let row = 0; row < rows; row++) ids.push(Number(cellAt(vectors[0]!, row)))
  }
  return ids
}

async function randomStep(table: Table, below: (n: number) => number, next: () => number): Promise<void> {
  const kind = below(10)
  const { files } = table.snapshot
  if (kind < 5 || files.length === 0) {
    const from = next()
    await append(table, from, from + 1 + below(4))
  } else if (kind < 8) {
    const file = below(files.length)
    const deleted = new Set(await table.deletedRows(files[file]!))
    const left = Array.from({ length: files[file]!.rows! }, (_, row) => row).filter(row => !deleted.has(row))
    const row = left[below(left.length)]
    if (row !== undefined) await remove(table, file, [row])
  } else if (kind === 8) await optimize(table, { targetBytes: 1 + below(8000) })
  else await compact(table, {}, { ...COMPACT_LIMITS, filesMin: 2 })
}

describe('rows of earlier versions', () => {
  test('are found where they are now, however often files were put together', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const { below } = seeded(seed)
      const table = await createTable(memoryStore(), {
        schema: SCHEMA,
        configuration: { 'delta.enableDeletionVectors': 'true' },
      })
      let id = 0
      const seen: { snapshot: Snapshot; ids: number[] }[] = []
      for (let step = 0; step < 30; step++) {
        await randomStep(table, below, () => (id += 10))
        seen.push({ snapshot: table.snapshot, ids: await readIds(table) })
      }
      const newest = table.snapshot
      const now = await readIds(table)
      for (const { snapshot, ids } of seen) {
        const where = `seed ${seed}, version ${snapshot.version}`
        const moves = await movesSince(table.store, snapshot, newest)
        for (const file of snapshot.files) {
          const all = await idsIn(table, file)
          const deleted = new Set(await table.deletedRows(file))
          for (const [row, id] of all.entries()) {
            if (deleted.has(row) || !now.includes(id)) continue
            const named = [{ file, rows: Uint32Array.of(row) }]
            const [found, ...others] = moves?.rows(named) ?? named
            expect(others, where).toEqual([])
            expect(newest.live.get(found!.file.path), where).toBeDefined()
            expect((await idsIn(table, found!.file))[found!.rows[0]!], where).toBe(id)
          }
        }
        // What is shown is told by the versions, as far as they say.
        for (const { snapshot: other, ids: later } of seen) {
          if (other.textVersion === snapshot.textVersion) expect(later, where).toEqual(ids)
          if (isContinued(snapshot, other)) expect(later.slice(0, ids.length), where).toEqual(ids)
        }
      }
    }
  }, 60_000)

  test('that others removed are named as they were', async () => {
    const table = await createTable(memoryStore(), {
      schema: SCHEMA,
      configuration: { 'delta.enableDeletionVectors': 'true' },
    })
    await append(table, 0, 3)
    await append(table, 3, 6)
    const base = table.snapshot
    await remove(table, 0, [1])
    await optimize(table)
    const moves = await movesSince(table.store, base, table.snapshot)
    const [first] = base.files
    const named = [{ file: first!, rows: Uint32Array.of(1, 2) }]
    expect(moves!.rows(named)).toEqual(named)
    // New rows behind one that is gone stand behind the one in front of it.
    const [made] = table.snapshot.files
    expect(moves!.places({ refs: [first!.path], runs: [{ count: 1, ref: 0, row: 1 }] })).toEqual({
      refs: [made!.path],
      runs: [{ count: 1, ref: 0, row: 0 }],
    })
  })

  test('stay where they are in the views of a partitioned table, where they are put together unasked', async () => {
    const schema = parseDdl('id:Int64,p:String')
    const table = await createTable(memoryStore(), { schema, partitionColumns: ['p'] })
    const types = schema.map(({ type }) => type)
    for (let i = 0; i < 12; i++) {
      const add = await writeDataFiles(table, [batchOf(types, [[BigInt(i), i % 6 < 4 ? 'a' : null]])])
      await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
    }
    const base = table.snapshot
    const ids = await readIds(table)
    expect(await compact(table, {}, { ...COMPACT_LIMITS, filesMin: 2 })).toMatchObject({
      removedFiles: 12,
      addedFiles: 4,
    })
    expect(await readIds(table)).toEqual(ids)
    expect(table.snapshot.textVersion).toBe(base.version)
    // Who asks for it has fewer files, and rows elsewhere.
    expect(await optimize(table)).toMatchObject({ removedFiles: 4, addedFiles: 2 })
    expect(await readIds(table)).not.toEqual(ids)
    expect(table.snapshot.textVersion).toBe(table.snapshot.version)
    const moves = await movesSince(table.store, base, table.snapshot)
    for (const file of base.files) {
      const [found] = moves!.rows([{ file, rows: Uint32Array.of(0) }])
      expect((await idsIn(table, found!.file))[found!.rows[0]!]).toBe((await idsIn(table, file))[0]!)
    }
  })

  test('are not looked for where nothing was put together', async () => {
    const table = await createTable(memoryStore(), { schema: SCHEMA })
    await append(table, 0, 3)
    const base = table.snapshot
    await append(table, 3, 6)
    expect(await movesSince(table.store, base, table.snapshot)).toBeUndefined()
  })
})
