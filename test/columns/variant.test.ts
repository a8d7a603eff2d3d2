import { describe, expect, test } from 'bun:test'
import { ParquetError } from '../../src/columns/errors.ts'
import { readFooter, readRowGroup } from '../../src/columns/parquet/read.ts'
import { jsonOf as jsonOfParts, variantParts } from '../../src/columns/parquet/variant-value.ts'
import { ParquetFileWriter } from '../../src/columns/parquet/write.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { renderCsv } from '../../src/columns/text/csv-render.ts'
import { renderJsonLines } from '../../src/columns/text/json.ts'
import { jsonLinesSize } from '../../src/columns/text/sizes.ts'
import type { Cell, Schema } from '../../src/columns/types.ts'
import { batchOf, cellAt } from '../../src/columns/vectors.ts'
import { messageOf } from '../../src/core/errors.ts'
import { memorySource } from '../helpers/memory-source.ts'
import { decode, Random } from './values.ts'
import {
  type EncodeOptions,
  encodeKeys,
  encodeValue,
  encodeVariant,
  littleEndian,
  type Value,
} from './variant-encoder.ts'

function variantJson(metadata: Uint8Array, value: Uint8Array): string {
  return jsonOfParts(variantParts(metadata, value))
}

const FUZZ_RUNS = Number(process.env['POSIXLAKE_FUZZ_RUNS'] ?? 10_000)

function jsonOf(value: Value, options?: EncodeOptions): string {
  const variant = encodeVariant(value, options)
  return variantJson(variant.metadata, variant.value)
}

function double(value: number): number[] {
  return [...new Uint8Array(new Float64Array([value]).buffer)]
}

/** Primitive values as bytes, and what they are shown as. */
const PRIMITIVES: readonly (readonly [name: string, bytes: readonly number[], json: string])[] = [
  ['null', [0], 'null'],
  ['true', [1 << 2], 'true'],
  ['false', [2 << 2], 'false'],
  ['int8', [3 << 2, 0x80], '-128'],
  ['int16', [4 << 2, ...littleEndian(-300, 2)], '-300'],
  ['int32', [5 << 2, ...littleEndian(-2147483648, 4)], '-2147483648'],
  ['int64 beyond a double', [6 << 2, ...littleEndian(9223372036854775807n, 8)], '9223372036854775807'],
  ['double', [7 << 2, ...double(0.1)], '0.1'],
  ['a whole double', [7 << 2, ...double(3)], '3.0'],
  ['NaN, which JSON has not', [7 << 2, ...double(Number.NaN)], '"NaN"'],
  ['decimal of 4 bytes', [8 << 2, 2, ...littleEndian(-12345, 4)], '-123.45'],
  ['decimal of 8 bytes', [9 << 2, 18, ...littleEndian(1n, 8)], '0.000000000000000001'],
  [
    'decimal of 16 bytes',
    [10 << 2, 2, ...littleEndian(-(10n ** 37n) - 1n, 16)],
    '-100000000000000000000000000000000000.01',
  ],
  ['date', [11 << 2, ...littleEndian(-1, 4)], '"1969-12-31"'],
  ['timestamp', [12 << 2, ...littleEndian(1_700_000_000_123_456n, 8)], '"2023-11-14T22:13:20.123456Z"'],
  ['timestamp without zone', [13 << 2, ...littleEndian(-1n, 8)], '"1969-12-31T23:59:59.999999"'],
  ['float', [14 << 2, ...new Uint8Array(new Float32Array([0.1]).buffer)], '0.1'],
  ['binary', [15 << 2, ...littleEndian(3, 4), 1, 2, 255], '"AQL/"'],
  ['long string', [16 << 2, ...littleEndian(3, 4), 0x22, 0xc3, 0xbc], '"\\"ü"'],
  ['short string', [1 | (1 << 2), 0x61], '"a"'],
  ['time', [17 << 2, ...littleEndian(3_723_000_004n, 8)], '"01:02:03.000004"'],
  ['nanoseconds', [18 << 2, ...littleEndian(1_700_000_000_123_456_789n, 8)], '"2023-11-14T22:13:20.123456789Z"'],
  ['nanoseconds before 1970', [19 << 2, ...littleEndian(-1n, 8)], '"1969-12-31T23:59:59.999999999"'],
  [
    'UUID',
    [20 << 2, ...Buffer.from('f24f9b64-81fa-49d1-b74e-8c09a6e31c56'.replaceAll('-', ''), 'hex')],
    '"f24f9b64-81fa-49d1-b74e-8c09a6e31c56"',
  ],
]

