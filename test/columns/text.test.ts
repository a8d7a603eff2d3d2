import { describe, expect, test } from 'bun:test'
import { TextError } from '../../src/columns/errors.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import {
  csvHeader,
  inferSchema,
  lastRowEnd,
  matchHeader,
  parseCsv,
  parseHeader,
  renderCsv,
  rowEnd,
} from '../../src/columns/text/csv.ts'
import { csvSize } from '../../src/columns/text/csv-render.ts'
import { parseJsonLines, renderJsonArrayRows, renderJsonLines } from '../../src/columns/text/json.ts'
import { formatPartitionValue, parsePartitionValue } from '../../src/columns/text/partition.ts'
import { formatScalar, parseScalar } from '../../src/columns/text/scalars.ts'
import { jsonLinesSize } from '../../src/columns/text/sizes.ts'
import type { Cell, DataType, Schema } from '../../src/columns/types.ts'
import { batchOf, cellAt } from '../../src/columns/vectors.ts'
import { ALL_TYPES, cellsOf, decode, encode, Random, randomBatch, spelled } from './values.ts'

const typeOf = (ddl: string): DataType => parseDdl(`x:${ddl}`)[0]!.type

/** What a parser refuses, as code, line and column. */
function refusal(run: () => unknown): { code: string; line: number | undefined; column: string | undefined } {
  try {
    run()
  } catch (error) {
    if (error instanceof TextError) return { code: error.code, line: error.line, column: error.column }
    throw error
  }
  throw new Error('it was taken')
}

/** Values at the edges of each type. */
const EDGES: readonly (readonly [ddl: string, cells: readonly Cell[]])[] = [
  ['Int8', [0, -128, 127]],
  ['Int16', [-32_768, 32_767]],
  ['Int32', [-2_147_483_648, 2_147_483_647, -1, 10, 99, 100, 999_999_999, 1_000_000_000]],
  ['Int64', [-(2n ** 63n), 2n ** 63n - 1n, 2n ** 53n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 32n, -(2n ** 32n), -1n]],
  [
    'Float32',
    [0, -0, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Math.fround(0.1), 1e-45].map(Math.fround),
  ],
  [
    'Float64',
    [
      0,
      -0,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      5e-324,
      1.7976931348623157e308,
      1e21,
      0.1 + 0.2,
    ],
  ],
  ['Boolean', [true, false]],
  [
    'String',
    [
      '',
      ' ',
      '"',
      '""',
      'a,b',
      '\n',
      '\r',
      '\r\n',
      'a\rb',
      '\t',
      'null',
      '\ufeffmarked',
      '\u2028',
      '\u0000',
      '\u001b',
      '\u007f',
      '𝄞',
      'e\u0301',
      '\\N',
    ],
  ],
  ['Binary', [new Uint8Array(0), Uint8Array.of(0), Uint8Array.of(255, 254), Uint8Array.of(0xef, 0xbb, 0xbf, 1)]],
  ['Date', [0, -1, -719_162, -719_163, -719_529, 2_932_896, 2_932_897, 2_147_483_647, -2_147_483_648]],
  ['Timestamp', [0n, -1n, -1_000_000n, 1n, 999_999n, -(2n ** 63n), 2n ** 63n - 1n, 253_402_300_800_000_000n]],
  ['Timestamp_ntz', [0n, -1n, 123_456n, -62_167_219_200_000_001n, 951_782_400_000_000n]],
  ['Decimal(38,0)', [10n ** 38n - 1n, -(10n ** 38n) + 1n, 0n]],
  ['Decimal(38,38)', [10n ** 38n - 1n, -1n, 1n]],
  ['Decimal(5,2)', [99_999n, -99_999n, -5n, 50n]],
  ['array<string>', [[], [null], ['', null, '"', 'a\nb', '\ufeff']]],
  ['array<array<int>>', [[[]], [null, [1, null]], []]],
  [
    'map<string,int>',
    [
      [],
      [['', null]],
      [
        ['10', 1],
        ['2', 2],
      ],
      [
        ['b', 1],
        ['a', 2],
      ],
      [['__proto__', 3]],
      [['constructor', 4]],
    ],
  ],
  [
    'map<bigint,double>',
    [
      [
        [2n ** 63n - 1n, -0],
        [-1n, Number.NaN],
      ],
    ],
  ],
  [
    'struct<a:int,b:struct<c:string,d:array<binary>>>',
    [
      [null, null],
      [1, [null, [Uint8Array.of(1), null]]],
    ],
  ],
  [
    'struct<constructor:int,toString:string>',
    [
      [null, null],
      [1, 'x'],
    ],
  ],
]

