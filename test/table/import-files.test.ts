import { afterAll, describe, expect, test } from 'bun:test'
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ParquetFileWriter } from '../../src/columns/parquet/write.ts'
import { parseDdl, sqlType } from '../../src/columns/schema.ts'
import type { Cell, DataType, Schema, Vector } from '../../src/columns/types.ts'
import { batchOf, vectorOf } from '../../src/columns/vectors.ts'
import { csvOf, execute } from '../../src/sql/engine.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { createFromCsv, createFromParquet } from '../../src/table/operations/import.ts'
import type { Table } from '../../src/table/table.ts'
import { WorkerPool } from '../../src/table/workers/pool.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const pool = new WorkerPool({ threads: 2 })
afterAll(() => pool.close())

const columns = (table: Table): string[] => table.snapshot.schema.map(({ name, type }) => `${name} ${sqlType(type)}`)

async function rows(table: Table, sql = 'FROM data'): Promise<string> {
  const outcome = await execute(table, sql)
  if (outcome.kind !== 'rows') throw new Error('there are no rows')
  return new TextDecoder().decode(Buffer.concat(await Array.fromAsync(csvOf(outcome.result))))
}

async function message(run: Promise<unknown>): Promise<string> {
  try {
    await run
  } catch (error) {
    return (error as Error).message
  }
  throw new Error('it did not fail')
}

