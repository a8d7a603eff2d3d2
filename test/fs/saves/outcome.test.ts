import { afterAll, describe, expect, spyOn, test } from 'bun:test'
import { MemoryCache } from '../../../src/cache/memory.ts'
import { parseDdl } from '../../../src/columns/schema.ts'
import { csv } from '../../../src/columns/text/formats/index.ts'
import { batchOf } from '../../../src/columns/vectors.ts'
import { applyPlan } from '../../../src/fs/edits/apply.ts'
import { closePlan } from '../../../src/fs/edits/change-plan.ts'
import { planEdit } from '../../../src/fs/edits/plan.ts'
import { systemDisk } from '../../../src/fs/saves/disk.ts'
import { showsAsWritten } from '../../../src/fs/saves/outcome.ts'
import { FileSpool } from '../../../src/fs/saves/spool.ts'
import { openText } from '../../../src/fs/text/layout.ts'
import { Segments } from '../../../src/fs/text/segments.ts'
import { bytesText } from '../../../src/fs/text/text.ts'
import { createTable } from '../../../src/table/operations/create.ts'
import { WorkerPool } from '../../../src/table/workers/pool.ts'
import { commit, writeDataFiles } from '../../helpers/changes.ts'
import { memoryStore } from '../../helpers/memory-store.ts'
import { temporaryFolder } from '../../helpers/temporary.ts'

const schema = parseDdl('id:Int64,name:String')
const types = schema.map(({ type }) => type)
const pool = new WorkerPool({ threads: 1 })
afterAll(() => pool.close())

const ROWS = 200

/** Saves an image of a table of many files, and asks whether the table then shows it: the answer, the truth and the bytes read. */
async function saved(
  folder: string,
  edit: (text: string) => string,
): Promise<{ said: boolean; isSo: boolean; read: number }> {
  const table = await createTable(memoryStore(), { schema })
  const add = []
  for (let id = 0; id < ROWS; id++) {
    const [file] = await writeDataFiles(table, [batchOf(types, [[BigInt(id), `row ${id}`]])])
    add.push({ ...file!, modificationTime: 1 + id })
  }
  await commit(table, { base: table.snapshot, operation: 'WRITE', add, delete: [] })
  const segments = new Segments({ cache: new MemoryCache(1 << 20), pool, store: table.store })
  const base = await openText(table, table.snapshot, segments, csv)
  const decode = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
  const written = edit(decode(await base.read(0, base.size)))
  const image = bytesText(new TextEncoder().encode(written))
  const plan = await planEdit(base, image, {
    spool: () => FileSpool.create(folder, systemDisk),
    textWithSchema: snapshot => openText(table, snapshot, segments, csv, base),
  })
  const options = { table, segments, snapshot: base.snapshot, editId: crypto.randomUUID() }
  const snapshot = plan.kind === 'change' ? (await applyPlan(plan, options)).snapshot : base.snapshot
  const shown = await openText(table, snapshot, segments, csv, base)
  const reads = spyOn(shown, 'read')
  const said = await showsAsWritten(plan, base, shown, image)
  const read = reads.mock.calls.reduce((sum, [start, end]) => sum + end - start, 0)
  const isSo = decode(await shown.read(0, shown.size)) === written
  closePlan(plan)
  return { said, isSo, read }
}

const change = (text: string, ...ids: readonly number[]): string =>
  ids.reduce((all, id) => all.replace(`\n${id},row ${id}\n`, `\n${id},changed\n`), text)

describe('whether a table shows what was saved', () => {
  test('is found out from what the save changes, not from all of the table', async () => {
    using folder = temporaryFolder()
    const edits: ((text: string) => string)[] = [
      text => change(text, 0),
      text => change(text, 100),
      text => change(text, ROWS - 1),
      text => change(text, 100, 102),
      text => text.replace('100,row 100\n', ''),
      text => text.replace('100,row 100\n', '100,row 100\n1000,new\n'),
      text => `${text}1000,new\n`,
    ]
    for (const [i, edit] of edits.entries()) {
      const { read, ...rest } = await saved(folder.path, edit)
      expect([i, rest]).toEqual([i, { said: true, isSo: true }])
      expect(read).toBeLessThan(100)
    }
  })

  test('is told as it is where the table shows it otherwise', async () => {
    using folder = temporaryFolder()
    const edits: ((text: string) => string)[] = [
      text => text.slice(0, -1),
      text => text.replace('100,row 100\n', '100,"row 100"\n'),
      text => text.replace('100,row 100\n101,row 101\n', '101,row 101\n100,row 100\n'),
      text => text.replace('id,name\n', 'id,name\r\n'),
      text => text.replace('id,name\n', 'name,id\n'),
      text => `${text}id,name\n1000,new\n`,
      text => `${text}01000,new\n`,
      text => text.replaceAll('\n', '\r\n'),
    ]
    for (const [i, edit] of edits.entries()) {
      const { said, isSo } = await saved(folder.path, edit).catch(error => ({ said: false, isSo: false, error }))
      expect([i, said, isSo]).toEqual([i, false, false])
    }
  })
})