describe('a value at the edge of its type', () => {
  for (const [ddl, cells] of EDGES) {
    test(`is the same after CSV and JSON lines: ${ddl}`, () => {
      const schema = parseDdl(`x:${ddl},y:Int32`)
      const rows = [...cells, null].map((cell, i) => [cell, i] as Cell[])
      const batch = batchOf(
        schema.map(field => field.type),
        rows,
      )
      const csv = renderCsv(batch, schema).bytes
      const jsonl = renderJsonLines(batch, schema).bytes
      expect(spelled(cellsOf(parseCsv(csv, schema)))).toEqual(spelled(rows))
      expect(spelled(cellsOf(parseJsonLines(jsonl, schema)))).toEqual(spelled(rows))
      expect(jsonLinesSize(batch, schema)).toBe(jsonl.length)
    })
  }

  test('is the same after a partition value of the log', () => {
    for (const [ddl, cells] of EDGES) {
      const type = typeOf(ddl)
      if (['array', 'map', 'struct', 'binary'].includes(type.kind)) continue
      for (const cell of cells) {
        const expected = cell === '' ? null : cell
        expect(spelled(parsePartitionValue(formatPartitionValue(cell, type), type))).toEqual(spelled(expected))
      }
    }
    const binary = typeOf('Binary')
    const bytes = encode('\ufeffü\u0001')
    expect(parsePartitionValue(formatPartitionValue(bytes, binary), binary)).toEqual(bytes)
    expect(refusal(() => formatPartitionValue(Uint8Array.of(0xff), binary)).code).toBe('bad_value')
    expect(refusal(() => parsePartitionValue('x', typeOf('Int32'))).code).toBe('bad_value')
  })
})

describe('random rows', () => {
  test('are the same after CSV and JSON lines, with the sizes that were foretold', () => {
    const random = new Random(21)
    for (let round = 0; round < 150; round++) {
      const schema = ALL_TYPES.filter(() => random.below(3) === 0)
      if (schema.length === 0) continue
      const batch = randomBatch(schema, random.below(200), 1000 + round)
      const csv = renderCsv(batch, schema)
      expect(spelled(cellsOf(parseCsv(csv.bytes, schema)))).toEqual(spelled(cellsOf(batch)))
      expect(lastRowEnd(csv.bytes)).toBe(csv.bytes.length)
      const jsonl = renderJsonLines(batch, schema)
      expect(spelled(cellsOf(parseJsonLines(jsonl.bytes, schema)))).toEqual(spelled(cellsOf(batch)))
      expect(jsonLinesSize(batch, schema)).toBe(jsonl.bytes.length)
      for (const [k, offset] of jsonl.index.entries()) {
        expect(offset === 0 || jsonl.bytes[offset - 1] === 0x0a).toBe(true)
        expect(renderJsonArrayRows(batch, schema).index[k]).toBe(offset + 64 * k)
      }
    }
  })

  test('have the ends that a careful reader finds, wherever the text is cut off', () => {
    const schema = parseDdl('a:String,b:String')
    const { bytes } = renderCsv(randomBatch(schema, 60, 8), schema)
    const ends = [0]
    for (let end = rowEnd(bytes, 0); end > 0; end = rowEnd(bytes, end)) ends.push(end)
    expect(ends.length).toBe(61)
    for (let length = 0; length <= bytes.length; length += 3) {
      // A cut behind the first quote of a doubled one looks like a closing quote, yet no newline follows it.
      expect(lastRowEnd(bytes.subarray(0, length))).toBe(ends.findLast(end => end <= length)!)
    }
  })

  test('of bytes are rows or a TextError, never another error and never an endless loop', () => {
    const random = new Random(77)
    const alphabet = encode('01-.",\n\r\u0000aeEN:{}[]\\ ü')
    const schemas = [
      parseDdl('a:Int64,b:String'),
      parseDdl('a:Float64'),
      parseDdl('a:array<int>,b:map<string,int>'),
      [],
    ]
    for (let round = 0; round < 4000; round++) {
      const bytes = Uint8Array.from({ length: random.below(24) }, () => alphabet[random.below(alphabet.length)]!)
      for (const schema of schemas) {
        for (const parse of [parseCsv, parseJsonLines]) {
          try {
            const batch = parse(bytes, schema)
            for (const vector of batch.vectors) expect(vector.length).toBe(batch.rows)
          } catch (error) {
            expect(error).toBeInstanceOf(TextError)
          }
        }
      }
    }
  })
})

