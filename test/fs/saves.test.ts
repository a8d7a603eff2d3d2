import { describe, expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Handle, NfsClient } from '../nfs/client.ts'
import { codeOf, HELD, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String'
const HEADER = 'id,name\n'
const ROWS = '1,Alice\n2,Bob\n3,Carol\n'

/** `n` rows of exactly 16 bytes each, so that a number of them fills pages. */
function wideRows(from: number, n: number): string {
  return Array.from({ length: n }, (_, i) => `${1_000_000 + from + i},abcdefg\n`).join('')
}

/*
 * The calls are those that kernels send (SETATTR of size 0 for O_TRUNC, unstable WRITEs with a COMMIT for close and for
 * memory pressure, a stable WRITE for a small file), at moments that a real client cannot be brought to reliably.
 */
describe('a save whose client writes pages back before it is over (memory pressure)', () => {
  test('is one commit, and no table with rows missing is ever there', async () => {
    await using s = await serveNew(DDL, wideRows(0, 1024))
    const text = HEADER + wideRows(5, 1024)
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    for (const [start, end] of [
      [0, 4096],
      [4096, 12288],
      [12288, text.length],
    ] as const) {
      await s.client.write(csv, BigInt(start), text.slice(start, end), 'UNSTABLE')
      await s.client.commit(csv)
      if (end !== text.length) expect(await s.commits()).toBe(0)
    }
    expect(await s.commits()).toBe(1)
    expect(await s.read()).toBe(text)
  })

  test('the same where the first piece ends with a row', async () => {
    await using s = await serveNew(DDL, wideRows(0, 100))
    const text = HEADER + wideRows(5, 100)
    const csv = await s.csv()
    const middle = HEADER.length + 16 * 40
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, text.slice(0, middle), 'UNSTABLE')
    await s.client.commit(csv)
    expect(await s.commits()).toBe(0)
    expect(s.server.held().join()).toContain('fewer rows than before')
    await s.client.write(csv, BigInt(middle), text.slice(middle), 'UNSTABLE')
    await s.client.commit(csv)
    expect(await s.commits()).toBe(1)
    expect(await s.read()).toBe(text)
  })

  test('pages may come in any order', async () => {
    await using s = await serveNew(DDL, wideRows(0, 1024))
    const text = HEADER + wideRows(9, 1024)
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 8192n, text.slice(8192), 'UNSTABLE')
    await s.client.commit(csv)
    await s.client.write(csv, 0n, text.slice(0, 4096), 'UNSTABLE')
    await s.client.commit(csv)
    expect(await s.commits()).toBe(0)
    await s.client.write(csv, 4096n, text.slice(4096, 8192), 'UNSTABLE')
    await s.client.commit(csv)
    expect(await s.commits()).toBe(1)
    expect(await s.read()).toBe(text)
  })

  test('a single page may be written stably in between', async () => {
    await using s = await serveNew(DDL, wideRows(0, 1024))
    const text = HEADER + wideRows(9, 1024)
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, text.slice(0, 4096), 'UNSTABLE')
    const middle = HEADER.length + 16 * 600
    await s.client.write(csv, 4096n, text.slice(4096, middle), 'FILE_SYNC')
    expect(await s.commits()).toBe(0)
    await s.client.write(csv, BigInt(middle), text.slice(middle), 'UNSTABLE')
    await s.client.commit(csv)
    expect(await s.commits()).toBe(1)
    expect(await s.read()).toBe(text)
  })

  test('a COMMIT that is followed by a WRITE at once is no end of a save', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, quietMs: 200 })
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, `${HEADER}1,Alice\n2,Bob\n3,Carol\n4,D\n`, 'UNSTABLE')
    const committed = s.client.commit(csv)
    await s.client.write(csv, BigInt(HEADER.length + ROWS.length), '4,Dave\n5,Eve\n', 'UNSTABLE')
    await committed
    await s.client.commit(csv)
    expect(await s.commits()).toBe(1)
    expect(await s.read()).toBe(`${HEADER}${ROWS}4,Dave\n5,Eve\n`)
  })
})

