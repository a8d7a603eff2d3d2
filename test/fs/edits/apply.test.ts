import { afterAll, describe, expect, test } from 'bun:test'
import { MemoryCache } from '../../../src/cache/memory.ts'
import { parseDdl } from '../../../src/columns/schema.ts'
import { WorkerPool } from '../../../src/columns/workers/pool.ts'
import { applyPlan } from '../../../src/fs/edits/apply.ts'
import { planCsvEdit } from '../../../src/fs/edits/plan.ts'
import { FileSpool } from '../../../src/fs/edits/spool.ts'
import { openText, type TableText } from '../../../src/fs/text/layout.ts'
import { Segments } from '../../../src/fs/text/segments.ts'
import { bytesText } from '../../../src/fs/text/text.ts'
import { localStore } from '../../../src/storage/local.ts'
import { createTable, type Table } from '../../../src/table/table.ts'
import { temporaryFolder } from '../../helpers/temporary.ts'

const HEADER = 'id,text\n'
const pool = new WorkerPool({ threads: 1 })
afterAll(() => pool.close())

/** A table whose text is saved as a whole, as the mount does it. */
class Edited {
  readonly table: Table
  readonly #segments: Segments
  readonly #folder: string
  #text: TableText | undefined

  private constructor(table: Table, folder: string) {
    this.table = table
    this.#folder = folder
    this.#segments = new Segments({ cache: new MemoryCache(64 << 20), pool, store: table.store })
  }

  static async create(folder: string, ddl: string, deletionVectors: boolean): Promise<Edited> {
    const configuration = { 'delta.enableDeletionVectors': String(deletionVectors) }
    const schema = ddl === '' ? [] : parseDdl(ddl)
    return new Edited(await createTable(localStore(folder), { schema, configuration }), folder)
  }

  async text(): Promise<TableText> {
    this.#text = await openText(this.table, await this.table.refresh(), this.#segments, 'csv', this.#text)
    return this.#text
  }

  async read(): Promise<string> {
    const text = await this.text()
    return new TextDecoder().decode(await text.read(0, text.size))
  }