describe('CSV', () => {
  const schema = parseDdl('id:Int64,name:String')
  const rows = (text: string): Cell[][] => cellsOf(parseCsv(encode(text), schema))

  test('keeps a carriage return that does not end a row', () => {
    expect(rows('1,a\rb\n2,"c\r"\r\n3,d\r')).toEqual([
      [1n, 'a\rb'],
      [2n, 'c\r'],
      [3n, 'd'],
    ])
  })

  test('takes an empty line for NULL in a table of one column', () => {
    const one = parseDdl('x:String')
    expect(cellsOf(parseCsv(encode('a\n\n""\n\r\n'), one))).toEqual([['a'], [null], [''], [null]])
  })

  test('refuses a byte 0 behind a closing quote, which ends nothing', () => {
    expect(refusal(() => rows('1,"a"\u00002,b\n'))).toMatchObject({ code: 'bad_value', line: 1, column: 'name' })
  })

  test('counts the lines inside quotes, so that a message names the right one', () => {
    expect(refusal(() => parseCsv(encode('1,"a\n\nb"\n2,c\nx,d\n'), schema, { firstLine: 10 }))).toEqual({
      code: 'bad_value',
      line: 14,
      column: 'id',
    })
  })

  test('refuses bytes that are not UTF-8, and names their line', () => {
    const bytes = Buffer.concat([encode('1,a\n2,'), Uint8Array.of(0xc3), encode('\n')])
    expect(refusal(() => parseCsv(bytes, schema))).toMatchObject({ code: 'malformed_text', line: 2 })
    expect(refusal(() => parseJsonLines(bytes, schema))).toMatchObject({ code: 'malformed_text', line: 2 })
  })

  test('refuses NULL in a NOT NULL column, and takes the empty string there', () => {
    const strict = parseDdl('id:Int64,name:String NOT NULL')
    expect(refusal(() => parseCsv(encode('1,\n'), strict))).toMatchObject({ line: 1, column: 'name' })
    expect(cellsOf(parseCsv(encode('1,""\n'), strict))).toEqual([[1n, '']])
    expect(refusal(() => parseJsonLines(encode('{"id":1}\n'), strict))).toMatchObject({ line: 1, column: 'name' })
  })

  test('of a table without columns has no rows to say, and refuses any', () => {
    expect(parseCsv(encode('\n\n'), []).rows).toBe(0)
    expect(refusal(() => parseCsv(encode('x\n'), []))).toMatchObject({ code: 'malformed_text', line: 1 })
  })

  test('is rendered even if the first rows are a thousand times longer than the others', () => {
    const long = 'x'.repeat(1 << 18)
    const texts = Array.from({ length: 20_000 }, (_, i) => [i < 64 ? long : 'y'] as Cell[])
    const { bytes } = renderCsv(batchOf([{ kind: 'string' }], texts), parseDdl('x:String'))
    expect(bytes.length).toBe(64 * (long.length + 1) + (20_000 - 64) * 2)
  })
})