function put(folder: string, name: string, text: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

describe('the types of columns from CSV', () => {
  async function typesOf(...values: string[]): Promise<string> {
    using folder = temporaryFolder()
    const csv = put(folder.path, 'in.csv', `k,v\n${values.map(value => `x,${value}\n`).join('')}`)
    const table = await createFromCsv(localStore(join(folder.path, 'table')), [csv], { pool })
    return columns(table)[1]!.replace('v ', '')
  }

  test('are the narrowest that take all values and give each back as it was', async () => {
    expect(await typesOf('1', '', '-2')).toBe('BIGINT')
    expect(await typesOf('9223372036854775807')).toBe('BIGINT')
    expect(await typesOf('1', '0.5')).toBe('DOUBLE')
    expect(await typesOf('true', 'false')).toBe('BOOLEAN')
    expect(await typesOf('2024-02-29')).toBe('DATE')
    expect(await typesOf('2024-02-29', '2024-02-29T12:00:00Z')).toBe('TIMESTAMP')
  })

  test('are text where a number or a date would lose something', async () => {
    for (const value of ['007', ' 1', '1 ', '2024-02-30', '2023-02-29', '""', '1_000', '0x10', '1e', '--1'])
      expect([value, await typesOf(value)]).toEqual([value, 'STRING'])
    expect(await typesOf('1', 'true')).toBe('STRING')
    expect(await typesOf('2024-01-01', '5')).toBe('STRING')
    expect(await typesOf('', '')).toBe('STRING')
  })

  test('keep every digit of whole numbers that are longer than 64 bits', async () => {
    using folder = temporaryFolder()
    const csv = put(folder.path, 'in.csv', 'k,v\n1,9223372036854775808\n2,123456789012345678901234567890\n')
    const table = await createFromCsv(localStore(join(folder.path, 'table')), [csv], { pool })
    expect(await rows(table)).toBe('k,v\n1,9223372036854775808\n2,123456789012345678901234567890\n')
  })
})

describe('CSV files', () => {
  test('may begin with a byte order mark, end without a newline, and have a header alone', async () => {
    using folder = temporaryFolder()
    const marked = put(folder.path, 'marked.csv', '\ufeffid,name\r\n1,a\r\n\r\n2,"b\r\nc"')
    expect(await rows(await createFromCsv(localStore(join(folder.path, '1')), [marked], { pool }))).toBe(
      'id,name\n1,a\n2,"b\r\nc"\n',
    )
    const header = put(folder.path, 'header.csv', 'id,"a ""quoted"" name, with\nnewline"')
    const table = await createFromCsv(localStore(join(folder.path, '2')), [header], { pool })
    expect(columns(table)).toEqual(['id STRING', 'a "quoted" name, with\nnewline STRING'])
    expect(table.snapshot.files).toEqual([])
  })

  test('are read in pieces without cutting a row, whatever newlines and quotes are in it', async () => {
    using folder = temporaryFolder()
    const cell = `"${'line, of ""many""\n'.repeat(4000)}"`
    const lines = Array.from({ length: 200 }, (_, i) => `${i},${cell},${i % 7}\n`)
    const csv = put(folder.path, 'in.csv', `id,text,n\n${lines.join('')}`)
    const table = await createFromCsv(localStore(join(folder.path, 'table')), [csv], { pool })
    expect(table.snapshot.files.length).toBeGreaterThan(1)
    const length = 'line, of "many"\n'.length * 4000
    expect(
      await rows(table, 'SELECT count(*) n, sum(id) s, sum(n) m, min(length(text)) a, max(length(text)) b FROM data'),
    ).toBe(
      `n,s,m,a,b\n200,19900,${Array.from({ length: 200 }, (_, i) => i % 7).reduce((a, b) => a + b)},${length},${length}\n`,
    )
    put(folder.path, 'in.csv', `id,text,n\n${lines.join('')}200,x\n`)
    expect(await message(createFromCsv(localStore(join(folder.path, 'bad')), [csv], { pool }))).toBe(
      `${csv}: line ${2 + 200 * 4001}: the row has 2 fields, the table has 3 columns (id,text,n)`,
    )
  }, 20_000)

  test('in UTF-16 are told from plain text, without a mark, too', async () => {
    using folder = temporaryFolder()
    const utf16 = Buffer.from('id,name\n1,a\n', 'utf16le')
    for (const [bytes, name] of [
      [utf16, 'UTF-16LE'],
      [Buffer.from(utf16).swap16(), 'UTF-16BE'],
      [Buffer.concat([Uint8Array.of(0xff, 0xfe), utf16]), 'UTF-16'],
    ] as const) {
      const csv = put(folder.path, 'in.csv', bytes)
      expect(await message(createFromCsv(localStore(join(folder.path, 'table')), [csv], { pool }))).toBe(
        `${csv}: this is UTF-16; convert it: iconv -f ${name} -t UTF-8 FILE | posixlake create TABLE --from-csv -`,
      )
    }
  })

  test('of other dialects have the types of their values, and errors their lines, however long they are', async () => {
    using folder = temporaryFolder()
    const dialect = { delimiter: '||', quote: "'", escape: "'", comment: '#' }
    const lines = Array.from({ length: 120_000 }, (_, i) =>
      i % 100 === 7 ? `# after ${i} rows\n` : `${i}||'it''s\n${'x'.repeat(40)}'||${i / 4}||\n`,
    )
    const text = `# header\nid||text||n||none\n${lines.join('')}`
    const csv = put(folder.path, 'in.csv', text)
    const table = await createFromCsv(localStore(join(folder.path, 'table')), [csv], { pool, dialect })
    expect(table.snapshot.schema.map(({ name, type }) => `${name} ${type.kind}`)).toEqual([
      'id long',
      'text string',
      'n double',
      'none string',
    ])
    expect(
      await rows(
        table,
        'SELECT count(*) n, sum(id) s, min(length(text)) a, max(length(text)) b, count("none") e FROM data',
      ),
    ).toBe(
      `n,s,a,b,e\n118800,${Array.from({ length: 120_000 }, (_, i) => (i % 100 === 7 ? 0 : i)).reduce((a, b) => a + b)},45,45,0\n`,
    )

    const at = text.split('\n').length
    for (const [row, why] of [
      ['x||a||1||', 'column id: a whole number is expected, not "x"'],
      ['1||a', 'the row has 2 fields, the table has 4 columns (id,text,n,none)'],
      [`1||'a'b||1||`, '"||" or the end of the line behind the closing quote is expected'],
      [`1||'a||1||`, 'a quote is opened and not closed'],
    ]) {
      put(folder.path, 'in.csv', `${text}${row}\n`)
      const schema = parseDdl('id:Int64,text:String,n:Float64,none:String')
      const said = await message(createFromCsv(localStore(join(folder.path, 'bad')), [csv], { pool, dialect, schema }))
      expect(said).toStartWith(`${csv}: line ${at}`)
      expect(said).toEndWith(why!)
    }
    put(folder.path, 'in.csv', 'a||b\r1||2\r')
    expect(await message(createFromCsv(localStore(join(folder.path, 'bad')), [csv], { pool, dialect }))).toContain(
      'the lines end in CR alone',
    )
  }, 60_000)

  test('may have lines that end in CR alone, or in CR CR LF', async () => {
    using folder = temporaryFolder()
    let made = 0
    const imported = async (text: string | Uint8Array): Promise<string> => {
      const said: string[] = []
      const csv = put(folder.path, 'in.csv', text)
      const table = await createFromCsv(localStore(join(folder.path, String(made++))), [csv], {
        pool,
        log: s => said.push(s),
      })
      return `${said.map(sentence => sentence.replace(csv, 'F')).join('|')}${said.length === 0 ? '' : '\n'}${await rows(table)}`
    }
    const cr = 'F: the lines end in CR alone\n'
    expect(await imported('id,name\r1,a\r2,b\r')).toBe(`${cr}id,name\n1,a\n2,b\n`)
    expect(await imported('\ufeffid,name\r1,a\r\r2,b')).toBe(`${cr}id,name\n1,a\n2,b\n`)
    expect(await imported('id,"a\rb"\r1,"x\r\ny""\r"\r2,5" b\r')).toBe(`${cr}id,"a\rb"\n1,"x\r\ny""\r"\n2,"5"" b"\n`)
    expect(await imported('n\r1\r\r3\r')).toBe(`${cr}n\n1\n\n3\n`)
    expect(await imported('n\r1\r\n3\n4\r\r\n')).toBe(`${cr}n\n1\n3\n4\n`)
    expect(await imported('id;name\r1;a,b\r')).toBe(
      'F: the lines end in CR alone|F: the fields are separated by ";"\nid,name\n1,"a,b"\n',
    )
    expect(await imported('id,name\r')).toBe('id,name\n')
    expect(await imported('id,name\r\r\n1,a\r\r\n2,"b"\r\r\n')).toBe('id,name\n1,a\n2,b\n')
    // In a text whose lines end in LF a CR is part of the field.
    expect(await imported('id,name\n1,a\rb\n')).toBe('id,name\n1,"a\rb"\n')
    const cell = 'line, of ""many""\r'.repeat(4000)
    const big = Array.from({ length: 200 }, (_, i) => `${i},"${cell}",${i % 7}\r`).join('')
    const csv = put(folder.path, 'big.csv', `id,text,n\r${big}`)
    const table = await createFromCsv(localStore(join(folder.path, 'big')), [csv], { pool })
    expect(table.snapshot.files.length).toBeGreaterThan(1)
    expect(
      await rows(table, 'SELECT count(*) c, sum(id) i, count(DISTINCT text) t, min(length(text)) l FROM data'),
    ).toBe(`c,i,t,l\n200,19900,1,${cell.replaceAll('""', '"').length}\n`)
  }, 20_000)

  test('are one table in the order in which they are given, with the types that fit all', async () => {
    using folder = temporaryFolder()
    const paths = [
      put(folder.path, 'b.csv', 'id,v\n1,1\n2,\n'),
      put(folder.path, 'a.csv', 'id,v\n3,2.5\n'),
      put(folder.path, 'c.csv', 'id,v\n'),
    ]
    const table = await createFromCsv(localStore(join(folder.path, 'table')), paths, { pool, name: 'all three' })
    expect(columns(table)).toEqual(['id BIGINT', 'v DOUBLE'])
    expect(await rows(table)).toBe('id,v\n1,1.0\n2,\n3,2.5\n')
    expect(table.snapshot.metadata.name).toBe('all three')
  })

  test('whose columns differ are refused by their names, and nothing is left in a folder that was there', async () => {
    using folder = temporaryFolder()
    const target = join(folder.path, 'target')
    mkdirSync(target)
    put(target, 'kept', '')
    const big = put(folder.path, 'big.csv', `id,v\n${'1,2\n'.repeat(300_000)}`)
    const other = put(folder.path, 'other.csv', 'id,w\n1,2\n')
    const short = put(folder.path, 'short.csv', 'id,v\n1\n')
    const schema = parseDdl('id:Int64,v:Int64')
    expect(await message(createFromCsv(localStore(target), [big, other], { pool }))).toBe(
      `${other}: the columns are id, w, those of ${big} are id, v`,
    )
    expect(await message(createFromCsv(localStore(target), [big, other], { pool, schema }))).toBe(
      `${other}: line 1: the columns are id, w; expected id, v`,
    )
    expect(await message(createFromCsv(localStore(target), [big, short], { pool, schema }))).toContain(
      `${short}: line 2: the row has 1`,
    )
    expect(readdirSync(target)).toEqual(['kept'])
  }, 20_000)

  test('name the place of a value that the given types do not take', async () => {
    using folder = temporaryFolder()
    const csv = put(folder.path, 'in.csv', 'id,name\n1,"two\nlines"\n300,x\n')
    const failing = (ddl: string): Promise<string> =>
      message(createFromCsv(localStore(join(folder.path, 'table')), [csv], { pool, schema: parseDdl(ddl) }))
    expect(await failing('id:Int8,name:String')).toMatch(/^.*in\.csv: line 4, column id: .*"300"/)
    expect(await failing('id:Int64,name:Date')).toMatch(/in\.csv: line 2, column name: /)
    expect(await failing('id:Int64,name:String,more:Int8')).toContain('expected id, name, more')
    writeFileSync(csv, 'id,name\n,x\n')
    expect(await failing('id:Int8 NOT NULL,name:String')).toMatch(/line 2, column id: .*NOT NULL/)
    writeFileSync(csv, Uint8Array.of(0x61, 0x0a, 0x31, 0x0a, 0xff, 0x0a))
    expect(await failing('a:String')).toMatch(/in\.csv: line 3, column a: the text is not UTF-8/)
    expect(existsSync(join(folder.path, 'table'))).toBe(false)
  })

  test('that are folders, or where a table is already, are refused', async () => {
    using folder = temporaryFolder()
    const csv = put(folder.path, 'in.csv', 'a\n1\n')
    expect(await message(createFromCsv(localStore(join(folder.path, 't')), [folder.path], { pool }))).toBe(
      `${folder.path} is not a file; name the files in it, as a pattern in quotes: '${folder.path}/*'`,
    )
    await createFromCsv(localStore(join(folder.path, 't')), [csv], { pool })
    const before = readdirSync(join(folder.path, 't')).sort()
    expect(await message(createFromCsv(localStore(join(folder.path, 't')), [csv], { pool }))).toContain(
      'there is a table already',
    )
    expect(readdirSync(join(folder.path, 't')).sort()).toEqual(before)
    // The first commits of an old table are cleaned up, and it is a table all the same.
    const log = join(folder.path, 't', '_delta_log')
    renameSync(join(log, '00000000000000000000.json'), join(log, '00000000000000000012.checkpoint.parquet'))
    for (const create of [
      () => createFromCsv(localStore(join(folder.path, 't')), [csv], { pool }),
      () => createTable(localStore(join(folder.path, 't')), { schema: parseDdl('a:Int64') }),
    ])
      expect(await message(create())).toContain('there is a table already')
    expect(readdirSync(log)).toEqual(['00000000000000000012.checkpoint.parquet'])
  })

  test('tell how far they have come', async () => {
    using folder = temporaryFolder()
    const csv = put(folder.path, 'in.csv', 'a,b\n1,2\n')
    const seen: [number, number][] = []
    await createFromCsv(localStore(join(folder.path, 't')), [csv], {
      pool,
      progress: (done, total) => seen.push([done, total]),
    })
    const [last] = seen.slice(-1)
    expect(last![1]).toBe(8)
    expect(last![0]).toBeLessThanOrEqual(8)
  })
})

describe('Parquet files', () => {
  async function parquet(path: string, schema: Schema, cells: readonly (readonly Cell[])[]): Promise<string> {
    const pieces: Uint8Array[] = []
    const writer = new ParquetFileWriter({ write: bytes => void pieces.push(bytes) }, schema)
    await writer.write(
      batchOf(
        schema.map(field => field.type),
        cells,
      ),
    )
    await writer.finish()
    writeFileSync(path, Buffer.concat(pieces))
    return path
  }

  test('become a table of the same types, nested ones and NULLs included', async () => {
    using folder = temporaryFolder()
    const schema = parseDdl(
      'i:Int64,d:Decimal(38,10),t:Timestamp,n:Timestamp_ntz,b:Binary,s:struct<x:Int32,y:array<String>>,m:map<String,Date>',
    )
    const path = await parquet(join(folder.path, 'in.parquet'), schema, [
      [1n, 12345678901234567890123456789n, 1n, -1n, Uint8Array.of(0, 255), [7, ['a', null]], [['k', 0]]],
      [null, null, null, null, null, null, null],
    ])
    const table = await createFromParquet(localStore(join(folder.path, 'table')), [path], { pool })
    expect(columns(table)).toEqual(schema.map(({ name, type }) => `${name} ${sqlType(type)}`))
    expect(await rows(table)).toBe(
      'i,d,t,n,b,s,m\n1,1234567890123456789.0123456789,1970-01-01T00:00:00.000001Z,1969-12-31T23:59:59.999999,AP8=,"{""x"":7,""y"":[""a"",null]}","{""k"":""1970-01-01""}"\n,,,,,,\n',
    )
  })

  test('in which text is not UTF-8 are refused by file, row and column, inside other values too', async () => {
    using folder = temporaryFolder()
    const target = join(folder.path, 'table')
    const bytes = Uint8Array.of(0x61, 0xff)
    const text = (...values: (string | Uint8Array | null)[]): Vector => ({
      ...vectorOf(
        { kind: 'binary' },
        values.map(value => (typeof value === 'string' ? Buffer.from(value) : value)),
      ),
      type: { kind: 'string' },
    })
    const list: DataType = { kind: 'array', element: { kind: 'string' }, containsNull: true }
    for (const [ddl, vectors, where] of [
      ['id:Int64,s:String', [vectorOf({ kind: 'long' }, [1n, 2n, 3n]), text('ok', null, bytes)], 'row 3, column s'],
      ['l:array<string>', [{ type: list, length: 2, values: [['ok'], ['x', bytes]] }], 'row 2, column l'],
    ] as const) {
      const schema = parseDdl(ddl)
      const pieces: Uint8Array[] = []
      const writer = new ParquetFileWriter({ write: piece => void pieces.push(piece) }, schema)
      await writer.write({ rows: vectors[0].length, vectors: [...vectors] })
      await writer.finish()
      const path = put(folder.path, 'in.parquet', Buffer.concat(pieces))
      expect(await message(createFromParquet(localStore(target), [path], { pool }))).toBe(
        `${path}: ${where}: the text is not UTF-8, as text in Parquet has to be; write the file anew as UTF-8, or the column as binary`,
      )
      expect(existsSync(target)).toBe(false)
    }
  })

  test('that do not agree leave nothing in a folder that was there', async () => {
    using folder = temporaryFolder()
    const target = join(folder.path, 'target')
    mkdirSync(target)
    put(target, 'kept', '')
    const one = await parquet(join(folder.path, '1.parquet'), parseDdl('a:Int64,b:Int64'), [[1n, 2n]])
    const same = await parquet(join(folder.path, '2.parquet'), parseDdl('b:Int64,a:Int64'), [[4n, 3n]])
    const fewer = await parquet(join(folder.path, '3.parquet'), parseDdl('a:Int64'), [[1n]])
    expect(await message(createFromParquet(localStore(target), [one, fewer], { pool }))).toBe(
      `${fewer} has the columns a BIGINT, ${one} has a BIGINT, b BIGINT; import them one by one`,
    )
    expect(readdirSync(target)).toEqual(['kept'])
    expect(await rows(await createFromParquet(localStore(target), [one, same], { pool }))).toBe('a,b\n1,2\n3,4\n')
  })

  test('that are cut off, or none, are named', async () => {
    using folder = temporaryFolder()
    const path = await parquet(join(folder.path, 'in.parquet'), parseDdl('a:Int64'), [[1n]])
    const bytes = await Bun.file(path).bytes()
    for (const damaged of [
      bytes.subarray(0, bytes.length - 5),
      bytes.subarray(20),
      new Uint8Array(0),
      Buffer.from('PAR1'),
    ]) {
      writeFileSync(path, damaged)
      expect(await message(createFromParquet(localStore(join(folder.path, 'table')), [path], { pool }))).toStartWith(
        path,
      )
    }
    expect(existsSync(join(folder.path, 'table'))).toBe(false)
  })
})
