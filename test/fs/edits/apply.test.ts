import { afterAll, describe, expect, test } from 'bun:test'
import { readdirSync, readlinkSync } from 'node:fs'
import { MemoryCache } from '../../../src/cache/memory.ts'
import { parseDdl } from '../../../src/columns/schema.ts'
import { textFormat } from '../../../src/columns/text/formats/index.ts'
import { applyPlan } from '../../../src/fs/edits/apply.ts'
import { planEdit } from '../../../src/fs/edits/plan.ts'
import { FileSpool } from '../../../src/fs/saves/spool.ts'
import { openText, type TableText } from '../../../src/fs/text/layout.ts'
import { Segments } from '../../../src/fs/text/segments.ts'
import { bytesText } from '../../../src/fs/text/text.ts'
import { localStore } from '../../../src/storage/local.ts'
import { createTable } from '../../../src/table/operations/create.ts'
import { optimize } from '../../../src/table/operations/optimize.ts'
import type { Table } from '../../../src/table/table.ts'
import { WorkerPool } from '../../../src/table/workers/pool.ts'
import { temporaryFolder } from '../../helpers/temporary.ts'
import { seeded } from '../../nfs/random.ts'

const HEADER = 'id,text\n'
const pool = new WorkerPool({ threads: 1 })
afterAll(() => pool.close())

/** A table whose text is saved as a whole, as the mount does it. */
class Edited {
  readonly table: Table
  readonly #segments: Segments
  readonly #folder: string
  readonly #format: 'csv' | 'jsonl'
  #text: TableText | undefined

  private constructor(table: Table, folder: string, format: 'csv' | 'jsonl') {
    this.table = table
    this.#folder = folder
    this.#format = format
    this.#segments = new Segments({ cache: new MemoryCache(64 << 20), pool, store: table.store })
  }

  static async create(
    folder: string,
    ddl: string,
    deletionVectors: boolean,
    format: 'csv' | 'jsonl' = 'csv',
  ): Promise<Edited> {
    const configuration = { 'delta.enableDeletionVectors': String(deletionVectors) }
    const schema = ddl === '' ? [] : parseDdl(ddl)
    return new Edited(await createTable(localStore(folder), { schema, configuration }), folder, format)
  }

  async text(): Promise<TableText> {
    this.#text = await openText(
      this.table,
      await this.table.refresh(),
      this.#segments,
      textFormat(this.#format),
      this.#text,
    )
    return this.#text
  }

  async read(): Promise<string> {
    const text = await this.text()
    return new TextDecoder().decode(await text.read(0, text.size))
  }