describe('a CSV header', () => {
  test('reads back whatever the columns are called', () => {
    for (const name of ['a', ' a ', 'a,b', 'a"b', '"', 'two\nlines', 'ü', '\ufeffa', 'cr\r', 'tab\t']) {
      const schema: Schema = [name, 'z'].map(each => ({
        name: each,
        type: { kind: 'long' },
        nullable: true,
        metadata: {},
      }))
      const header = csvHeader(schema)
      expect(parseHeader(header)).toEqual({ names: [name, 'z'], endOffset: header.length })
    }
  })

  test('tells known, added and missing columns apart', () => {
    const schema = parseDdl('a:Int32,b:Int32,c:Int32')
    const matched = matchHeader(['c', 'x', 'a'], schema)!
    expect(matched.fields.map(field => field.name)).toEqual(['c', 'a'])
    expect(matched).toMatchObject({ added: ['x'], missing: ['b'] })
    expect(matchHeader(['1', '2'], schema)).toBeUndefined()
  })

  test('is refused if it lacks a column with a default value, which would become NULL', () => {
    const [id, ...rest] = parseDdl('id:Int64,n:Int32')
    const schema = [id!, ...rest.map(field => ({ ...field, metadata: { CURRENT_DEFAULT: '7' } }))]
    expect(matchHeader(['n', 'id'], schema)?.missing).toEqual([])
    expect(() => matchHeader(['id'], schema)).toThrow(
      'line 1: the column n is missing, which has the default value 7; write its values, too',
    )
  })

  test('is refused if a quote is never closed or text follows it', () => {
    for (const text of ['"a,b\n1,2\n', '"a"b,c\n', 'a,"b']) {
      expect(refusal(() => parseHeader(encode(text)))).toMatchObject({ code: 'bad_header', line: 1 })
    }
  })

  test('may end with the text', () => {
    expect(parseHeader(encode('a,b'))).toEqual({ names: ['a', 'b'], endOffset: 3 })
  })
})