describe('a save with fewer rows than before that ends with the last one', () => {
  const pieces: readonly (readonly [string, string, string])[] = [
    ['is held if rows that are the same stand at the end', '1,a\n2,b\n2,b\n', '1,a\n2,b\n'],
    ['is held if the rows at the end repeat', '1,a\n2,b\n3,c\n4,d\n3,c\n4,d\n', '1,a\n2,b\n3,c\n4,d\n'],
    ['is held if it has not half of the rows', '1,a\n2,b\n3,c\n', '3,c\n'],
    ['is held if its rows changed places', '1,a\n2,b\n3,c\n4,d\n5,e\n', '2,b\n1,a\n4,d\n5,e\n'],
  ]
  for (const [behaviour, before, piece] of pieces) {
    test(behaviour, async () => {
      await using s = await serveNew(DDL, before)
      const csv = await s.csv()
      await s.client.setattr(csv, { size: 0n })
      await s.client.write(csv, 0n, HEADER + piece)
      expect(await s.commits()).toBe(0)
      expect(s.server.held().join()).toContain('fewer rows than before')
      await s.client.write(csv, BigInt(HEADER.length + piece.length), '7,g\n8,h\n9,i\n')
      expect(await s.commits()).toBe(1)
    })
  }
})

describe('a WRITE while a COMMIT is under way', () => {
  test('ends the save if it is stable: its client has nothing more to send', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, quietMs: 200 })
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, `${HEADER}1,Alice\n2,Bob\n3,Ca`, 'UNSTABLE')
    const committed = s.client.commit(csv)
    await s.client.getattr(csv)
    await s.client.write(csv, BigInt(HEADER.length), `${ROWS}4,Dave\n`)
    expect(await s.commits()).toBe(1)
    await committed
    expect(s.server.held()).toEqual([])
    expect(await s.read()).toBe(`${HEADER}${ROWS}4,Dave\n`)
  })

  test('a file renamed onto data.csv meanwhile does not end the save', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, quietMs: 200 })
    const { handle } = await s.client.create(s.data, 'temp')
    await s.client.write(handle, 0n, `${HEADER}${ROWS}4,Dave\n`)
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, `${HEADER}1,Alice\n2,Bob\n3,Ca`, 'UNSTABLE')
    const committed = s.client.commit(csv)
    await s.client.getattr(csv)
    await s.client.rename(s.data, 'temp', s.data, 'data.csv')
    await committed
    expect(await s.read()).toBe(`${HEADER}${ROWS}4,Dave\n`)
    expect(await s.commits()).toBe(1)
  })
})

describe('saves that follow each other at once', () => {
  const save = async (s: ServedTable, text: string): Promise<void> => {
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    if (text !== '') await s.client.write(csv, 0n, text)
  }

  test('are a commit each, though the first has fewer rows than before and is held', async () => {
    await using s = await serveNew(DDL, ROWS)
    await save(s, `${HEADER}1,Alice\n2,Bob\n`)
    expect(await s.commits()).toBe(0)
    await save(s, `${HEADER}1,Alice\n2,Bobby\n`)
    expect(await s.commits()).toBe(2)
    expect(await s.read()).toBe(`${HEADER}1,Alice\n2,Bobby\n`)
  })

  test('are a commit each, an append behind a save that took rows out of the middle too', async () => {
    await using s = await serveNew(DDL, ROWS)
    await save(s, `${HEADER}1,Alice\n3,Carol\n`)
    expect(await s.commits()).toBe(1)
    const csv = await s.csv()
    await s.client.write(csv, (await s.client.getattr(csv)).size, '4,Dave\n')
    expect(await s.commits()).toBe(2)
    expect(await s.read()).toBe(`${HEADER}1,Alice\n3,Carol\n4,Dave\n`)
  })

  test('are a commit each, though the first has no newline at its end', async () => {
    await using s = await serveNew(DDL, ROWS)
    await save(s, `${HEADER}${ROWS}4,Dave`)
    await save(s, `${HEADER}${ROWS}4,Dave\n5,Eve\n`)
    expect(await s.commits()).toBe(2)
  })

  test('a header alone, written again with rows, is the beginning of one save', async () => {
    await using s = await serveNew(DDL, ROWS)
    await save(s, HEADER)
    await save(s, `${HEADER}1,Alice\n2,Bob\n3,Carla\n`)
    expect(await s.commits()).toBe(1)
    expect(await s.read()).toBe(`${HEADER}1,Alice\n2,Bob\n3,Carla\n`)
  })

  test('one that does not parse is set aside, not lost, when the next one begins', async () => {
    await using s = await serveNew(DDL, ROWS)
    await save(s, `${HEADER}1,Alice\n2,"Bob\n`)
    await save(s, `${HEADER}${ROWS}4,Dave\n`)
    expect(await s.commits()).toBe(1)
    expect(await s.read()).toBe(`${HEADER}${ROWS}4,Dave\n`)
    const aside = (await s.names()).filter(name => name.startsWith('data.csv.rejected-'))
    expect(aside).toHaveLength(1)
    expect(await s.read(`data/${aside[0]}`)).toBe(`${HEADER}1,Alice\n2,"Bob\n`)
    expect(await s.read('.errors')).toContain(`set aside as data/${aside[0]}`)
  })
})