const NESTED: Value = {
  members: [
    ['b', [null, true, 'x', { members: [] }, []]],
    ['a', { members: [['ü "', 9007199254740993n]] }],
    ['𝄞', 'y'.repeat(70)],
    ['\ufffd', false],
  ],
}
const NESTED_JSON = `{"a":{"ü \\"":9007199254740993},"b":[null,true,"x",{},[]],"\ufffd":false,"𝄞":"${'y'.repeat(70)}"}`

describe('a variant', () => {
  test.each(PRIMITIVES)('of %s', (_, raw, json) => {
    expect(jsonOf({ raw })).toBe(json)
  })

  test('of objects and arrays has its keys in the order of their code points, whatever widths its offsets have', () => {
    for (const width of [2, 3, 4])
      for (const large of [false, true]) expect(jsonOf(NESTED, { width, large })).toBe(NESTED_JSON)
  })

  test('that is cut off anywhere is an error with a sentence', () => {
    const { metadata, value } = encodeVariant(NESTED)
    // An array's last items may be cut off unseen only if nothing of them is needed: here all are.
    for (let end = 0; end < value.length; end++)
      expect(() => variantJson(metadata, value.subarray(0, end)), `${end} bytes`).toThrow(/cut off/)
    for (let end = 0; end < metadata.length; end++)
      expect(() => variantJson(metadata.subarray(0, end), value), `${end} bytes`).toThrow(/cut off|UTF-8/)
    for (const [, raw] of PRIMITIVES)
      for (let end = 0; end < raw.length; end++) expect(() => jsonOf({ raw: raw.slice(0, end) })).toThrow(/cut off/)
  })

  test('that says what cannot be is an error with a sentence', () => {
    const of =
      (bytes: readonly number[], keys: readonly string[] = []) =>
      () =>
        variantJson(encodeKeys(keys), Uint8Array.from(bytes))
    expect(of([21 << 2])).toThrow('it has a value of type 21, which is not known')
    expect(of([1 | (2 << 2), 0xc3, 0x28])).toThrow('a text of its value is not UTF-8')
    expect(of([2, 1, 0, 0, 1, 0])).toThrow('it names key 0, and its metadata has 0')
    expect(of([2, 2, 0, 0, 0, 1, 2, 0, 0], ['k'])).toThrow('an object has the key "k" twice')
    expect(of([8 << 2, 10, 0, 0, 0, 0])).toThrow('a decimal has a scale of 10, and 9 digits at most')
    expect(of([17 << 2, ...littleEndian(-1n, 8)])).toThrow('a time of its value is not of one day')
    expect(() => variantJson(Uint8Array.of(2, 0, 0), Uint8Array.of(0))).toThrow('its metadata has version 2')
    let deep: Value = null
    for (let i = 0; i < 600; i++) deep = [deep]
    expect(() => jsonOf(deep)).toThrow('it is nested more than 500 deep')
  })

  test('whose values lie in each other costs no more than its bytes', () => {
    // Each array has two items at one place: 2^40 values in some hundred bytes.
    let bytes: number[] = [0]
    for (let i = 0; i < 40; i++)
      bytes = [
        3 | (1 << 2),
        2,
        ...littleEndian(0, 2),
        ...littleEndian(0, 2),
        ...littleEndian(bytes.length, 2),
        ...bytes,
      ]
    expect(() => variantJson(encodeKeys([]), Uint8Array.from(bytes))).toThrow('its values lie in each other')
  })

  test('that is damaged at random is JSON or an error with a sentence', () => {
    const seed = Number(process.env['POSIXLAKE_FUZZ_SEED'] ?? 20_261_127)
    const random = new Random(seed)
    const originals = [encodeVariant(NESTED), encodeVariant(NESTED, { large: true, width: 4 })]
    for (const [, raw] of PRIMITIVES) originals.push(encodeVariant([{ raw }, { members: [['k', { raw }]] }]))
    for (let run = 0; run < FUZZ_RUNS; run++) {
      const original = random.of(originals)
      const parts = [original.metadata.slice(), original.value.slice()]
      for (let i = random.below(4); i >= 0; i--) {
        const part = random.below(2)
        if (random.below(4) === 0) parts[part] = parts[part]!.subarray(0, random.below(parts[part]!.length + 1))
        else if (parts[part]!.length > 0) parts[part]![random.below(parts[part]!.length)] = random.below(256)
      }
      let json: string
      try {
        json = variantJson(parts[0]!, parts[1]!)
      } catch (error) {
        expect(messageOf(error), `seed ${seed}, run ${run}`).toMatch(/^(?:it|its|an?|the offsets of) .{5,}/)
        continue
      }
      expect(() => JSON.parse(json), `seed ${seed}, run ${run}: ${json}`).not.toThrow()
    }
  })
})