describe('JSON lines', () => {
  const schema = parseDdl('id:Int64,price:Decimal(38,10),toString:String,s:struct<valueOf:int>')
  const rows = (text: string): Cell[][] => cellsOf(parseJsonLines(encode(text), schema))

  test('take a missing key for NULL, also one that every object inherits', () => {
    expect(rows('{"id":1}\r\n\n{"s":{}}')).toEqual([
      [1n, null, null, null],
      [null, null, null, [null]],
    ])
  })

  test('take a missing key for the default value of its column, if it has one', () => {
    const withDefault = (sql: string): Schema =>
      parseDdl('id:Int64,n:Int32').map(field =>
        field.name === 'n' ? { ...field, metadata: { CURRENT_DEFAULT: sql } } : field,
      )
    const parsed = (line: string, sql: string): Cell =>
      cellAt(parseJsonLines(encode(line), withDefault(sql)).vectors[1]!, 0)
    expect(parsed('{"id":1}', '7')).toBe(7)
    expect(parsed('{"id":1,"n":null}', '7')).toBe(null)
    expect(parsed('{"id":1}', 'NULL')).toBe(null)
    expect(() => parsed('{"id":1}', '3 + 4')).toThrow('line 1: the default value of column n is 3 + 4')
    expect(() => parsed('{"id":1}', '3000000000')).toThrow('the default value of column n is 3000000000')
  })

  test('keep every digit of a number', () => {
    expect(rows('{"id":9223372036854775807,"price":1234567890123456789012345678.0123456789}')).toEqual([
      [9223372036854775807n, 12345678901234567890123456780123456789n, null, null],
    ])
  })

  test('may span lines, and be written with blanks and escapes', () => {
    expect(rows('{\n  "id": 1,\n  "s": {\n    "valueOf": 2\n  }\n}\n {"toS\\u0074ring" : "a}\\"{\\n" }\n')).toEqual([
      [1n, null, null, [2]],
      [null, null, 'a}"{\n', null],
    ])
  })

  test('may begin with a byte-order mark', () => {
    expect(rows('\ufeff{"id":1}\n')).toEqual([[1n, null, null, null]])
  })

  test('name the line and the column of what cannot be taken', () => {
    const at = (text: string): unknown => refusal(() => parseJsonLines(encode(text), schema, { firstLine: 5 }))
    expect(at('{"id":1}\n{"id":"x"}\n')).toEqual({ code: 'bad_value', line: 6, column: 'id' })
    expect(at('{"nope":1}\n')).toEqual({ code: 'unknown_column', line: 5, column: 'nope' })
    expect(at('{"__proto__":1}\n')).toEqual({ code: 'unknown_column', line: 5, column: '__proto__' })
    expect(at('{"s":{"q":1}}\n')).toEqual({ code: 'bad_value', line: 5, column: 's' })
    expect(at('{"id":1.5}\n')).toEqual({ code: 'bad_value', line: 5, column: 'id' })
    expect(at('\n{"id":1\n')).toMatchObject({ code: 'unterminated', line: 6 })
    expect(at('{"id":1}\n{"id":2\n{"id":3}\n')).toMatchObject({ code: 'malformed_text', line: 6 })
    expect(at('{"id":1,"id":2}\n')).toMatchObject({ code: 'malformed_text', line: 5 })
    expect(at('{"id":1}{"id":2}\n')).toMatchObject({ code: 'malformed_text', line: 5 })
    expect(at('{"toString":"a\nb"}\n')).toMatchObject({ code: 'malformed_text', line: 5 })
    expect(at('[1]\n')).toMatchObject({ code: 'malformed_text', line: 5 })
    expect(at('7\n')).toMatchObject({ code: 'malformed_text', line: 5 })
    expect(at(`{"s":${'['.repeat(200_000)}\n`)).toMatchObject({ code: 'unterminated', line: 5 })
  })
})