describe('a save that is held', () => {
  test('is shown by data.csv, and waited for by the other views and SQL', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, incompleteMs: 300 })
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, `${HEADER}1,Alice\n`)
    expect(await s.read()).toBe(`${HEADER}1,Alice\n`)
    expect(await s.commits()).toBe(0)
    expect(await s.read('data/data.jsonl')).toBe('{"id":1,"name":"Alice"}\n')
    expect(await s.commits()).toBe(1)
  })

  test('comes to its end when the server stops', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, `${HEADER}1,Alice\n`)
    const { table } = s.server.lake
    await s.server.stop()
    expect((await table.refresh()).files.map(file => file.rows)).toEqual([3])
    expect((await table.refresh()).version).toBe(2n)
  })

  test('that is the old text again, or the old rows in another order, is no commit', async () => {
    await using s = await serveNew(DDL, ROWS)
    for (const text of [HEADER + ROWS, `${HEADER}3,Carol\n1,Alice\n2,Bob\n`]) {
      const csv = await s.csv()
      await s.client.setattr(csv, { size: 0n })
      await s.client.write(csv, 0n, text)
    }
    await s.client.write(await s.csv(), 0n, HEADER + ROWS)
    expect(await s.commits()).toBe(0)
    expect(s.server.held()).toEqual([])
    expect(await s.read()).toBe(HEADER + ROWS)
  })
})

describe('a save that cannot be taken', () => {
  test('is refused in the reply, the name gets a new handle, and nothing is left of it', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    const end = (await s.client.getattr(csv)).size
    expect(await codeOf(s.client.write(csv, end, 'four,Dave\n'))).toBe('EINVAL')
    expect(await s.read('.errors')).toContain('line 5, column id')
    expect(await codeOf(s.client.write(csv, end, '4,Dave\n'))).toBe('ESTALE')
    await s.client.write(await s.csv(), end, '4,Dave\n')
    expect(await s.read()).toBe(`${HEADER}${ROWS}4,Dave\n`)
    expect(await s.commits()).toBe(1)
  })

  test('breaks no program in the middle of reading, through whichever export, and an open gets a new handle', async () => {
    await using s = await serveNew(DDL, ROWS)
    const plain = await NfsClient.connect({ port: s.server.port })
    try {
      const data = await plain.walk(await plain.mount('/'), 'data')
      for (const [client, folder] of [
        [s.client, s.data],
        [plain, data],
      ] as const) {
        const reader = await client.walk(folder, 'data.csv')
        const first = Buffer.from((await client.read(reader, 0n, 10)).data).toString()
        expect(await codeOf(s.client.write(await s.csv(), BigInt((HEADER + ROWS).length), 'four,Dave\n'))).toBe(
          'EINVAL',
        )
        const rest = Buffer.from((await client.read(reader, 10n, 1000)).data).toString()
        expect(first + rest).toBe(HEADER + ROWS)
        expect(await client.readText(await client.walk(folder, 'data.csv'))).toBe(HEADER + ROWS)
      }
    } finally {
      plain.close()
    }
  })

  test('one bad row among appends of several programs is that program’s alone', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    const end = (await s.client.getattr(csv)).size
    const other = '4,Dave\n'
    const results = await Promise.all([
      codeOf(s.client.write(csv, end, other)),
      codeOf(s.client.write(csv, end + BigInt(other.length), 'x,Bad\n')),
    ])
    expect(results).toEqual(['OK', 'EINVAL'])
    expect(await s.read()).toBe(`${HEADER}${ROWS}${other}`)
  })

  test('good rows behind a bad one that waited with it are taken', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    const end = (await s.client.getattr(csv)).size
    const results = await Promise.all([
      codeOf(s.client.write(csv, end, 'x,Bad\n')),
      codeOf(s.client.write(csv, end, '4,Dave\n')),
    ])
    expect(results).toEqual(['EINVAL', 'OK'])
    expect(await s.read()).toBe(`${HEADER}${ROWS}4,Dave\n`)
  })

  test('keeps the bytes that a program was told are saved', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    const end = (await s.client.getattr(csv)).size
    await s.client.write(csv, end, '4,Dave')
    expect(await codeOf(s.client.write(csv, end, '4,Dave\nx,Bad\n'))).toBe('EINVAL')
    expect(await s.read()).toBe(HEADER + ROWS)
    const [aside] = (await s.names()).filter(name => name.startsWith('data.csv.rejected-'))
    expect(await s.read(`data/${aside}`)).toBe(`${HEADER}${ROWS}4,Dave\nx,Bad\n`)
  })

  test('a hole is no row: the zero bytes are named', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    expect(await codeOf(s.client.write(csv, 5000n, '4,Dave\n'))).toBe('EINVAL')
    expect(await s.read('.errors')).toContain('line 5: 4970 bytes there were never written')
    expect(await s.read()).toBe(HEADER + ROWS)
    expect(await s.commits()).toBe(0)
  })
})