  /** The version that the save made, or undefined if it made none. */
  async save(image: string): Promise<bigint | undefined> {
    const base = await this.text()
    const plan = await planCsvEdit(base, bytesText(new TextEncoder().encode(image)), {
      spool: () => FileSpool.create(this.#folder),
      textWithSchema: snapshot => openText(this.table, snapshot, this.#segments, 'csv'),
    })
    if (plan.kind === 'unchanged') return undefined
    const { table } = this
    const options = {
      table,
      segments: this.#segments,
      snapshot: base.snapshot,
      format: 'csv' as const,
      editId: crypto.randomUUID(),
    }
    return (await applyPlan(plan, options)).version
  }
}

for (const [kind, vectors] of [
  ['with deletion vectors', true],
  ['without deletion vectors', false],
] as const) {
  describe(`a save of a table ${kind}`, () => {
    test('shows what was saved, line by line, after random edits, in one commit each', async () => {
      using folder = temporaryFolder()
      const edited = await Edited.create(folder.path, 'id:Int64,text:String', vectors)
      let seed = vectors ? 11 : 12
      const random = (n: number): number => {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
        return Math.floor((seed / 2 ** 32) * n)
      }
      let id = 0
      const newRow = (): string => `${id++},${['plain', '"a,b"', '"two\nlines"', '', '""', '"q""q"'][random(6)]}\n`
      let rows = Array.from({ length: 40 }, newRow)
      let version = await edited.save(HEADER + rows.join(''))
      for (let round = 0; round < 60; round++) {
        rows = [...rows]
        for (let changes = 1 + random(4); changes > 0; changes--) {
          const at = random(rows.length + 1)
          const what = random(4)
          if (what === 0) rows.splice(at, 0, ...Array.from({ length: 1 + random(4) }, newRow))
          else if (what === 1) rows.splice(at, random(4))
          else if (what === 2) rows.splice(at, 1, newRow())
          else rows.push(newRow())
        }
        const saved = await edited.save(HEADER + rows.join(''))
        if (saved !== undefined) expect(saved).toBe(version! + 1n)
        version = saved ?? version
        expect(await edited.read()).toBe(HEADER + rows.join(''))
      }
      expect(edited.table.snapshot.files.some(file => file.vector !== undefined)).toBe(vectors)
      expect(await edited.save(HEADER)).toBe(version! + 1n)
      expect(await edited.read()).toBe(HEADER)
    }, 60_000)

    test('of the same text, or of the same rows in another order or spelling, is no commit', async () => {
      using folder = temporaryFolder()
      const edited = await Edited.create(folder.path, 'id:Int64,text:String', vectors)
      await edited.save('id,text\n1,a\n2,b\n3,c\n')
      expect(await edited.save('id,text\n1,a\n2,b\n3,c\n')).toBeUndefined()
      expect(await edited.save('id,text\n3,c\n1,a\n2,b\n')).toBeUndefined()
      expect(await edited.save('id,text\n1,"a"\n2,b\n3,c\n')).toBeUndefined()
      expect(await edited.save('\ufeffid,text\r\n1,a\r\n2,b\r\n3,c\r\n')).toBeUndefined()
      expect(await edited.save('text,id\na,1\nb,2\nc,3\n')).toBeUndefined()
      expect(await edited.save('id,text\n1,a\n2,b\n3,c')).toBeUndefined()
      expect(await edited.read()).toBe('id,text\n1,a\n2,b\n3,c\n')
    })

    test('counts as updates the rows whose key stays, and the others as inserts and deletes', async () => {
      using folder = temporaryFolder()
      const edited = await Edited.create(folder.path, 'name:String,id:Int64', vectors)
      const metrics = async (image: string): Promise<unknown> => {
        await edited.save(image)
        const [last] = await edited.table.history()
        return { operation: last?.operation, ...last?.metrics }
      }
      await edited.save('name,id\nann,1\n"b,""ob",2\ncarl,3\n,4\n"two\nlines",5\n')
      expect(await metrics('name,id\nann,1\n"b,""",2\neve,9\n,4\n"three\nlines",5\n')).toEqual({
        operation: 'MERGE',
        numTargetRowsUpdated: '2',
        numTargetRowsInserted: '1',
        numTargetRowsDeleted: '1',
        numOutputRows: '3',
      })
      // A key that is there twice, or is NULL, has as many partners as come back.
      expect(await metrics('name,id\nann,1\nx,2\ny,2\n,\n"three\nlines",5\n')).toMatchObject({
        numTargetRowsUpdated: '1',
        numTargetRowsInserted: '2',
        numTargetRowsDeleted: '2',
      })
    })

    test('with a longer header adds columns, with a shorter one makes NULLs', async () => {
      using folder = temporaryFolder()
      const edited = await Edited.create(folder.path, 'id:Int64,text:String', vectors)
      await edited.save('id,text\n1,a\n2,b\n')
      await edited.save('id,text,score\n1,a,1.5\n2,b,\n')
      expect(await edited.read()).toBe('id,text,score\n1,a,1.5\n2,b,\n')
      await edited.save('score,id\n1.5,1\n')
      expect(await edited.read()).toBe('id,text,score\n1,,1.5\n')
      await expect(edited.save('no,such\n1,2\n')).rejects.toThrow('expected id,text,score')
    })

    test('takes a header line that comes once more for none of the rows', async () => {
      using folder = temporaryFolder()
      const edited = await Edited.create(folder.path, 'name:String,city:String', vectors)
      const header = 'name,city\n'
      await edited.save(`${header}Alice,Rome\n`)
      await edited.save(`${header}Alice,Rome\n${header}Bob,Oslo\n`)
      expect(await edited.read()).toBe(`${header}Alice,Rome\nBob,Oslo\n`)
      expect(await edited.save(`${header}Alice,Rome\n\ufeffname,city\r\nBob,Oslo\n${header}`)).toBeUndefined()
      const more = `${header}Carol,"x\n${header}y"\r\n\ufeffname,city\r\nDave,Nice\r\n`
      await edited.save(more)
      expect(await edited.read()).toBe(`${header}Carol,"x\n${header}y"\nDave,Nice\n`)
    })

    test('that does not parse names the line and the column, and changes nothing', async () => {
      using folder = temporaryFolder()
      const edited = await Edited.create(folder.path, 'id:Int64,text:String', vectors)
      await edited.save('id,text\n1,a\n2,b\n')
      await expect(edited.save('id,text\n1,a\nx,b\n')).rejects.toThrow(/line 3.*id/)
      await expect(edited.save('id,text\n1,a\n2,b,c\n')).rejects.toThrow(/line 3/)
      await expect(edited.save('id,text\n1,a\n2,"b\n')).rejects.toThrow(/line 3/)
      expect(await edited.read()).toBe('id,text\n1,a\n2,b\n')
    })

    test('in which a quote is not closed is refused before all that follows is one row in memory', async () => {
      using folder = temporaryFolder()
      const edited = await Edited.create(folder.path, 'id:Int64,text:String', vectors)
      await edited.save('id,text\n1,a\n2,b\n')
      const rest = '3,c\n'.repeat(17 << 20)
      for (const rows of ['1,a\n2,"b\n', '1,a\n2,b\n\n"'])
        await expect(edited.save(`id,text\n${rows}${rest}`)).rejects.toThrow(/line [35].*a quote not closed/)
      expect(await edited.read()).toBe('id,text\n1,a\n2,b\n')
    })
  })
}

describe('the first save of a table without columns', () => {
  test('gives it columns', async () => {
    using folder = temporaryFolder()
    const edited = await Edited.create(folder.path, '', true)
    await edited.save('day,n,ok,x\n2024-01-02,7,true,1.5\n2024-01-03,,false,2\n')
    expect(edited.table.snapshot.schema.map(({ name, type }) => `${name} ${type.kind}`)).toEqual([
      'day date',
      'n long',
      'ok boolean',
      'x double',
    ])
    expect(await edited.read()).toBe('day,n,ok,x\n2024-01-02,7,true,1.5\n2024-01-03,,false,2.0\n')
  })
})
