import { describe, expect, test } from 'bun:test'
import { localStore } from '../../src/storage/local.ts'
import { foreignTable } from '../table/fixture.ts'
import { codeOf, type ServedTable, serveMade } from './served.ts'

const IDENTITY = { 'delta.identity.start': 1, 'delta.identity.step': 1, 'delta.identity.allowExplicitInsert': false }
const HEADER = 'id,n,twice,state\n'

interface Options {
  readonly configuration?: object
  readonly identity?: object
}

/** A table by another writer: numbered rows, `twice` follows from `n`, which has to be below 100. */
function served({ configuration = {}, identity = IDENTITY }: Options = {}): Promise<ServedTable> {
  return serveMade(directory =>
    foreignTable(localStore(directory), {
      protocol: {
        minReaderVersion: 3,
        minWriterVersion: 7,
        readerFeatures: ['deletionVectors'],
        writerFeatures: [
          'deletionVectors',
          'checkConstraints',
          'generatedColumns',
          'identityColumns',
          'allowColumnDefaults',
        ],
      },
      metaData: { configuration: { 'delta.constraints.small': 'n < 100', ...configuration } },
      schema: {
        type: 'struct',
        fields: [
          { name: 'id', type: 'long', nullable: true, metadata: identity },
          { name: 'n', type: 'integer', nullable: true, metadata: {} },
          { name: 'twice', type: 'integer', nullable: false, metadata: { 'delta.generationExpression': 'n * 2' } },
          { name: 'state', type: 'string', nullable: true, metadata: { CURRENT_DEFAULT: "concat('n', 'ew')" } },
        ],
      },
    }),
  )
}

async function append(s: ServedTable, rows: string): Promise<void> {
  const csv = await s.csv()
  await s.client.write(csv, (await s.client.getattr(csv)).size, rows)
}

/** As `sed -i` does. */
async function replace(s: ServedTable, text: string): Promise<void> {
  const { client, data } = s
  await s.read()
  await client.create(data, 'sedX')
  await client.write(await client.walk(data, 'sedX'), 0n, text)
  await client.rename(data, 'sedX', data, 'data.csv').catch(async (error: unknown) => {
    await client.remove(data, 'sedX')
    throw error
  })
}

describe('an append through the mount', () => {
  test('gets what the table gives where its fields are empty, and the view shows it', async () => {
    await using s = await served()
    await append(s, ',1,,a\n,2,4,"b"\n')
    expect(await s.read()).toBe(`${HEADER}1,1,2,a\n2,2,4,b\n`)
    await append(s, ',3,,c\n')
    expect(await s.read()).toBe(`${HEADER}1,1,2,a\n2,2,4,b\n3,3,6,c\n`)
    expect(await s.read('data/data.jsonl')).toContain('{"id":3,"n":3,"twice":6,"state":"c"}')
    const jsonl = await s.client.walk(s.data, 'data.jsonl')
    await s.client.write(jsonl, (await s.client.getattr(jsonl)).size, '{"n":4}\n')
    expect(await s.read()).toEndWith('\n4,4,8,new\n')
    expect(await s.read('.errors')).toBe('')
  })

  test('with a header of its own gets what its rows do not name', async () => {
    await using s = await served()
    await append(s, ',1,,a\n')
    await append(s, 'n\n7\n8\n')
    expect(await s.read()).toBe(`${HEADER}1,1,2,a\n2,7,14,new\n3,8,16,new\n`)
  })

  test('that breaks a rule is refused in the reply, and .errors names the rule and the row', async () => {
    await using s = await served()
    await append(s, ',1,,a\n')
    for (const [rows, words] of [
      [
        ',2,,b\n,100,,c\n',
        'row 2, {"id":3,"n":100,"twice":200,"state":"c"}: it breaks the CHECK constraint small: n < 100',
      ],
      [',2,5,b\n', 'the generated column twice is 5, and n * 2 is 4; leave it empty'],
      ['7,2,,b\n', 'the table itself numbers the rows (the identity column id); leave it empty'],
      [',2147483647,,b\n', 'the value of the generated column twice (n * 2) cannot be worked out'],
    ] as const) {
      await s.client.setattr(await s.client.walk(s.root, '.errors'), { size: 0n })
      expect([rows, await codeOf(append(s, rows))]).toEqual([rows, 'EINVAL'])
      expect(await s.read('.errors')).toContain(words)
      expect(await s.read()).toBe(`${HEADER}1,1,2,a\n`)
    }
    await append(s, ',2,,b\n')
    expect(await s.read()).toBe(`${HEADER}1,1,2,a\n2,2,4,b\n`)
  })
})

for (const vectors of ['true', 'false']) {
  describe(`an edit through the mount (deletion vectors: ${vectors})`, () => {
    const configuration = { 'delta.enableDeletionVectors': vectors }

    test('that changes the base of a generated column gets its new value, and rows keep their numbers', async () => {
      await using s = await served({ configuration })
      await append(s, ',1,,a\n,2,,b\n,3,,c\n')
      await replace(s, `${HEADER}1,1,2,a\n2,20,4,b\n3,3,6,C\n`)
      expect(await s.read()).toBe(`${HEADER}1,1,2,a\n2,20,40,b\n3,3,6,C\n`)
      await replace(s, `${HEADER}1,1,2,a\n2,20,40,b\n3,3,6,C\n,9,,d\n`)
      expect(await s.read()).toBe(`${HEADER}1,1,2,a\n2,20,40,b\n3,3,6,C\n4,9,18,d\n`)
      expect(await s.commits()).toBe(3)
    })

    test('that breaks a rule is refused, and nothing has changed', async () => {
      await using s = await served({ configuration })
      await append(s, ',1,,a\n,2,,b\n')
      const before = `${HEADER}1,1,2,a\n2,2,4,b\n`
      for (const [text, words] of [
        [`${HEADER}1,1,2,a\n2,200,4,b\n`, 'it breaks the CHECK constraint small'],
        [`${HEADER}1,1,2,a\n2,2,5,b\n`, 'the generated column twice is 5'],
        [`${HEADER}1,1,2,a\n7,2,4,b\n`, 'the table itself numbers the rows'],
        [`${before}2,2,4,b\n`, 'the table itself numbers the rows'],
      ] as const) {
        await s.client.setattr(await s.client.walk(s.root, '.errors'), { size: 0n })
        expect([text, await codeOf(replace(s, text))]).toEqual([text, 'EINVAL'])
        expect(await s.read('.errors')).toContain(words)
        expect(await s.read()).toBe(before)
      }
    })
  })
}

test('rows that several servers append at once never have one number', async () => {
  await using s = await served()
  const { table } = s.server.lake
  const sql = async (): Promise<void> => {
    for (let i = 0; i < 5; i++) await s.elsewhere('INSERT INTO data (n) VALUES (1)')
  }
  const echo = async (): Promise<void> => {
    for (let i = 0; i < 10; i++) await append(s, ',2,,\n')
  }
  await Promise.all([sql(), echo()])
  await table.refresh()
  const ids = (await s.read())
    .trimEnd()
    .split('\n')
    .slice(1)
    .map(line => Number(line.split(',')[0]))
  expect(ids.sort((a, b) => a - b)).toEqual(Array.from({ length: 15 }, (_, i) => i + 1))
})

test('a whole file without what the table gives is taken, for nothing is lost', async () => {
  await using s = await served({ identity: {} })
  await append(s, '5,1,,a\n')
  await replace(s, 'id,n,state\n5,1,a\n6,3,b\n')
  expect(await s.read()).toBe(`${HEADER}5,1,2,a\n6,3,6,b\n`)
})