describe('a file that is made longer', () => {
  test('may be filled afterwards, as by a mapping of it', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    const end = (await s.client.getattr(csv)).size
    await s.client.setattr(csv, { size: end + 7n })
    expect(await s.commits()).toBe(0)
    await s.client.write(csv, 0n, `${HEADER}${ROWS}4,Dave\n`)
    expect(await s.commits()).toBe(1)
    expect(await s.read()).toBe(`${HEADER}${ROWS}4,Dave\n`)
  })

  test('is set aside at no cost of its size if it is not', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, incompleteMs: 1 })
    const csv = await s.csv()
    await Promise.all([1, 2].map(() => s.client.setattr(csv, { size: 1n << 33n })))
    await s.server.settle()
    expect(await s.read()).toBe(HEADER + ROWS)
    expect(await s.read('.errors')).toContain('were never written')
    expect(await s.names()).toEqual(['data.csv', 'data.json', 'data.jsonl'])
    expect(await codeOf(s.client.setattr(await s.csv(), { size: 1n << 40n }))).toBe('EFBIG')
    expect(await codeOf(s.client.write(await s.csv(), 1n << 40n, '4,Dave\n'))).toBe('EFBIG')
    expect(await s.read()).toBe(HEADER + ROWS)
    expect(s.server.held()).toEqual([])
  })
})

