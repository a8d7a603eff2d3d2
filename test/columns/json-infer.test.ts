import { describe, expect, test } from 'bun:test'
import type { TextError } from '../../src/columns/errors.ts'
import { parseDdl } from '../../src/columns/schema.ts'
import { jsonRows } from '../../src/columns/text/json.ts'
import { JsonInference } from '../../src/columns/text/json-infer.ts'
import { jsonRowEnd, lastJsonRowEnd } from '../../src/columns/text/json-rows.ts'
import type { DataType } from '../../src/columns/types.ts'
import { seeded } from '../nfs/random.ts'

const encode = (text: string): Uint8Array => new TextEncoder().encode(text)

function nameOf(type: DataType): string {
  if (type.kind === 'struct') return `{${type.fields.map(field => `${field.name} ${nameOf(field.type)}`).join(',')}}`
  if (type.kind === 'array') return `[${nameOf(type.element)}]`
  return type.kind
}

/** The new columns of some lines in a table that has `id`. */
function columnsOf(...pieces: string[]): string[] {
  const inference = new JsonInference(parseDdl('id:Int64'))
  for (const piece of pieces) inference.feed(encode(piece))
  return inference.result().map(({ name, type }) => `${name} ${nameOf(type)}`)
}

function refusal(...pieces: string[]): string {
  try {
    return columnsOf(...pieces).join()
  } catch (error) {
    return `${(error as TextError).code}: ${(error as TextError).message}`
  }
}

describe('keys that a table has no columns for', () => {
  test('become columns in the order in which they come first, of the types that all their values have', () => {
    expect(columnsOf('{"z":1,"id":1}\n{"b":true,"a":"x"}\n', '{"z":2.5,"2":null,"1":"2024-05-06"}\n')).toEqual([
      'z double',
      'b boolean',
      'a string',
      '2 string',
      '1 date',
    ])
    expect(columnsOf('{"t":"2024-05-06T07:08:09Z","n":9007199254740993,"e":12E3}\n{"t":null}\n')).toEqual([
      't timestamp',
      'n long',
      'e double',
    ])
  })

  test('are strings where a string would not be shown again as it is', () => {
    expect(columnsOf('{"a":"5","b":"true","c":"2024-05-06","d":"2024-05-06T07:08:09+01:00","e":""}\n')).toEqual([
      'a string',
      'b string',
      'c date',
      'd string',
      'e string',
    ])
    expect(columnsOf('{"c":"2024-05-06"}\n', '{"c":""}\n')).toEqual(['c string'])
  })

  test('are structs and arrays where their values are', () => {
    expect(columnsOf('{"s":{"x":1,"y":[1,2.5]}}\n{"s":{"z":{"q":"a"}}}\n{"s":null,"l":[]}\n')).toEqual([
      's {x long,y [double],z {q string}}',
      'l [string]',
    ])
  })

  test('are refused where no type takes all their values as they are', () => {
    expect(refusal('{"id":1}\n{"a":1}\n{"a":"x"}\n')).toMatch(/^bad_value: line 3: .*no column a, .*a number in line 2/)
    expect(refusal('{"a":{"b":[1,true]}}\n')).toContain('no column a.b.element')
    expect(refusal('{"a":{}}\n')).toContain('no key in any line')
    expect(refusal('{"a":{"b":1,"B":1}}\n')).toContain('the keys b and B')
    expect(refusal('{"a":123456789012345678901234567890.123}\n')).toContain('more digits')
    expect(refusal('{"a":1\n')).toMatch(/^unterminated: line 1/)
  })
})

describe('the rows of a JSON text', () => {
  test('end at the same places, wherever the text is cut into pieces', () => {
    const { next } = seeded(7)
    const values = [
      '{"a":1}',
      '{ "a" : "}\\"{" }',
      '{\n "ä": [\n  {"b":"\\\\"}\n ]\n}',
      '',
      '  ',
      '{"a":',
      '}',
      '"',
      '{"x":1 "y":2}',
    ]
    for (let round = 0; round < 300; round++) {
      const text = Array.from({ length: 8 }, () => `${values[Math.floor(next() * values.length)]}\n`).join('')
      const whole: string[] = []
      for (let at = 0; at < text.length; ) {
        const { end, isOpen } = jsonRowEnd(text, at)
        if (!isOpen) whole.push(text.slice(at, end))
        at = end
      }
      const bytes = encode(text)
      const found: string[] = []
      let size = 1 + Math.floor(next() * 10)
      for (let at = 0; at < bytes.length; ) {
        const piece = bytes.subarray(at, at + size)
        const length = lastJsonRowEnd(piece)
        if (length === 0 && at + size >= bytes.length) break
        if (length === 0) {
          size *= 2
          continue
        }
        const rows = new TextDecoder().decode(piece.subarray(0, length))
        for (let from = 0; from < rows.length; ) {
          const { end } = jsonRowEnd(rows, from)
          found.push(rows.slice(from, end))
          from = end
        }
        at += length
      }
      expect(found).toEqual(whole)
    }
  })

  test('each are one value, on one line or on several', () => {
    const rows = (text: string): unknown[] =>
      [...jsonRows(encode(text), 1)].map(({ object, line }) => [line, Object.keys(object)])
    expect(rows('{"a":1}\n\n{\n"b":\n{}}\n\ufeff{"c":1,\r\n"d":"}"}')).toEqual([
      [1, ['a']],
      [3, ['b']],
      [6, ['c', 'd']],
    ])
  })
})