describe('a scalar', () => {
  const refused = (text: string, ddl: string): boolean => {
    try {
      parseScalar(text, typeOf(ddl))
      return false
    } catch {
      return true
    }
  }

  test('is refused where its type has no such value', () => {
    for (const [ddl, texts] of [
      ['Int8', ['128', '-129', '1.0', '1e1', '', '0x1', '--1']],
      ['Int64', ['9223372036854775808', '-9223372036854775809', '1_000', 'NaN']],
      ['Float32', ['1e39', '-1e39', '1e400', '0x1', '1.2.3']],
      ['Float64', ['1e309', '-1e400', 'one', '.', 'e1', '1e']],
      ['Boolean', ['1', 'yes', '']],
      [
        'Date',
        [
          '2023-02-29',
          '2024-13-01',
          '2024-00-10',
          '2024-01-32',
          '24-01-01',
          '2024-1-1',
          '2024-01-01T00:00:00',
          '+9999999-01-01',
          '-9999999-01-01',
        ],
      ],
      [
        'Timestamp',
        [
          '2024-01-01T24:00:00',
          '2024-01-01T00:60:00',
          '2024-01-01T00:00:00.1234567',
          '2024-01-01T',
          '2024-01-01T00:00:00+99:99',
          '+300000-01-01',
          '2024-01-01 noon',
        ],
      ],
      ['Timestamp_ntz', ['2024-01-01T00:00:00Z', '2024-01-01T00:00:00+01:00']],
      ['Decimal(5,2)', ['1000', '0.001', '1e3', '.', '-', '1.2.3', 'NaN', '1e999']],
      ['Binary', ['a', 'ab==c', '!!!!', 'QQ']],
    ] as const) {
      for (const text of texts) expect([ddl, text, refused(text, ddl)]).toEqual([ddl, text, true])
    }
  })

  test('is taken in every usual spelling', () => {
    for (const [ddl, text, cell] of [
      ['Int32', ' +007 ', 7],
      ['Int64', '-0', 0n],
      ['Float64', '1.', 1],
      ['Float64', '.5', 0.5],
      ['Float64', '-inf', Number.NEGATIVE_INFINITY],
      ['Boolean', 'TRUE', true],
      ['Timestamp', '2024-01-31', 1_706_659_200_000_000n],
      ['Timestamp', '1969-12-31 23:59:59.999999', -1n],
      ['Timestamp', '1970-01-01T01:00:00.000001+01:00', 1n],
      ['Timestamp', '1970-01-01T00:00-0030', 1_800_000_000n],
      ['Timestamp', '1970-01-01T00:00:00.500000000 UTC', 500_000n],
      ['Decimal(5,2)', '1.5e1', 1500n],
      ['Decimal(5,2)', '1.5000', 150n],
      ['Decimal(5,2)', '-.5', -50n],
      ['Decimal(5,2)', '150e-2', 150n],
      ['Decimal(5,2)', '0e999', 0n],
    ] as const) {
      expect([ddl, text, parseScalar(text, typeOf(ddl))]).toEqual([ddl, text, cell])
    }
  })

  test('of a 32-bit float has the shortest text that reads back', () => {
    const random = new Random(3)
    const float = typeOf('Float32')
    const view = new DataView(new ArrayBuffer(4))
    for (let i = 0; i < 5000; i++) {
      view.setUint32(0, random.below(2 ** 32))
      const value = view.getFloat32(0)
      const text = formatScalar(value, float)
      expect(Object.is(parseScalar(text, float), value)).toBe(true)
    }
    expect(formatScalar(Math.fround(0.1), float)).toBe('0.1')
    expect(formatScalar(16_777_216, float)).toBe('16777216')
  })

  test('of a million digits is refused at once', () => {
    const started = performance.now()
    const digits = '9'.repeat(1_000_000)
    expect(refused(digits, 'Int64')).toBe(true)
    expect(refused(digits, 'Decimal(38,10)')).toBe(true)
    for (const ddl of ['Int64', 'Float64', 'Decimal(38,10)', 'Timestamp']) {
      expect(refused(`${'0'.repeat(1_000_000)}x`, ddl)).toBe(true)
    }
    expect(performance.now() - started).toBeLessThan(500)
  })
})

describe('the types of a new table', () => {
  const kinds = (...column: string[]): string =>
    inferSchema(encode(column.map(text => `${text},\n`).join('')), ['a', 'b'])[0]!.type.kind

  test('are the narrowest that keep every value as it is', () => {
    expect(kinds('1', '', '-5')).toBe('long')
    expect(kinds('1', '2.5')).toBe('double')
    expect(kinds('2.5', '1', 'NaN')).toBe('double')
    expect(kinds('2024-01-01', '2024-01-01T10:00:00Z')).toBe('timestamp')
    expect(kinds('true', 'false')).toBe('boolean')
    expect(kinds('true', '1')).toBe('string')
    expect(kinds('2024-01-01', '5')).toBe('string')
    expect(kinds('')).toBe('string')
    expect(kinds('""', '')).toBe('string')
    expect(kinds('1', '""')).toBe('string')
  })

  test('leave text what a number would change', () => {
    for (const text of ['007', '+5', ' 5', '1e400', '0x10', '1_000', '12345678901234567890', '12345678901234567.891']) {
      expect([text, kinds(text)]).toEqual([text, 'string'])
    }
    expect(kinds('9007199254740993', '1.5')).toBe('string')
    expect(kinds('1.5', '9007199254740993')).toBe('string')
    expect(kinds('9007199254740993', '1')).toBe('long')
    expect(kinds('0.5', `-0.${'9'.repeat(38)}`)).toBe('string')
    // As programs print doubles.
    for (const text of ['0.10000000000000001', '1.000000000000000056e-01', '1000.500000000000000000'])
      expect([text, kinds(text)]).toEqual([text, 'double'])
  })
})

