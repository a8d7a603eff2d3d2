import { describe, expect, test } from 'bun:test'
import { TextError } from '../../src/columns/errors.ts'
import { parseDdl, sqlType } from '../../src/columns/schema.ts'
import {
  csvHeader,
  lastRowEnd,
  matchHeader,
  parseCsv,
  parseHeader,
  renderCsv,
  rowEnd,
  SchemaInference,
} from '../../src/columns/text/csv.ts'
import { parseJsonLines, renderJsonArrayRows, renderJsonLines } from '../../src/columns/text/json.ts'
import { TEXT_FORMAT_VERSION } from '../../src/columns/text/rendered.ts'
import { formatScalar, parseScalar } from '../../src/columns/text/scalars.ts'
import { csvSize, jsonLinesSize } from '../../src/columns/text/sizes.ts'
import type { Cell, DataType, Schema } from '../../src/columns/types.ts'
import { batchOf, cellAt } from '../../src/columns/vectors.ts'
import { formatPartitionValue, parsePartitionValue } from '../../src/table/data-files/partition-values.ts'
import { defaultCell } from '../../src/table/defaults.ts'
import { ALL_TYPES, cellsOf, decode, encode, inferSchema, Random, randomBatch, spelled } from './values.ts'

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
  }, 30_000)

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

  test('takes CR CR LF for the end of a row, as programs write it that translate line ends twice', () => {
    const fields = parseDdl('a:String,b:String')
    const text = 'x,y\r\r\n\r\r\n"p","q"\r\r\r\nlast,"one"\r\r'
    expect(cellsOf(parseCsv(encode(text), fields))).toEqual([
      ['x', 'y'],
      ['p', 'q'],
      ['last', 'one'],
    ])
    expect(cellsOf(parseCsv(encode('x\r\r\n\r\r\n'), parseDdl('a:String')))).toEqual([['x'], [null]])
    expect(parseHeader(encode('a,"b"\r\r\n1'))).toEqual({ names: ['a', 'b'], endOffset: 8 })
    expect(parseHeader(encode('a,"b"\r'))).toEqual({ names: ['a', 'b'], endOffset: 6 })
    expect(() => parseHeader(encode('a,b\r1,2\r'))).toThrow('line 1: a carriage return (CR) stands inside the line')
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

  test('takes "" for NULL where the type has no empty value, as it comes from programs that quote every field', () => {
    const fields = parseDdl(
      'a:Int8,b:Int64,c:Float32,d:Float64,e:Decimal(9,2),f:Boolean,g:Date,h:Timestamp,i:array<int>,s:String,x:Binary',
    )
    const row = fields.map(() => '""').join(',')
    const cells = cellsOf(parseCsv(encode(`${row}\n`), fields))[0]!
    expect(cells).toEqual([...fields.slice(0, 9).map(() => null), '', new Uint8Array(0)])
    const json = `{${fields.map(({ name }) => `"${name}":""`).join(',')}}\n`
    expect(cellsOf(parseJsonLines(encode(json), fields))[0]!).toEqual(cells)
    const required = parseDdl('id:Int64 NOT NULL,name:String')
    expect(refusal(() => parseCsv(encode('"",x\n'), required))).toEqual({ code: 'bad_value', line: 1, column: 'id' })
    expect(refusal(() => parseJsonLines(encode('{"id":""}\n'), required))).toMatchObject({ code: 'bad_value' })
  })

  test('takes 30.0 for the whole number 30, in JSON too, and refuses 30.5 by a sentence', () => {
    const fields = parseDdl('n:Int64,m:Int32')
    expect(cellsOf(parseCsv(encode('30.0,-7.000\n'), fields))).toEqual([[30n, -7]])
    expect(cellsOf(parseJsonLines(encode('{"n":30.0,"m":"-7.0"}\n'), fields))).toEqual([[30n, -7]])
    expect(() => parseCsv(encode('30.5,1\n'), fields)).toThrow(
      'line 1, column n: a whole number is expected, not "30.5"',
    )
    expect(() => parseJsonLines(encode('{"n":30.5}\n'), fields)).toThrow(
      'line 1, column n: a whole number is expected, not 30.5',
    )
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
      cellAt(parseJsonLines(encode(line), withDefault(sql), { missing: defaultCell }).vectors[1]!, 0)
    expect(parsed('{"id":1}', '7')).toBe(7)
    expect(parsed('{"id":1,"n":null}', '7')).toBe(null)
    expect(parsed('{"id":1}', 'NULL')).toBe(null)
    expect(parsed('{"id":1}', '3 + 4')).toBe(7)
    expect(() => parsed('{"id":1}', 'rand()')).toThrow('line 1: the default value of column n is rand()')
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

  test('are refused where a key or half a character would be lost', () => {
    const fields = parseDdl('a:Int64,s:String,o:struct<x:int>,m:map<string,int>')
    for (const line of ['{"a":1,"a":2}', '{"a":1,"s":"x:y","a":1}', '{"o":{"x":1,"x":2}}', '{"m":{"k":1,"\\u006b":2}}'])
      expect(() => parseJsonLines(encode(`{"a":0}\n${line}\n`), fields)).toThrow(
        'line 2: an object names one key twice',
      )
    for (const line of ['{"s":"\\ud800"}', '{"m":{"\\udc00":1}}'])
      expect(() => parseJsonLines(encode(`${line}\n`), fields)).toThrow('halves of surrogate pairs')
    const whole = '{"a":1,"s":"{\\"a\\":\\\\","o":{"x":1},"m":{"a":1,"x":2}}'
    expect(cellsOf(parseJsonLines(encode(whole), fields))[0]![1]!).toBe('{"a":\\')
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
      ['Int8', ['128', '-129', '1.5', '1.01', '.0', '1e1', '', '0x1', '--1', '128.0']],
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
      ['Int64', '30.0', 30n],
      ['Int8', ' -30.00 ', -30],
      ['Int64', '9223372036854775807.0', 9_223_372_036_854_775_807n],
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
    expect(formatScalar(16_777_216, float)).toBe('16777216.0')
  })

  // What DuckDB casts to VARCHAR, and Python's repr() and pandas write, but for the names of what is no number.
  test('of a float tells that it is one, in the form that other programs write', () => {
    for (const [value, text] of [
      [3, '3.0'],
      [-0, '-0.0'],
      [0, '0.0'],
      [2.5, '2.5'],
      [-1_000_000, '-1000000.0'],
      [1e15, '1000000000000000.0'],
      [9_999_999_999_999_998, '9999999999999998.0'],
      [1e16, '1e+16'],
      [123_456_789_012_345_680, '1.2345678901234568e+17'],
      [1e-4, '0.0001'],
      [9.999e-5, '9.999e-05'],
      [1.5e20, '1.5e+20'],
      [-1e100, '-1e+100'],
      [5e-324, '5e-324'],
      [Number.NaN, 'NaN'],
      [Number.NEGATIVE_INFINITY, '-Infinity'],
    ] as const)
      expect([formatScalar(value, typeOf('Float64')), Object.is(parseScalar(text, typeOf('Float64')), value)]).toEqual([
        text,
        true,
      ])
    for (const [value, text] of [
      [1e10, '10000000000.0'],
      [1e16, '1e+16'],
      [1e-5, '1e-05'],
      [3.4028234663852886e38, '3.4028235e+38'],
      [1e-45, '1e-45'],
    ] as const)
      expect(formatScalar(Math.fround(value), typeOf('Float32'))).toBe(text)
  })

  test('of a float, whatever its bits are, is no longer than it must be and reads back', () => {
    const random = new Random(31)
    const double = typeOf('Float64')
    const view = new DataView(new ArrayBuffer(8))
    for (let i = 0; i < 5000; i++) {
      view.setUint32(0, random.below(2 ** 32))
      view.setUint32(4, random.below(2 ** 32))
      const value = view.getFloat64(0)
      const text = formatScalar(value, double)
      expect([text, Object.is(parseScalar(text, double), value)]).toEqual([text, true])
      if (Number.isFinite(value)) expect(text).toMatch(/^-?\d+\.\d+$|^-?\d(?:\.\d+)?e[+-]\d{2,3}$/)
    }
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
  const typesOf = (...column: string[]): string =>
    sqlType(inferSchema(encode(column.map(text => `${text},\n`).join('')), ['a', 'b'])[0]!.type)

  test('are the narrowest that keep every value', () => {
    for (const [type, ...column] of [
      ['BIGINT', '1', '', '-5'],
      ['BIGINT', '9223372036854775807', '-9223372036854775808'],
      ['BIGINT', '+1', '"2"'],
      ['DOUBLE', '1', '2.5'],
      ['DOUBLE', '.5', '-0.5', '+1.25', '5.'],
      ['DOUBLE', '10.0', '3.5'],
      ['DOUBLE', '2.5', '1', 'NaN', '-Infinity', 'inf'],
      ['DOUBLE', '-0', '1'],
      ['DOUBLE', '1.5e3', '2E-7', '1e+16'],
      ['DOUBLE', '12E3', '-1'],
      ['DOUBLE', '0.1', '0.30000000000000004', '5e-324', '1.7976931348623157e308', '10000000000000000000000'],
      ['BOOLEAN', 'true', 'False', 'TRUE'],
      ['DATE', '2024-02-29', '0001-01-01'],
      ['TIMESTAMP', '2024-01-01', '2024-01-01T10:00:00Z'],
      ['TIMESTAMP', '2020-01-01 10:00:00', '2020-01-01 10:00:00.123456'],
      ['TIMESTAMP', '2020-01-01T10:00:00+02:00', '2020-01-01 10:00'],
      ['STRING', ''],
      ['STRING', '""', ''],
      ['BIGINT', '1', '""'],
      ['BOOLEAN', '""', 'true'],
      ['STRING', 'true', '1'],
      ['STRING', '2024-01-01', '5'],
    ] as const)
      expect([column, typesOf(...column)]).toEqual([column, type])
  })

  test('are decimals where all have the same number of digits behind the point, and a double would not show the last 0', () => {
    for (const [type, ...column] of [
      ['DECIMAL(18,2)', '10.00', '3.50', ''],
      ['DECIMAL(18,2)', '10.25', '-3.50', '+.10'],
      ['DECIMAL(18,6)', '12.345670', '123456789012.000001'],
      ['DECIMAL(38,2)', '12345678901234567.00', '1.10'],
      ['DECIMAL(38,20)', '0.00000000000000000010'],
      ['DOUBLE', '10.25', '3.51'],
      ['DOUBLE', '10.00', '3.5'],
      ['DOUBLE', '10.00', '3'],
      ['DOUBLE', '10.0', '3.0'],
      ['DOUBLE', '10.00', '-0.00'],
      ['DOUBLE', '10.00', 'NaN'],
      ['DOUBLE', '10.00', '1.00e2'],
      ['STRING', '1234567890123456789012345678901234567.00', '1.10'],
      ['STRING', '123456789012345678.91', '1.10', '5'],
    ] as const)
      expect([column, typesOf(...column)]).toEqual([column, type])
  })

  test('leave text what any other type would change', () => {
    for (const text of [
      ...['007', '00', '-01', '+007.5', '00.5', ' 5', '5 ', '"5 "', '1e400', '1e-400', '4.9e-324', '1e9999999999'],
      ...['0x10', '1_000', '1 000', '"1,000"', '"1.000,5"', '12E3', '1e', '--1', '+', '.', '١٢', '1n', '$5', '5%'],
      ...[
        '12345678901234567890',
        '12345678901234567.891',
        '0.10000000000000001',
        `-0.${'9'.repeat(38)}`,
        '1'.repeat(39),
      ],
      ...['NaN', 'inf', 'null', 'NA', 'yes', 't', 'tru'],
      ...['2020-1-1', '2024-02-30', '2023-02-29', '2024-13-01', '01/02/2020', '2020-01-01 24:00:00', '10:00:00'],
      ...['2020-01-01 10:00:00.1234567', '2020-01-01T10:00:00+99:00', ' 2020-01-01', '2020-W01-1', '1\0'],
    ])
      expect([text, typesOf(text), typesOf(text, text)]).toEqual([text, 'STRING', 'STRING'])
    expect(typesOf('9007199254740993', '1.5')).toBe('STRING')
    expect(typesOf('1.5', '9007199254740993')).toBe('STRING')
    expect(typesOf('9007199254740993', '1')).toBe('BIGINT')
    expect(typesOf('5', '007')).toBe('STRING')
    expect(typesOf('12E3', '34567')).toBe('STRING')
    expect(typesOf('1', '-5', '12E3')).toBe('DOUBLE')
  })

  test('come with a word where something may surprise', () => {
    const notesOf = (...column: string[]): string[] => {
      const inference = new SchemaInference(['a', 'b'])
      inference.feed(encode(column.map(text => `${text},\n`).join('')))
      return inference.notes()
    }
    expect(notesOf('0.5', '0.10000000000000001')).toEqual([
      'column a is STRING: a DOUBLE does not keep every digit of 0.10000000000000001; --schema can say otherwise',
    ])
    expect(notesOf('2020-01-01 10:00', '2020-01-01T10:00:00.5-05:30')).toEqual([
      'column a: times are kept in UTC, without the offset of 2020-01-01T10:00:00.5-05:30',
    ])
    for (const column of [
      ['1', '2'],
      ['007'],
      ['12345678901234567890', 'x'],
      ['2020-01-01T10:00:00+00:00'],
      ['2020-01-01Z'],
    ])
      expect(notesOf(...column)).toEqual([])
  })

  test('hold for rows that were not looked at, or those rows are refused', () => {
    const taken = (ddl: string, text: string): boolean => {
      try {
        parseCsv(encode(`${text},\n`), parseDdl(`a:${ddl},b:String`), { foundTypes: true })
        return true
      } catch (error) {
        if (error instanceof TextError && error.code === 'bad_value') return false
        throw error
      }
    }
    for (const [ddl, kept, refused] of [
      [
        'Int64',
        ['1', '-5', '+7', '1234567890123456789', '""', ''],
        ['007', '-0', '1.0', '1e3', ' 1', '9223372036854775808'],
      ],
      [
        'Float64',
        ['1', '-0', '.5', '5.', '1.5e3', '1e-3', 'nan', '-0.0', '0.1'],
        ['12E3', '007.5', '0.10000000000000001', '1e400', '12345678901234567890'],
      ],
      ['Decimal(18,2)', ['1.00', '-1.25', '.10', ''], ['1', '1.5', '1.005', '-0.00', '01.00', '12345678901234567.00']],
      ['Boolean', ['true', 'False'], ['1', ' true']],
      ['Date', ['2024-01-01'], [' 2024-01-01', '2024-01-01T00:00:00']],
      ['Timestamp', ['2024-01-01', '2024-01-01 10:00:00'], ['2024-01-01T10:00:00 ', '5']],
      ['String', ['007', ' x ', '1e400'], []],
    ] as const) {
      for (const text of kept) expect([ddl, text, taken(ddl, text)]).toEqual([ddl, text, true])
      for (const text of refused) expect([ddl, text, taken(ddl, text)]).toEqual([ddl, text, false])
    }
  })
})

describe('rendered text', () => {
  // If this has to change, TEXT_FORMAT_VERSION has to.
  test('is what it has been in this version of the text format, so that recorded sizes stay right', () => {
    expect(TEXT_FORMAT_VERSION).toBe(2)
    const schema = parseDdl(
      'i:Int64,f:Float32,d:Float64,w2:Float64,n:Decimal(6,2),b:Boolean,x:Binary,t:Timestamp,w:Timestamp_ntz,day:Date,s:String,l:array<string>,m:map<string,double>',
    )
    const row: Cell[] = [
      -12n,
      Math.fround(0.1),
      1e21,
      3,
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
      '-12,0.1,1e+21,3.0,-0.05,true,AQI=,1969-12-31T23:59:59.999999Z,1970-01-01T00:00:00,1969-12-31,"a""b","[""x"",null]","{""k"":""NaN""}"\n,,,,,,,,,,,,\n',
    )
    expect(decode(renderJsonLines(batch, schema).bytes).split('\n')[0]!).toBe(
      '{"i":-12,"f":0.1,"d":1e+21,"w2":3.0,"n":-0.05,"b":true,"x":"AQI=","t":"1969-12-31T23:59:59.999999Z","w":"1970-01-01T00:00:00","day":"1969-12-31","s":"a\\"b","l":["x",null],"m":{"k":"NaN"}}',
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

  test('of decimals are read exactly, written with their scale, and measured without being written', () => {
    for (const [precision, scale] of [
      [1, 0],
      [9, 2],
      [15, 15],
      [18, 2],
      [18, 0],
      [18, 18],
      [38, 0],
      [38, 20],
      [38, 38],
    ] as const) {
      const fields = parseDdl(`n:Decimal(${precision},${scale}),m:Decimal(${precision},${scale})`)
      const texts = ['0', '-0', '0.0', '']
      for (let i = 0; i < 400; i++) {
        const whole = digits(random.below(precision - scale + 1))
        const fraction = digits(random.below(scale + 1))
        if (whole + fraction !== '')
          texts.push(`${['', '-', '+'][random.below(3)]}${whole}.${fraction}${'0'.repeat(random.below(3))}`)
      }
      const batch = parseCsv(encode(texts.map(text => `${text},\n`).join('')), fields)
      const cells = cellsOf(batch).map(([n]) => n as bigint | null)
      const expected = texts.map(text => (text === '' ? null : (parseScalar(text, fields[0]!.type) as bigint)))
      expect(cells).toEqual(expected)
      const rendered = renderCsv(batch, fields).bytes
      expect(decode(rendered)).toBe(
        expected.map(value => `${value === null ? '' : formatScalar(value, fields[0]!.type)},\n`).join(''),
      )
      expect(csvSize(batch, fields)).toBe(rendered.length)
    }
    for (const text of ['1.234', '1000000000', '1..2', '1.2.3', '--1', '1x', '.', '-'])
      expect(() => parseCsv(encode(`${text},\n`), parseDdl('n:Decimal(9,2),m:Int8'))).toThrow('decimal number')
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
    for (const text of ['.', '-', '-.', '1.2.3', '1,5x'])
      expect(() => parseCsv(encode(`${text},\n`), fields)).toThrow('a number is expected')
  })

  test('with a point are written as each is by itself, whatever stood before it', () => {
    const fields = parseDdl('x:Float64,y:Float64')
    const view = new DataView(new ArrayBuffer(8))
    const rows: number[] = [
      0,
      -0,
      1e-4,
      9.9e-5,
      1e14,
      99_999_999_999_999.9,
      999_999_999_999_999.9,
      1e15,
      0.1 + 0.2,
      Number.NaN,
    ]
    for (let i = 0; i < 20_000; i++) {
      const magnitude = Number(`${digits(1 + random.below(17))}e${random.below(30) - 22}`)
      view.setFloat64(0, random.below(2) === 0 ? magnitude : -magnitude)
      // One beside a short number is none.
      if (random.below(4) === 0) view.setUint32(4, view.getUint32(4) ^ 1)
      rows.push(view.getFloat64(0))
    }
    const cells = rows.map((x, i) => [x, i % 7 === 0 ? null : rows[rows.length - 1 - i]!])
    const batch = batchOf(
      fields.map(({ type }) => type),
      cells,
    )
    const { type } = fields[0]!
    const line = (row: readonly (number | null)[]): string =>
      row.map(x => (x === null ? '' : formatScalar(x, type))).join(',')
    expect(decode(renderCsv(batch, fields).bytes)).toBe(cells.map(row => `${line(row)}\n`).join(''))
    expect(csvSize(batch, fields)).toBe(renderCsv(batch, fields).bytes.length)
  })
})