  /** The version that the save made, or undefined if it made none. */
  async save(image: string): Promise<bigint | undefined> {
    const base = await this.text()
    const plan = await planEdit(base, bytesText(new TextEncoder().encode(image)), {
      spool: () => FileSpool.create(this.#folder),
      textWithSchema: snapshot => openText(this.table, snapshot, this.#segments, textFormat(this.#format)),
    })
    if (plan.kind === 'unchanged') return undefined
    const { table } = this
    const options = {
      table,
      segments: this.#segments,
      snapshot: base.snapshot,
      editId: crypto.randomUUID(),
    }
    try {
      return (await applyPlan(plan, options)).version
    } finally {
      plan.close()
    }
  }
}

/** The temporary files in a folder that this process has open though they have lost their names. */
function openSpools(folder: string): string[] {
  return readdirSync('/proc/self/fd').flatMap(name => {
    try {
      const link = readlinkSync(`/proc/self/fd/${name}`)
      return link.startsWith(folder) && link.endsWith('.spool (deleted)') ? [link] : []
    } catch {
      return [] // The descriptor of this listing.
    }
  })
}

describe('the temporary files of a save', () => {
  const many = Array.from({ length: 60_000 }, (_, i) => `${i},some text for row ${i},more\n`).join('')
  const header = 'id,text,added\n'

  test('are closed when a bad row refuses it', async () => {
    using folder = temporaryFolder()
    const edited = await Edited.create(folder.path, 'id:Int64,text:String', true)
    for (let i = 0; i < 3; i++) await expect(edited.save(`${header}${many}bad,x,y\n`)).rejects.toThrow('line 60002')
    expect(openSpools(folder.path)).toEqual([])
  })

  test('are closed when it is committed, and when it changes nothing', async () => {
    using folder = temporaryFolder()
    const edited = await Edited.create(folder.path, 'id:Int64,text:String', true)
    expect(await edited.save(header + many)).toBe(1n)
    expect(await edited.save(header + many)).toBeUndefined()
    expect(await edited.save(header + many.replaceAll('more', '"more"'))).toBeUndefined()
    expect(openSpools(folder.path)).toEqual([])
  })
})

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
        if (random(12) > 0) continue
        // Every line stays where it is.
        version! += BigInt((await optimize(edited.table)).commits)
        expect(edited.table.snapshot.files).toHaveLength(1)
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

    test('with a longer header adds columns', async () => {
      using folder = temporaryFolder()
      const edited = await Edited.create(folder.path, 'id:Int64,text:String', vectors)
      await edited.save('id,text\n1,a\n2,b\n')
      await edited.save('id,text,score\n1,a,1.5\n2,b,\n')
      expect(await edited.read()).toBe('id,text,score\n1,a,1.5\n2,b,\n')
      await expect(edited.save('no,such\n1,2\n')).rejects.toThrow('expected id,text,score')
      await expect(edited.save('ID,text,score\n1,a,1\n')).rejects.toThrow('column ID differs from id')
      await expect(edited.save('id,text,score,Text\n1,a,1,x\n')).rejects.toThrow('column Text is named twice')
    })

    test('with a header that lacks a column is refused, unless all of the column is NULL', async () => {
      using folder = temporaryFolder()
      const edited = await Edited.create(folder.path, 'id:Int64,text:String,n:Int32', vectors)
      await edited.save('id,text,n\n1,,\n2,b,\n')
      for (const image of ['id,n\n1,\n2,\n', 'id,label,n\n1,,\n2,b,\n', 'n,id\n,3\n'])
        await expect(edited.save(image)).rejects.toThrow(/line 1: the header lacks the column text.*to empty it/)
      expect(await edited.read()).toBe('id,text,n\n1,,\n2,b,\n')
      await edited.save('text,id\n,1\nc,2\n')
      expect(await edited.read()).toBe('id,text,n\n1,,\n2,c,\n')
      // The value went with its row, so that nothing is left to lose.
      await edited.save('id,text,n\n1,,\n')
      await edited.save('id\n1\n5\n')
      expect(await edited.read()).toBe('id,text,n\n1,,\n5,,\n')
      // No row comes: they are all deleted, whatever the columns.
      await edited.save('id,text,n\n1,a,1\n')
      await edited.save('id\n')
      expect(await edited.read()).toBe('id,text,n\n')
    })

    test('that appends rows behind a header of their own takes them by it', async () => {
      using folder = temporaryFolder()
      const edited = await Edited.create(folder.path, 'id:Int64,text:String,n:Int32', vectors)
      const append = async (rows: string): Promise<string> => {
        const before = await edited.read()
        await edited.save(before + rows)
        const after = await edited.read()
        return after.startsWith(before) ? after.slice(before.length) : after
      }
      await edited.save('id,text,n\n1,a,7\n')
      expect(await append('id,text\n2,b\nid,text\n3,c\n')).toBe('2,b,\n3,c,\n')
      expect(await append('\ufefftext,n,id\r\nd,5,4\r\n')).toBe('4,d,5\n')
      expect(await append('id,text,n,new\n5,e,6,true\n')).toBe(
        'id,text,n,new\n1,a,7,\n2,b,,\n3,c,,\n4,d,5,\n5,e,6,true\n',
      )
      for (const rows of ['id,nope\n6,x\n', 'text\n', 'id,id\n6,6\n', 'id,text\nx,y\n'])
        await expect(append(rows)).rejects.toThrow(/^line [78]/)
    })

    test('that appends a row which reads like a header takes it for a row', async () => {
      using folder = temporaryFolder()
      const edited = await Edited.create(folder.path, 'name:String,city:String', vectors)
      await edited.save('name,city\nAnn,Rome\n')
      await edited.save('name,city\nAnn,Rome\ncity,name\nBob,Oslo\n')
      expect(await edited.read()).toBe('name,city\nAnn,Rome\ncity,name\nBob,Oslo\n')
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

interface Row {
  readonly id: number
  readonly text: string | null
}

for (const [kind, vectors] of [
  ['with deletion vectors', true],
  ['without deletion vectors', false],
] as const) {
  describe(`a save of data.jsonl of a table ${kind}`, () => {
    const start = async (folder: string): Promise<Edited> => {
      const edited = await Edited.create(folder, 'id:Int64,text:String', vectors, 'jsonl')
      await edited.save('{"id":1,"text":"a"}\n{"id":2,"text":"b"}\n{"id":3,"text":"c"}\n')
      return edited
    }
    const metrics = async (edited: Edited): Promise<unknown> => {
      const [last] = await edited.table.history()
      return { operation: last?.operation, ...last?.metrics }
    }

    test('shows what was saved, line by line, after random edits in any spelling, in one commit each', async () => {
      using folder = temporaryFolder()
      const edited = await Edited.create(folder.path, 'id:Int64,text:String', vectors, 'jsonl')
      const { next } = seeded(vectors ? 21 : 22)
      const below = (n: number): number => Math.floor(next() * n)
      let id = 0
      const texts = ['plain', 'a"b', 'two\nlines', '', null, '\\ä€😀', '{"x":1}\n{']
      const newRow = (): Row => ({ id: id++, text: texts[below(texts.length)]! })
      const spellings: ((row: Row) => string)[] = [
        row => JSON.stringify(row),
        row => JSON.stringify(row),
        row => JSON.stringify({ text: row.text, id: row.id }),
        row => `  { "id" : ${row.id} ,"text":${JSON.stringify(row.text)}}\r`,
        row => JSON.stringify(row, null, 2),
        row => JSON.stringify(row.text === null ? { id: row.id } : row).replaceAll('a', '\\u0061'),
      ]
      const shown = (rows: Row[]): string => rows.map(row => `${JSON.stringify(row)}\n`).join('')
      let rows = Array.from({ length: 40 }, newRow)
      let version = await edited.save(shown(rows))
      for (let round = 0; round < 60; round++) {
        rows = [...rows]
        for (let changes = 1 + below(4); changes > 0; changes--) {
          const at = below(rows.length + 1)
          const what = below(4)
          if (what === 0) rows.splice(at, 0, ...Array.from({ length: 1 + below(4) }, newRow))
          else if (what === 1) rows.splice(at, below(4))
          else if (what === 2) rows.splice(at, 1, newRow())
          else rows.push(newRow())
        }
        const one = spellings[below(spellings.length)]!
        const few = below(3)
        const written = rows.map(row =>
          few === 0 ? one(row) : below(9) === 0 ? spellings[below(6)]!(row) : shown([row]).trimEnd(),
        )
        const saved = await edited.save(`${written.join(below(9) === 0 ? '\n\n' : '\n')}${below(3) === 0 ? '' : '\n'}`)
        if (saved !== undefined) expect(saved).toBe(version! + 1n)
        version = saved ?? version
        expect(await edited.read()).toBe(shown(rows))
      }
      expect(edited.table.snapshot.files.some(file => file.vector !== undefined)).toBe(vectors)
      expect(await edited.save('')).toBe(version! + 1n)
      expect(await edited.read()).toBe('')
      expect(await edited.save('')).toBeUndefined()
    }, 60_000)

    test('of the same rows in another order, order of keys or spelling is no commit', async () => {
      using folder = temporaryFolder()
      const edited = await start(folder.path)
      for (const image of [
        '{"id":3,"text":"c"}\n{"id":1,"text":"a"}\n{"id":2,"text":"b"}\n',
        '{"text":"a","id":1}\n{"text":"b","id":2}\n{"text":"c","id":3}\n',
        '{"id": 1, "text": "a"}\n\n{"id": 2, "text": "\\u0062"}\n{"id":3,"text":"c"}',
        '{\n  "id": 1,\n  "text": "a"\n}\n{"id":2,"text":"b"}\n{\n  "id": 3,\n  "text": "c"\n}\n',
      ])
        expect(await edited.save(image)).toBeUndefined()
    })

    test('counts updates, inserts and deletes by the key', async () => {
      using folder = temporaryFolder()
      const edited = await start(folder.path)
      await edited.save('{"id":1,"text":"a"}\n{"text":"B,\\"","id":2}\n{"id":9,"text":"n"}\n')
      expect(await edited.read()).toBe('{"id":1,"text":"a"}\n{"id":2,"text":"B,\\""}\n{"id":9,"text":"n"}\n')
      expect(await metrics(edited)).toEqual({
        operation: 'MERGE',
        numTargetRowsUpdated: '1',
        numTargetRowsInserted: '1',
        numTargetRowsDeleted: '1',
        numOutputRows: '2',
      })
    })

    test('adds a column for a key that is new, with the type of all its values', async () => {
      using folder = temporaryFolder()
      const edited = await start(folder.path)
      await edited.save(
        '{"id":1,"text":"a","score":1,"day":"2024-01-02"}\n{"id":2,"score":2.5,"text":"b"}\n{"id":3,"text":"c"}\n',
      )
      expect(edited.table.snapshot.schema.map(({ name, type }) => `${name} ${type.kind}`)).toEqual([
        'id long',
        'text string',
        'score double',
        'day date',
      ])
      expect((await edited.read()).split('\n')[2]).toBe('{"id":3,"text":"c","score":null,"day":null}')
      // Behind the end, and of a kind of its own.
      const before = await edited.read()
      await edited.save(`${before}{"id":4,"where":{"x":1,"y":[true]}}\n{\n "id": 5\n}\n`)
      expect(await edited.read()).toBe(
        `${before.replaceAll('}\n', ',"where":null}\n')}` +
          '{"id":4,"text":null,"score":null,"day":null,"where":{"x":1,"y":[true]}}\n' +
          '{"id":5,"text":null,"score":null,"day":null,"where":null}\n',
      )
      for (const [row, message] of [
        ['{"ID":6}', 'the key ID differs from id'],
        ['{"id":6,"":1}', 'the key "" is new'],
        ['{"id":6,"a":1}\n{"id":7,"a":"x"}', 'line 7: the table has no column a'],
        ['{"id":"x"}', 'line 6, column id'],
        ['{"id":6,', 'line 6: the JSON object that begins here is not closed'],
        ['[{"id":6}]', 'line 6: a row is one JSON object, and this is an array'],
        ['id,text\n6,x', 'line 6: this is not JSON'],
      ] as const)
        await expect(edited.save(`${await edited.read()}${row}\n`)).rejects.toThrow(message)
    })

    test('takes a key that is missing for NULL, but not one that is missing in every line', async () => {
      using folder = temporaryFolder()
      const edited = await start(folder.path)
      for (const image of [
        '{"id":1}\n{"id":2}\n{"id":3}\n',
        '{"id":1,"label":"a"}\n{"id":2,"label":"b"}\n{"id":3,"label":"c"}\n',
        '{"id":7}\n',
      ])
        await expect(edited.save(image)).rejects.toThrow(/no line has the key "text".*to empty it/)
      expect(await edited.save('{"id":1,"text":"a"}\n{"id":2}\n{"id":3,"text":"c"}\n')).toBeDefined()
      expect(await edited.read()).toBe('{"id":1,"text":"a"}\n{"id":2,"text":null}\n{"id":3,"text":"c"}\n')
      await edited.save('{"id":1,"text":null}\n{"id":2}\n{"id":3}\n')
      await edited.save('{"id":2}\n{"id":4}\n')
      expect(await edited.read()).toBe('{"id":2,"text":null}\n{"id":4,"text":null}\n')
    })
  })
}

describe('the first save of a table without columns', () => {
  test('gives it columns by the keys of JSON lines', async () => {
    using folder = temporaryFolder()
    const edited = await Edited.create(folder.path, '', true, 'jsonl')
    await edited.save('{"b":1,"a":"x"}\n{"a":null,"c":true}\n')
    expect(await edited.read()).toBe('{"b":1,"a":"x","c":null}\n{"b":null,"a":null,"c":true}\n')
  })

  test('gives it columns that keep the values of all rows, the last ones too', async () => {
    using folder = temporaryFolder()
    const edited = await Edited.create(folder.path, '', true)
    const rows = `${`1,${'x'.repeat(1000)}\n`.repeat(5000)}007,y\n`
    await edited.save(`code,text\n${rows}`)
    expect(edited.table.snapshot.schema.map(({ type }) => type.kind)).toEqual(['string', 'string'])
    expect(await edited.read()).toBe(`code,text\n${rows}`)
  })

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
