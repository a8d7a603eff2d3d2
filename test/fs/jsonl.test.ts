import { describe, expect, test } from 'bun:test'
import type { Handle } from '../nfs/client.ts'
import { codeOf, HELD, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String'
const ROWS = '1,Alice\n2,Bob\n3,Carol\n'
const HEADER = 'id,name\n'
const LINES = '{"id":1,"name":"Alice"}\n{"id":2,"name":"Bob"}\n{"id":3,"name":"Carol"}\n'
const DAVE = '{"id":4,"name":"Dave"}\n'

const jsonl = (s: ServedTable): Promise<Handle> => s.client.walk(s.data, 'data.jsonl')

/** What `>`, cp, tee and open(..., 'w') send for a short text. */
async function overwrite(s: ServedTable, text: string, file?: Handle): Promise<void> {
  const handle = file ?? (await jsonl(s))
  await s.client.setattr(handle, { size: 0n })
  if (text !== '') await s.client.write(handle, 0n, text)
}

/** Both views show these rows, in this order, and so many commits were made. */
async function expectRows(s: ServedTable, rows: string, commits: number): Promise<void> {
  const lines = rows
    .split('\n')
    .slice(0, -1)
    .map(row => row.split(','))
    .map(([id, name]) => `{"id":${id},"name":${name === '' ? 'null' : JSON.stringify(name)}}\n`)
  expect(await s.read('data/data.jsonl')).toBe(lines.join(''))
  expect(await s.read()).toBe(HEADER + rows)
  expect(await s.commits()).toBe(commits)
  expect(s.server.held()).toEqual([])
}

describe('a save of data.jsonl is one commit, with each line at its place in both views', () => {
  test('an append', async () => {
    await using s = await serveNew(DDL, ROWS)
    const file = await jsonl(s)
    await s.client.write(file, (await s.client.getattr(file)).size, DAVE)
    await expectRows(s, `${ROWS}4,Dave\n`, 1)
  })

  test('an overwrite that changes, inserts and deletes rows', async () => {
    await using s = await serveNew(DDL, ROWS)
    await overwrite(s, LINES.replace('"Bob"', '"Bert"'))
    await expectRows(s, ROWS.replace('Bob', 'Bert'), 1)
    await overwrite(s, `{"id":1,"name":"Alice"}\n{"id":9,"name":"New"}\n{"id":3,"name":"Carol"}\n${DAVE}`)
    await expectRows(s, '1,Alice\n9,New\n3,Carol\n4,Dave\n', 2)
  })

  test('an overwrite in unstable pieces, in any order', async () => {
    await using s = await serveNew(DDL, ROWS)
    const file = await jsonl(s)
    const text = LINES.replace('Carol', 'Caroline') + DAVE
    await s.client.setattr(file, { size: 0n })
    await s.client.write(file, 30n, text.slice(30), 'UNSTABLE')
    await s.client.write(file, 0n, text.slice(0, 30), 'UNSTABLE')
    await s.client.commit(file)
    await expectRows(s, '1,Alice\n2,Bob\n3,Caroline\n4,Dave\n', 1)
  })

  test('a patch in place, of the whole page as clients send it (dd conv=notrunc, Python r+)', async () => {
    await using s = await serveNew(DDL, ROWS)
    expect(await s.read('data/data.jsonl')).toBe(LINES)
    await s.client.write(await jsonl(s), 0n, LINES.replace('Carol', 'Karol'))
    await expectRows(s, ROWS.replace('Carol', 'Karol'), 1)
  })

  test('a file renamed onto it (sed -i, mv, rsync)', async () => {
    await using s = await serveNew(DDL, ROWS)
    const { handle } = await s.client.create(s.data, 'sedAbCdEf')
    await s.client.write(handle, 0n, LINES.replace('{"id":1,"name":"Alice"}\n', ''))
    await s.client.rename(s.data, 'sedAbCdEf', s.data, 'data.jsonl')
    await expectRows(s, '2,Bob\n3,Carol\n', 1)
    expect(await s.names()).toEqual(['data.csv', 'data.json', 'data.jsonl'])
  })

  test('vim: renamed to a backup, made anew, and the backup removed', async () => {
    await using s = await serveNew(DDL, ROWS)
    await s.client.rename(s.data, 'data.jsonl', s.data, 'data.jsonl~')
    expect(await s.names()).toEqual(['data.csv', 'data.json', 'data.jsonl~'])
    expect(await s.read()).toBe(HEADER + ROWS)
    const { handle } = await s.client.create(s.data, 'data.jsonl')
    await s.client.write(handle, 0n, LINES.replace('Bob', 'Bert'))
    await s.client.remove(s.data, 'data.jsonl~')
    await expectRows(s, ROWS.replace('Bob', 'Bert'), 1)
  })

  test('vim, whose save was refused: the backup comes back', async () => {
    await using s = await serveNew(DDL, ROWS)
    await s.client.rename(s.data, 'data.jsonl', s.data, 'data.jsonl~')
    const { handle } = await s.client.create(s.data, 'data.jsonl')
    expect(await codeOf(s.client.write(handle, 0n, LINES.replace('"Bob"', '"Bob')))).toBe('EINVAL')
    await s.client.remove(s.data, 'data.jsonl')
    await s.client.rename(s.data, 'data.jsonl~', s.data, 'data.jsonl')
    await expectRows(s, ROWS, 0)
    expect(await s.read('.errors')).toContain('data.jsonl: line 2: this is not JSON')
  })

  test('perl -pi: renamed away by the client itself, then replaced', async () => {
    await using s = await serveNew(DDL, ROWS)
    const { handle } = await s.client.create(s.data, 'XXabcdef')
    await s.client.write(handle, 0n, LINES.replace('Alice', 'Alicia'))
    await s.client.rename(s.data, 'data.jsonl', s.data, '.nfs0001')
    await s.client.rename(s.data, 'XXabcdef', s.data, 'data.jsonl')
    await s.client.remove(s.data, '.nfs0001')
    await expectRows(s, ROWS.replace('Alice', 'Alicia'), 1)
  })

  test('mv away: it is back a moment later, and the other name holds a copy', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, awayMs: 1 })
    await s.client.rename(s.data, 'data.jsonl', s.root, 'copy')
    await s.server.settle()
    await expectRows(s, ROWS, 0)
    expect(await s.read('copy')).toBe(LINES)
  })

  test('rm deletes all rows', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, removedMs: 1 })
    await s.client.remove(s.data, 'data.jsonl')
    await s.server.settle()
    await expectRows(s, '', 1)
  })

  test('mv from another file system: removed, made anew, one save', async () => {
    await using s = await serveNew(DDL, ROWS)
    await s.client.remove(s.data, 'data.jsonl')
    const { handle } = await s.client.create(s.data, 'data.jsonl', { kind: 'EXCLUSIVE', value: 7n })
    await s.client.write(handle, 0n, LINES + DAVE)
    await expectRows(s, `${ROWS}4,Dave\n`, 1)
  })

  test('truncating it deletes all rows, and none is an empty commit', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, truncatedMs: 1 })
    await overwrite(s, '')
    await s.server.settle()
    await expectRows(s, '', 1)
    await overwrite(s, '')
    await s.client.write(await jsonl(s), 0n, '\n \n')
    await s.server.settle()
    await expectRows(s, '', 1)
  })

  test('a key that is new adds a column to both views', async () => {
    await using s = await serveNew(DDL, ROWS)
    await overwrite(s, LINES.replace('"Bob"', '"Bob","age":25'))
    expect(await s.read()).toBe('id,name,age\n1,Alice,\n2,Bob,25\n3,Carol,\n')
    expect(await s.read('schema.sql')).toContain('age BIGINT')
    expect(await s.commits()).toBe(1)
  })
})