describe('rm', () => {
  test('is a commit of its own if nothing takes the name', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, removedMs: 1 })
    await s.client.remove(s.data, 'data.csv')
    expect(await s.read()).toBe(HEADER)
    expect(await s.names()).toContain('data.csv')
    await s.server.settle()
    expect(await s.commits()).toBe(1)
    await s.client.remove(s.data, 'data.csv')
    await s.server.settle()
    expect(await s.commits()).toBe(1)
  })

  test('and a file made anew (mv from another file system, tar, install) are one save', async () => {
    await using s = await serveNew(DDL, ROWS)
    const exclusive = { kind: 'EXCLUSIVE', value: 7n } as const
    expect(await codeOf(s.client.create(s.data, 'data.csv', exclusive))).toBe('EEXIST')
    await s.client.remove(s.data, 'data.csv')
    const { handle } = await s.client.create(s.data, 'data.csv', exclusive)
    await s.client.write(handle, 0n, `${HEADER}1,Alice\n2,Bobby\n3,Carol\n`)
    expect(await s.commits()).toBe(1)
    expect(await s.read()).toBe(`${HEADER}1,Alice\n2,Bobby\n3,Carol\n`)
    expect(s.server.held()).toEqual([])
  })

  test('of a table that takes no deletions is refused in the reply', async () => {
    await using s = await serveNew(DDL, ROWS)
    const { table } = s.server.lake
    const { version, metadata } = await table.refresh()
    const configuration = { ...Object.fromEntries(metadata.configuration), 'delta.appendOnly': 'true' }
    const path = join(
      s.server.stateDirectory,
      '..',
      '..',
      '_delta_log',
      `${String(version + 1n).padStart(20, '0')}.json`,
    )
    writeFileSync(path, `${JSON.stringify({ metaData: { ...metadata.action, configuration } })}\n`)
    expect(await codeOf(s.client.remove(s.data, 'data.csv'))).toBe('EPERM')
    expect(await s.read('.errors')).toContain('append-only')
    expect(await s.read()).toBe(HEADER + ROWS)
    expect(s.server.held()).toEqual([])
  })

  test('of data.csv is one, though a save was refused before and a backup of an earlier one is there', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, removedMs: 1 })
    await s.client.rename(s.data, 'data.csv', s.data, 'data.csv~')
    const { handle } = await s.client.create(s.data, 'data.csv')
    await s.client.write(handle, 0n, `${HEADER}${ROWS}4,Dave\n`)
    const csv = await s.csv()
    expect(await codeOf(s.client.write(csv, (await s.client.getattr(csv)).size, 'x,Bad\n'))).toBe('EINVAL')
    await s.client.remove(s.data, 'data.csv')
    await s.server.settle()
    expect(await s.read()).toBe(HEADER)
  })
})

describe('a save in the middle of its calls', () => {
  const beginSave = async (s: ServedTable): Promise<Handle> => {
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, `${HEADER}1,Alice\n`, 'UNSTABLE')
    return csv
  }

  test('is set aside, and not taken for a whole one, when its client is gone', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, abandonedMs: 50 })
    const csv = await beginSave(s)
    await s.server.settle()
    expect(await s.read()).toBe(HEADER + ROWS)
    expect(await s.commits()).toBe(0)
    const [aside] = (await s.names()).filter(name => name.startsWith('data.csv.rejected-'))
    expect(await s.read(`data/${aside}`)).toBe(`${HEADER}1,Alice\n`)
    expect(await s.read('.errors')).toContain('was not finished')
    // If the client does come back, its next piece must not land in the text that is there again.
    expect(await codeOf(s.client.write(csv, 16n, '2,Bob\n', 'UNSTABLE'))).toBe('ESTALE')
  })

  test('is not ended by a file that is renamed onto data.csv, and is compared with what it was made from', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await beginSave(s)
    const { handle } = await s.client.create(s.data, 'temp')
    await s.client.write(handle, 0n, `${HEADER}${ROWS}4,Dave\n`)
    await s.client.rename(s.data, 'temp', s.data, 'data.csv')
    expect(await s.commits()).toBe(1)
    expect(await s.read()).toBe(`${HEADER}${ROWS}4,Dave\n`)
    await s.client.write(csv, 16n, '2,Bob\n3,Caroline\n', 'UNSTABLE')
    await s.client.commit(csv)
    expect(await s.commits()).toBe(2)
    expect(await s.read()).toBe(`${HEADER}1,Alice\n2,Bob\n3,Caroline\n4,Dave\n`)
  })

  test('goes with rm, and its program hears of it', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, removedMs: 1 })
    const csv = await beginSave(s)
    await s.client.remove(s.data, 'data.csv')
    expect(await codeOf(s.client.write(csv, 16n, '2,Bob\n', 'UNSTABLE'))).toBe('ESTALE')
    expect(await codeOf(s.client.commit(csv))).toBe('ESTALE')
    await s.server.settle()
    expect(await s.read()).toBe(HEADER)
    expect(await s.commits()).toBe(1)
  })

  test('rm after a save that is held is a commit of its own', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    await s.client.setattr(csv, { size: 0n })
    await s.client.write(csv, 0n, `${HEADER}1,Alice\n`)
    await s.client.remove(s.data, 'data.csv')
    expect(await s.commits()).toBe(1)
    expect(await s.read()).toBe(HEADER)
    const { table } = s.server.lake
    await s.server.stop()
    expect((await table.refresh()).version).toBe(3n)
    expect((await table.refresh()).files).toEqual([])
  })
})
