import { describe, expect, test } from 'bun:test'
import { csv, jsonLines } from '../../src/columns/text/formats/index.ts'
import { pieceKey, textKind } from '../../src/fs/text/segments.ts'
import { codeOf, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String'
const ROWS = '1,Alice\n2,Bob\n'
const MAP_COLUMNS = `ALTER TABLE data SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')`

async function put(s: ServedTable, text: string): Promise<string> {
  const { handle } = await s.client.create(s.data, 'temp')
  await s.client.write(handle, 0n, text)
  return codeOf(s.client.rename(s.data, 'temp', s.data, 'data.csv'))
}

describe('a column that is renamed while the table is mounted', () => {
  test('has its new name in the header of every view at the next open, and takes rows under it', async () => {
    await using s = await serveNew(DDL, ROWS)
    expect(await s.read()).toBe(`id,name\n${ROWS}`)
    const before = await s.csv()
    await s.elsewhere(MAP_COLUMNS)
    await s.elsewhere('ALTER TABLE data RENAME COLUMN name TO "full name"')
    expect(await s.read()).toBe(`id,full name\n${ROWS}`)
    // Who has it open goes on with the text that it has.
    expect(await s.client.readText(before)).toBe(`id,name\n${ROWS}`)
    expect(await s.read('data/data.jsonl')).toBe('{"id":1,"full name":"Alice"}\n{"id":2,"full name":"Bob"}\n')
    expect(await s.read('data/data.json')).toContain('"full name":"Alice"')
    expect(await s.read('schema.sql')).toContain('`full name` STRING')
    await s.client.write(await s.csv(), (await s.client.getattr(await s.csv())).size, '3,Carol\n')
    expect(await s.read()).toBe(`id,full name\n${ROWS}3,Carol\n`)
    expect(await put(s, (await s.read()).replace('Bob', 'Bobby'))).toBe('OK')
    expect(await s.read()).toBe('id,full name\n1,Alice\n2,Bobby\n3,Carol\n')
  })

  test('is refused to a program that writes the table anew under the old name', async () => {
    await using s = await serveNew(DDL, ROWS)
    const text = await s.read()
    await s.elsewhere(MAP_COLUMNS)
    await s.elsewhere('ALTER TABLE data RENAME COLUMN name TO title')
    await s.read()
    expect(await put(s, text.replace('Bob', 'Bobby'))).not.toBe('OK')
    expect(await put(s, `id,other\n${ROWS}`)).not.toBe('OK')
    expect(await s.read()).toBe(`id,title\n${ROWS}`)
  })

  test('and one that is dropped and comes again has no values in the rows that are there', async () => {
    await using s = await serveNew(DDL, ROWS)
    await s.elsewhere(MAP_COLUMNS)
    await s.read()
    await s.elsewhere('ALTER TABLE data DROP COLUMN name')
    expect(await s.read()).toBe('id\n1\n2\n')
    await s.elsewhere('ALTER TABLE data ADD COLUMN name STRING')
    expect(await s.read()).toBe('id,name\n1,\n2,\n')
    expect(await s.read('data/data.jsonl')).toBe('{"id":1,"name":null}\n{"id":2,"name":null}\n')
  })

  test('leaves the rendered rows of CSV as they are, and their recorded sizes', async () => {
    await using s = await serveNew('id:Int64,s:struct<a:int>', '1,"{""a"":2}"\n')
    const { table } = s.server.lake
    const keys = async (): Promise<string[]> => {
      const snapshot = await table.refresh()
      return [csv, jsonLines].map(format => pieceKey(textKind(snapshot, format), snapshot.files[0]!, 0))
    }
    const plain = await keys()
    await s.elsewhere(MAP_COLUMNS)
    expect(await keys()).toEqual(plain)
    await s.elsewhere('ALTER TABLE data RENAME COLUMN id TO key')
    const [renamed, lines] = await keys()
    expect(renamed).toBe(plain[0]!)
    expect(lines).not.toBe(plain[1]!)
    await s.elsewhere('ALTER TABLE data RENAME COLUMN s.a TO b')
    expect((await keys())[0]).not.toBe(plain[0]!)
    expect(await s.read()).toBe('key,s\n1,"{""b"":2}"\n')
  })
})

describe('a column whose type is widened while the table is mounted', () => {
  test('shows its values as the wide type has them, and takes new ones', async () => {
    await using s = await serveNew('id:Int32,x:Float32,d:Date', '1,0.1,2020-01-02\n')
    const size = (await s.client.getattr(await s.csv())).size
    expect(await codeOf(s.client.write(await s.csv(), size, '5000000000,1,2020-01-02\n'))).not.toBe('OK')
    await s.elsewhere(`ALTER TABLE data SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')`)
    await s.elsewhere('ALTER TABLE data ALTER COLUMN id TYPE bigint')
    await s.elsewhere('ALTER TABLE data ALTER COLUMN x TYPE double')
    await s.elsewhere('ALTER TABLE data ALTER COLUMN d TYPE timestamp_ntz')
    const rows = '1,0.10000000149011612,2020-01-02T00:00:00\n'
    expect(await s.read()).toBe(`id,x,d\n${rows}`)
    await s.client.write(
      await s.csv(),
      (await s.client.getattr(await s.csv())).size,
      '5000000000,0.1,2020-01-02T03:04:05\n',
    )
    expect(await s.read()).toBe(`id,x,d\n${rows}5000000000,0.1,2020-01-02T03:04:05\n`)
    expect(await s.read('data/data.jsonl')).toContain('{"id":1,"x":0.10000000149011612,"d":"2020-01-02T00:00:00"}')
    expect(await put(s, (await s.read()).replace('5000000000', '5000000001'))).toBe('OK')
    expect(await s.read()).toBe(`id,x,d\n${rows}5000000001,0.1,2020-01-02T03:04:05\n`)
  })
})