describe('what cannot be taken by data.jsonl', () => {
  test('is refused in the reply, with the line, and the table stays as it was', async () => {
    await using s = await serveNew(DDL, ROWS)
    for (const [bad, sentence] of [
      ['{"id":"x","name":"Y"}\n', 'data.jsonl: line 4, column id'],
      ['{"id":5,"name":"E"\n{"id":6}\n', 'data.jsonl: line 4: this is not JSON'],
      ['5,Eve\n', 'data.jsonl: line 4: '],
      ['{"id":5,"Name":"E"}\n', 'data.jsonl: the key Name differs from name'],
    ] as const) {
      const file = await jsonl(s)
      expect(await codeOf(s.client.write(file, (await s.client.getattr(file)).size, bad))).toBe('EINVAL')
      expect(await s.read('.errors')).toContain(sentence)
    }
    const file = await jsonl(s)
    await s.client.setattr(file, { size: 0n })
    expect(await codeOf(s.client.write(file, 0n, '{"id":1}\n{"id":2}\n{"id":3}\n'))).toBe('EINVAL')
    expect(await s.read('.errors')).toContain('data.jsonl: no line has the key "name", which has values')
    await expectRows(s, ROWS, 0)
  })

  test('is refused by the rename of a file that holds it, and both names are as before', async () => {
    await using s = await serveNew(DDL, ROWS)
    const { handle } = await s.client.create(s.data, 'temp')
    await s.client.write(handle, 0n, `[${LINES.trimEnd().replaceAll('\n', ',\n')}]\n`)
    expect(await codeOf(s.client.rename(s.data, 'temp', s.data, 'data.jsonl'))).toBe('EINVAL')
    expect(await s.read('.errors')).toContain('line 1: a row is one JSON object, and this is an array')
    expect(await s.names()).toContain('temp')
    await expectRows(s, ROWS, 0)
  })

  test('is a version of another view', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, awayMs: 1 })
    await s.client.rename(s.data, 'data.csv', s.data, 'old')
    await s.server.settle()
    expect(await codeOf(s.client.rename(s.data, 'old', s.data, 'data.jsonl'))).toBe('EINVAL')
    expect(await codeOf(s.client.rename(s.data, 'data.csv', s.data, 'data.jsonl'))).toBe('EACCES')
    await expectRows(s, ROWS, 0)
    await s.client.rename(s.data, 'old', s.data, 'data.csv')
    await expectRows(s, ROWS, 0)
  })

  test('is set aside if its program was told that it is written', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, incompleteMs: 1 })
    const file = await jsonl(s)
    await s.client.write(file, (await s.client.getattr(file)).size, '{"id":4,')
    await s.server.settle()
    const [aside] = (await s.names()).filter(name => name.startsWith('data.jsonl.rejected-'))
    expect(await s.read(`data/${aside}`)).toBe(`${LINES}{"id":4,`)
    expect(await s.read('.errors')).toContain(`set aside as data/${aside}`)
    await expectRows(s, ROWS, 0)
  })
})