describe('rendered text', () => {
  test('is what it has always been, so that recorded sizes stay right', () => {
    const schema = parseDdl(
      'i:Int64,f:Float32,d:Float64,n:Decimal(6,2),b:Boolean,x:Binary,t:Timestamp,w:Timestamp_ntz,day:Date,s:String,l:array<string>,m:map<string,double>',
    )
    const row: Cell[] = [
      -12n,
      Math.fround(0.1),
      1e21,
      -5n,
      true,
      Uint8Array.of(1, 2),
      -1n,
      0n,
      -1,
      'a"b',
      ['x', null],
      [['k', Number.NaN]],
    ]
    const batch = batchOf(
      schema.map(field => field.type),
      [row, row.map(() => null)],
    )
    expect(decode(renderCsv(batch, schema).bytes)).toBe(
      '-12,0.1,1e+21,-0.05,true,AQI=,1969-12-31T23:59:59.999999Z,1970-01-01T00:00:00,1969-12-31,"a""b","[""x"",null]","{""k"":""NaN""}"\n,,,,,,,,,,,\n',
    )
    expect(decode(renderJsonLines(batch, schema).bytes).split('\n')[0]!).toBe(
      '{"i":-12,"f":0.1,"d":1e+21,"n":-0.05,"b":true,"x":"AQI=","t":"1969-12-31T23:59:59.999999Z","w":"1970-01-01T00:00:00","day":"1969-12-31","s":"a\\"b","l":["x",null],"m":{"k":"NaN"}}',
    )
  })
})

describe('numbers in CSV', () => {
  const random = new Random(23)
  const digits = (count: number): string => Array.from({ length: count }, () => random.below(10)).join('')

  test('of 64 bits are read exactly, of whatever length and sign, and written back', () => {
    const fields = parseDdl('n:Int64,m:Int64')
    const texts = ['0', '-0', '+7', '9223372036854775807', '-9223372036854775808', '-000000000000000000']
    for (let i = 0; i < 3000; i++) texts.push(`${['', '-', '+'][random.below(3)]}${digits(1 + random.below(18))}`)
    for (let power = 0; power < 63; power++)
      for (const by of [-1n, 0n, 1n]) texts.push(String(2n ** BigInt(power) + by))
    const batch = parseCsv(encode(texts.map(text => `${text},\n`).join('')), fields)
    const values = texts.map(text =>
      BigInt.asIntN(64, BigInt(text.replace(/^[+-]/, '')) * (text[0] === '-' ? -1n : 1n)),
    )
    expect(cellsOf(batch).map(([n]) => n!)).toEqual(values)
    expect(decode(renderCsv(batch, fields).bytes)).toBe(values.map(value => `${value},\n`).join(''))
    expect(csvSize(batch, fields)).toBe(renderCsv(batch, fields).bytes.length)
    for (const text of ['1-2', '12345678-01234567', '--1', '1234567890123456x', '9223372036854775808', '-'])
      expect(() => parseCsv(encode(`${text},\n`), fields)).toThrow(/whole number/)
  })

  test('with a point are read as the nearest double', () => {
    const fields = parseDdl('x:Float64,y:Float64')
    const texts = [
      '0.1',
      '-0',
      '-0.0',
      '.5',
      '5.',
      '1e3',
      '123456789012345',
      '0.000000000000001',
      '12345678901234567.25',
    ]
    for (let i = 0; i < 3000; i++)
      texts.push(`${random.below(2) === 0 ? '' : '-'}${digits(1 + random.below(9))}.${digits(random.below(9))}`)
    const batch = parseCsv(encode(texts.map(text => `${text},\n`).join('')), fields)
    for (const [i, [x]] of cellsOf(batch).entries())
      expect([texts[i], Object.is(x, Number(texts[i]))]).toEqual([texts[i], true])
    for (const text of ['.', '-', '-.', '1.2.3', '1,5x']) expect(() => parseCsv(encode(`${text},\n`), fields)).toThrow()
  })
})
