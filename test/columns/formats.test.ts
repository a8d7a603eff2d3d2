import { describe, expect, test } from 'bun:test'
import { parseDdl } from '../../src/columns/schema.ts'
import { inputOf, json, jsonLines, textFormat, textFormats } from '../../src/columns/text/formats/index.ts'
import { formatContract } from './format-contract.ts'
import { tabbed } from './toy-format.ts'
import { decode, randomBatch } from './values.ts'

for (const format of [...textFormats, tabbed]) describe(`the text form ${format.name}`, () => formatContract(format))

describe('the list of text forms', () => {
  test('gives each by its name, and has no other', () => {
    expect(textFormats.map(({ name }) => textFormat(name))).toEqual([...textFormats])
    expect(() => textFormat(tabbed.name)).toThrow('there is no text format tabbed')
  })

  test('has one that is only shown: the array, whose objects are the JSON lines', () => {
    expect(() => inputOf(json)).toThrow('read-only')
    const schema = parseDdl('id:Int64,text:String')
    const batch = randomBatch(schema, 20, 31)
    const { bytes } = json.render(batch, schema)
    bytes[0] = json.frame!.open
    const lines = decode(jsonLines.render(batch, schema).bytes).trimEnd().split('\n')
    const array = JSON.parse(decode(Buffer.concat([bytes, json.frame!.end]))) as unknown[]
    expect(array).toEqual(lines.map(line => JSON.parse(line) as unknown))
    expect(JSON.parse(decode(json.frame!.empty))).toEqual([])
  })
})