describe('two saves under way through the two views at once', () => {
  /** Both have begun; each ends when its function is called. */
  const begun = async (
    s: ServedTable,
    texts: { csv: string; jsonl: string },
  ): Promise<{ endCsv: () => Promise<void>; endJsonl: () => Promise<void> }> => {
    const lines = await jsonl(s)
    await s.client.setattr(lines, { size: 0n })
    await s.client.write(lines, 0n, texts.jsonl.slice(0, 10), 'UNSTABLE')
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, texts.csv.slice(0, 10), 'UNSTABLE')
    return {
      endCsv: async () => {
        await s.client.write(csv, 10n, texts.csv.slice(10), 'UNSTABLE')
        await s.client.commit(csv)
      },
      endJsonl: async () => {
        await s.client.write(lines, 10n, texts.jsonl.slice(10), 'UNSTABLE')
        await s.client.commit(lines)
      },
    }
  }
  const changed = {
    csv: `${HEADER}1,Alicia\n2,Bob\n3,Carol\n5,Csv\n`,
    jsonl: LINES.replace('Carol', 'Caroline') + DAVE,
  }

  test('keep what each of them changed, data.csv first', async () => {
    await using s = await serveNew(DDL, ROWS)
    const { endCsv, endJsonl } = await begun(s, changed)
    await endCsv()
    expect(await s.commits()).toBe(1)
    await endJsonl()
    await expectRows(s, '1,Alicia\n2,Bob\n3,Caroline\n4,Dave\n5,Csv\n', 2)
  })

  test('keep what each of them changed, data.jsonl first', async () => {
    await using s = await serveNew(DDL, ROWS)
    const { endCsv, endJsonl } = await begun(s, changed)
    await endJsonl()
    expect(await s.commits()).toBe(1)
    await endCsv()
    await expectRows(s, '1,Alicia\n2,Bob\n3,Caroline\n4,Dave\n5,Csv\n', 2)
  })

  test('that change the same row: the second is refused by a sentence', async () => {
    await using s = await serveNew(DDL, ROWS)
    const { endCsv, endJsonl } = await begun(s, {
      csv: HEADER + ROWS.replace('Bob', 'Bert'),
      jsonl: LINES.replace('Bob', 'Bill'),
    })
    await endCsv()
    expect(await codeOf(endJsonl())).toBe('EIO')
    expect(await s.read('.errors')).toContain('data.jsonl: row 1 of ')
    await expectRows(s, ROWS.replace('Bob', 'Bert'), 1)
  })
})

describe('after a restart', () => {
  test('a save of data.jsonl that was under way goes on, and is one commit', async () => {
    const first = await serveNew(DDL, ROWS)
    const file = await jsonl(first)
    await first.client.setattr(file, { size: 0n })
    await first.client.write(file, 0n, LINES.slice(0, 20), 'UNSTABLE')
    await using s = await first.killed()
    await s.client.write(file, 20n, `${LINES.slice(20)}${DAVE}`, 'UNSTABLE')
    await s.client.commit(file)
    await expectRows(s, `${ROWS}4,Dave\n`, 1)
  })

  test('data.jsonl that was renamed to a backup takes the new file', async () => {
    const first = await serveNew(DDL, ROWS)
    await first.client.rename(first.data, 'data.jsonl', first.data, 'data.jsonl~')
    await using s = await first.killed()
    const { handle } = await s.client.create(s.data, 'data.jsonl')
    await s.client.write(handle, 0n, LINES.replace('Bob', 'Bert'))
    await s.client.remove(s.data, 'data.jsonl~')
    await expectRows(s, ROWS.replace('Bob', 'Bert'), 1)
  })
})