/** The variants of a file whose column `v` is stored as these cells of this type. */
async function stored(type: string, cells: readonly Cell[], ddl?: Schema): Promise<(string | null)[]> {
  const schema = parseDdl(`v:${type}`)
  const parts: Uint8Array[] = []
  const writer = new ParquetFileWriter({ write: async bytes => void parts.push(bytes.slice()) }, schema)
  await writer.write(
    batchOf(
      schema.map(field => field.type),
      cells.map(cell => [cell]),
    ),
  )
  await writer.finish()
  const source = memorySource('test.parquet', Buffer.concat(parts))
  const variant: Schema = ddl ?? [{ name: 'v', type: { kind: 'variant' }, nullable: true, metadata: {} }]
  const { vectors } = await readRowGroup(source, await readFooter(source), 0, variant)
  return cells.map((_, row) => cellAt(vectors[0]!, row) as string | null)
}

const KEYS = ['a', 'b', 'c', 'd', 'id']
const METADATA = encodeKeys(KEYS)
const binary = (value: Value): Uint8Array => Uint8Array.from(encodeValue(value, [...KEYS]))

describe('a variant column of a file', () => {
  test('has NULL for no variant, and null for a variant that is null', async () => {
    const cells: Cell[] = [[METADATA, binary(null)], null, [METADATA, binary([1n])]]
    expect(await stored('struct<metadata:binary,value:binary>', cells)).toEqual(['null', null, '[1]'])
  })

  test('may have its group in any order, and nested in other values', async () => {
    expect(await stored('struct<value:binary,metadata:binary>', [[binary('x'), METADATA]])).toEqual(['"x"'])
    const ddl: Schema = [
      {
        name: 'v',
        type: { kind: 'array', element: { kind: 'variant' }, containsNull: true },
        nullable: true,
        metadata: {},
      },
    ]
    const [items] = await stored(
      'array<struct<metadata:binary,value:binary>>',
      [[[METADATA, binary(true)], null, [METADATA, binary([])]]],
      ddl,
    )
    expect(items as unknown).toEqual(['true', null, '[]'])
  })

  test.each([
    ['bigint', 9007199254740993n, '9007199254740993'],
    ['decimal(20,2)', -12345n, '-123.45'],
    ['timestamp', 1_700_000_000_123_456n, '"2023-11-14T22:13:20.123456Z"'],
    ['date', 19_000, '"2022-01-08"'],
    ['binary', Uint8Array.of(1, 2, 255), '"AQL/"'],
    ['string', 'ü"', '"ü\\""'],
    ['boolean', false, 'false'],
  ] as const)('that is shredded as %s', async (type, typed, json) => {
    const cells: Cell[] = [
      [METADATA, null, typed],
      [METADATA, binary({ members: [['b', 1n]] }), null],
      [METADATA, null, null],
      null,
    ]
    expect(await stored(`struct<metadata:binary,value:binary,typed_value:${type}>`, cells)).toEqual([
      json,
      '{"b":1}',
      'null',
      null,
    ])
  })

  test('that is shredded as an object is put together of its columns and the rest', async () => {
    const type =
      'struct<metadata:binary,value:binary,typed_value:struct<a:struct<value:binary,typed_value:bigint>,c:struct<value:binary,typed_value:struct<d:struct<value:binary,typed_value:string>>>>>'
    const cells: Cell[] = [
      // All of it in columns.
      [
        METADATA,
        null,
        [
          [null, 1n],
          [null, [[null, 'x']]],
        ],
      ],
      // `a` is no number, `c` is missing, `b` has no column.
      [
        METADATA,
        binary({ members: [['b', 2n]] }),
        [
          [binary('text'), null],
          [null, null],
        ],
      ],
      // `c` has a member without a column.
      [
        METADATA,
        null,
        [
          [null, null],
          [binary({ members: [['b', true]] }), [[null, 'y']]],
        ],
      ],
      // No object.
      [METADATA, binary(5n), null],
      // An object without members.
      [
        METADATA,
        null,
        [
          [null, null],
          [null, null],
        ],
      ],
    ]
    expect(await stored(type, cells)).toEqual([
      '{"a":1,"c":{"d":"x"}}',
      '{"a":"text","b":2}',
      '{"c":{"b":true,"d":"y"}}',
      '5',
      '{}',
    ])
  })

  test('that is shredded as an array is put together of its elements', async () => {
    const type = 'struct<metadata:binary,value:binary,typed_value:array<struct<value:binary,typed_value:bigint>>>'
    const cells: Cell[] = [
      [
        METADATA,
        null,
        [
          [null, 1n],
          [binary('two'), null],
          [null, null],
        ],
      ],
      [METADATA, null, []],
      [METADATA, binary([null]), null],
    ]
    expect(await stored(type, cells)).toEqual(['[1,"two",null]', '[]', '[null]'])
  })

  test('that is damaged is an error that names file, column, row and fault', async () => {
    const failure = await stored('struct<metadata:binary,value:binary>', [
      [METADATA, binary(1n)],
      [METADATA, binary(1n).subarray(0, 5)],
    ]).then(
      () => undefined,
      (error: unknown) => error,
    )
    expect(failure).toBeInstanceOf(ParquetError)
    expect(messageOf(failure)).toBe(
      'test.parquet: column v of row group 0 cannot be read: the variant of row 1 is damaged: its value is cut off at byte 5',
    )
    for (const [type, cell, what] of [
      [
        'struct<metadata:binary,value:string>',
        [METADATA, ''],
        'the file has a group of metadata, value where the table has VARIANT',
      ],
      ['struct<value:binary>', [METADATA], 'the file has a group of value where the table has VARIANT'],
      ['bigint', 1n, 'the file has INT_64 where the table has VARIANT'],
      [
        'struct<metadata:binary,value:binary,typed_value:struct<a:bigint>>',
        [METADATA, null, [1n]],
        'a part of a variant is not stored as value and typed_value',
      ],
      [
        'struct<metadata:binary,value:binary,typed_value:bigint>',
        [METADATA, binary(1n), 1n],
        'the variant of row 0 is damaged: a part of it has two values',
      ],
    ] as const)
      expect(stored(type, [cell as Cell]), type).rejects.toThrow(what)
  })

  test('is JSON in the views: a field of CSV, a value of JSON lines', () => {
    const schema: Schema = [{ name: 'v', type: { kind: 'variant' }, nullable: true, metadata: {} }]
    const batch = batchOf([{ kind: 'variant' }], [['{"a":1}'], [null], ['"x"'], ['null']])
    expect(decode(renderCsv(batch, schema).bytes)).toBe('"{""a"":1}"\n\n"""x"""\nnull\n')
    const lines = renderJsonLines(batch, schema).bytes
    expect(decode(lines)).toBe('{"v":{"a":1}}\n{"v":null}\n{"v":"x"}\n{"v":null}\n')
    expect(jsonLinesSize(batch, schema)).toBe(lines.length)
  })
})
