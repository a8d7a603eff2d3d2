import { afterAll, describe, expect, spyOn, test } from 'bun:test'
import { MemoryCache } from '../../../src/cache/memory.ts'
import { parseDdl } from '../../../src/columns/schema.ts'
import { csv } from '../../../src/columns/text/formats/index.ts'
import { batchOf } from '../../../src/columns/vectors.ts'
import { addedBatches, type ChangePlan } from '../../../src/fs/edits/change-plan.ts'
import type { Lineage } from '../../../src/fs/lineage.ts'
import { Committer } from '../../../src/fs/saves/committer.ts'
import { systemDisk } from '../../../src/fs/saves/disk.ts'
import { SaveJournal } from '../../../src/fs/saves/journal.ts'
import { noOpeners } from '../../../src/fs/saves/openers.ts'
import { Reporter } from '../../../src/fs/saves/reporter.ts'
import { newSave, type Save } from '../../../src/fs/saves/save.ts'
import { judge } from '../../../src/fs/saves/verdict.ts'
import { Watch } from '../../../src/fs/saves/watch.ts'
import { openText, type TableText } from '../../../src/fs/text/layout.ts'
import { Segments } from '../../../src/fs/text/segments.ts'
import { localStore } from '../../../src/storage/local.ts'
import { appended } from '../../../src/table/operations/append.ts'
import { createTable } from '../../../src/table/operations/create.ts'
import { committed } from '../../../src/table/table.ts'
import { WorkerPool } from '../../../src/table/workers/pool.ts'
import { temporaryFolder } from '../../helpers/temporary.ts'

const TIMES = { incompleteMs: 1, pageMs: 2, truncatedMs: 3 }
const schema = parseDdl('id:Int64,name:String')
const pool = new WorkerPool({ threads: 1 })
afterAll(() => pool.close())

/** A table with three rows, and what commits images of its text. */
async function committing(folder: string): Promise<{ committer: Committer; base: TableText }> {
  const table = await createTable(localStore(folder), { schema })
  const types = schema.map(({ type }) => type)
  const rows = batchOf(types, [
    [1n, 'Alice'],
    [2n, 'Bob'],
    [3n, 'Carol'],
  ])
  await using transaction = table.begin(table.snapshot)
  await transaction.write([rows])
  const { snapshot } = committed(await transaction.commit(appended({ rows: 3, partitionColumns: [] })))
  const segments = new Segments({ cache: new MemoryCache(1 << 20), pool, store: table.store })
  const open: ConstructorParameters<typeof Committer>[0]['openText'] = (version, previous) =>
    openText(table, version, segments, csv, previous)
  const reporter = new Reporter('data.csv', () => undefined)
  const committer = new Committer({ table, segments, directory: folder, disk: systemDisk, openText: open, reporter })
  return { committer, base: await open(snapshot, undefined) }
}

/** A save whose image has other bytes from an offset on. */
function saveOf(folder: string, base: TableText, offset: number, text: string): Save {
  const version = String(base.snapshot.version)
  const header = { editId: crypto.randomUUID(), lineId: '1', format: 'csv', version, baseSize: base.size } as const
  const journal = SaveJournal.create(folder, header)
  const save = newSave({ id: 1n, format: 'csv', mtime: 0n } as Lineage, base, journal, new Watch(noOpeners, 1n))
  write(save, offset, text)
  return save
}

function write(save: Save, offset: number, text: string): void {
  const bytes = new TextEncoder().encode(text)
  save.image.truncate(offset)
  save.image.splice(offset, save.journal.write(offset, bytes, true), bytes.length)
  save.sequence++
}

describe('the changes of an image', () => {
  test('are found once as long as it stays as it is, though it is held and judged again', async () => {
    using folder = temporaryFolder()
    const { committer, base } = await committing(folder.path)
    const rowsAt = spyOn(base, 'rowsAt')
    const read = spyOn(base, 'read')
    const save = saveOf(folder.path, base, 'id,name\n'.length, '1,Alice\n')
    const doubt = { committed: false, isOpen: false }
    expect(await judge(save, doubt, committer, TIMES)).toMatchObject({ kind: 'incomplete', ms: TIMES.incompleteMs })
    const reads = read.mock.calls.length
    const plan = await committer.planOf(save)
    expect(await committer.planOf(save)).toBe(plan)
    expect(read).toHaveBeenCalledTimes(reads)
    expect(await judge(save, undefined, committer, TIMES)).toMatchObject({ kind: 'committed', plan })
    expect(rowsAt).toHaveBeenCalledTimes(1)
    save.journal.close()
  })

  test('are found anew when it has changed', async () => {
    using folder = temporaryFolder()
    const { committer, base } = await committing(folder.path)
    const save = saveOf(folder.path, base, base.size, '4,Dave\n')
    const plan = (await committer.planOf(save)) as ChangePlan
    write(save, base.size, '4,Dave\n5,Eve\n')
    expect(((await committer.planOf(save)) as ChangePlan).added[0]).toMatchObject({ rows: 2 })
    expect(plan.added[0]).toMatchObject({ rows: 1 })
    save.journal.close()
  })

  test('keep the rows that are appended as they were parsed', async () => {
    using folder = temporaryFolder()
    const { committer, base } = await committing(folder.path)
    const save = saveOf(folder.path, base, base.size, '4,Dave\n')
    const plan = (await committer.planOf(save)) as ChangePlan
    const parsed = plan.added.flatMap(({ pieces }) => pieces ?? []).map(({ batch }) => batch)
    expect(parsed).toHaveLength(1)
    expect(await Array.fromAsync(addedBatches(plan))).toEqual(parsed)
    save.journal.close()
  })

  test('are refused once for the same bad row', async () => {
    using folder = temporaryFolder()
    const { committer, base } = await committing(folder.path)
    const save = saveOf(folder.path, base, base.size, 'four,Dave\n')
    const errors = [
      await committer.planOf(save).catch(error => error),
      await committer.planOf(save).catch(error => error),
    ]
    expect(errors[0]).toMatchObject({ code: 'bad_value' })
    expect(errors[1]).toBe(errors[0])
    save.journal.close()
  })
})
