import { describe, expect, test } from 'bun:test'
import { addColumns, changeNullability, changeProperties } from '../../src/table/operations/alter.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { truncate } from '../../src/table/operations/truncate.ts'
import { type CommitResult, committed, openTable, type Table, type Transaction } from '../../src/table/table.ts'
import { memoryStore } from '../helpers/memory-store.ts'
import { append, readIds, rows, SCHEMA } from './fixture.ts'

const ROWS = 8
const WRITE = { name: 'WRITE' }

/** A change, worked out from a version, and committed on top of whatever is there then. */
interface Kind {
  readonly name: string
  /** Takes the transaction up to its commit. */
  run(transaction: Transaction, number: number): Promise<() => Promise<CommitResult>>
  /** What it does to the ids of the table, if it is done to them alone. */
  effect(ids: readonly number[], number: number): number[]
}

const fileOf = (transaction: Transaction, number: number) => transaction.base.files[number]!
const without = (gone: readonly number[]) => (ids: readonly number[]) => ids.filter(id => !gone.includes(id))
/** New ids that no two changes share. */
const fresh = (number: number): number => 100 + number

const deleting = (name: string, file: number, positions: readonly number[]): Kind => ({
  name,
  run: async transaction => {
    transaction.deleteRows({ file: fileOf(transaction, file), rows: Uint32Array.from(positions) })
    return () => transaction.commit({ name: 'DELETE' })
  },
  effect: without(positions.map(position => file * ROWS + position)),
})

const updating = (name: string, file: number, position: number): Kind => ({
  name,
  run: async (transaction, number) => {
    transaction.deleteRows({ file: fileOf(transaction, file), rows: Uint32Array.of(position) })
    await transaction.write([rows(fresh(number), fresh(number) + 1)])
    return () => transaction.commit({ name: 'MERGE' })
  },
  effect: (ids, number) => [...without([file * ROWS + position])(ids), fresh(number)],
})

const KINDS: readonly Kind[] = [
  {
    name: 'append',
    run: async (transaction, number) => {
      await transaction.write([rows(fresh(number), fresh(number) + 1)])
      return () => transaction.commit(WRITE)
    },
    effect: (ids, number) => [...ids, fresh(number)],
  },
  {
    name: 'INSERT SELECT',
    run: async (transaction, number) => {
      transaction.readWholeTable()
      await transaction.write([rows(fresh(number), fresh(number) + 1)])
      return () => transaction.commit(WRITE)
    },
    effect: (ids, number) => [...ids, fresh(number)],
  },
  deleting('delete a0', 0, [0]),
  deleting('delete a5', 0, [5]),
  deleting('delete b0', 1, [0]),
  deleting('delete all a', 0, [0, 1, 2, 3, 4, 5, 6, 7]),
  updating('update a0', 0, 0),
  {
    name: 'remove a',
    run: async transaction => {
      transaction.removeFiles(fileOf(transaction, 0))
      return () => transaction.commit({ name: 'DELETE' })
    },
    effect: ids => ids.filter(id => id >= ROWS),
  },
  {
    name: 'truncate',
    run: async transaction => async () => (await truncate(transaction)).result,
    // Rows that it has not seen stay.
    effect: ids => ids.filter(id => id >= 2 * ROWS),
  },
  {
    name: 'optimize',
    run: async transaction => {
      const { files } = transaction.base
      await transaction.write([rows(0, 2 * ROWS)], { inPlaceOf: files[0]! })
      transaction.removeFiles(...files)
      return () => transaction.commit({ name: 'OPTIMIZE', dataChange: false })
    },
    effect: ids => [...ids],
  },
  {
    name: 'optimize --zorder',
    run: async transaction => {
      const { files } = transaction.base
      await transaction.write([rows(ROWS, 2 * ROWS), rows(0, ROWS)])
      transaction.removeFiles(...files)
      return () => transaction.commit({ name: 'OPTIMIZE', parameters: { zOrderBy: '["id"]' }, dataChange: false })
    },
    effect: ids => [...ids],
  },
  {
    name: 'add column',
    run: async transaction => () =>
      addColumns(transaction, [{ name: 'more', type: { kind: 'string' }, nullable: true, metadata: {} }]),
    effect: ids => [...ids],
  },
  {
    name: 'set not null',
    run: async transaction => () => changeNullability(transaction, 'id', false),
    effect: ids => [...ids],
  },
  {
    name: 'set property',
    run: async transaction => () => changeProperties(transaction, new Map([['delta.checkpointInterval', '7']])),
    effect: ids => [...ids],
  },
]
/** A line for each change, and in it, in the order of the list above, how it ends when another is quicker: `.` both are done, `C` it is a conflict. */
const MATRIX: Readonly<Record<string, string>> = {
  append: '. . . . . . . . . . . . C .',
  'INSERT SELECT': 'C C C C C C C C C C C . C .',
  'delete a0': '. . C . . C C C C C C C C .',
  'delete a5': '. . . C . C . C C C C C C .',
  'delete b0': '. . . . C . . . C C C C C .',
  'delete all a': '. . C C . C C C C C C C C .',
  'update a0': '. . C . . C C C C C C C C .',
  'remove a': '. . C C . C C C C C C . C .',
  truncate: '. . C C C C C C C C C . C .',
  optimize: '. . C C C C C C C C C . C .',
  'optimize --zorder': '. . C C C C C C C C C . C .',
  'add column': '. . . . . . . . . . . C C .',
  'set not null': 'C C C C C C C C C C C C C .',
  'set property': '. . C C C . C . . . . C C C',
}

/** The lines that are others where files are rewritten: nobody switches vectors on, and rows of one file are in each other's way. */
const REWRITING: Readonly<Record<string, string>> = {
  'delete a0': '. . C C . C C C C C C C C .',
  'delete a5': '. . C C . C C C C C C C C .',
  'update a0': '. . C C . C C C C C C C C .',
  'set property': '. . . . . . . . . . . C C C',
}

async function tableOf(configuration: Readonly<Record<string, string>>): Promise<Table> {
  const table = await createTable(memoryStore(), { schema: SCHEMA, configuration })
  await append(table, 0, ROWS)
  await append(table, ROWS, 2 * ROWS)
  return table
}

/** Has `winner` commit while `loser` is under way. Returns how that went for the loser, once the rows are those that belong there. */
async function overtaken(loser: Kind, winner: Kind, configuration: Readonly<Record<string, string>>): Promise<string> {
  const table = await tableOf(configuration)
  const before = await readIds(table)
  await using transaction = (await openTable(table.store)).begin()
  const commit = await loser.run(transaction, 2)
  await using first = table.begin()
  committed(await (await winner.run(first, 1))())
  const { kind } = await commit()
  const between = winner.effect(before, 1)
  const expected = kind === 'conflict' ? between : loser.effect(between, 2)
  const found = await readIds(await openTable(table.store))
  expect({ winner: winner.name, ids: found.toSorted() }).toEqual({ winner: winner.name, ids: expected.toSorted() })
  return kind === 'conflict' ? 'C' : '.'
}

for (const [what, configuration, matrix] of [
  ['by vectors', {}, MATRIX],
  ['by rewriting', { 'delta.enableDeletionVectors': 'false' }, { ...MATRIX, ...REWRITING }],
] as const) {
  describe(`two changes at once (${what})`, () => {
    for (const loser of KINDS)
      test(`${loser.name}, while others commit`, async () => {
        const found: string[] = []
        for (const winner of KINDS) found.push(await overtaken(loser, winner, configuration))
        expect(found.join(' ')).toBe(matrix[loser.name]!)
      })
  })
}
