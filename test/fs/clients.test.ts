import { describe, expect, spyOn, test } from 'bun:test'
import { Lineages } from '../../src/fs/lineages.ts'
import { type Handle, NfsClient } from '../nfs/client.ts'
import { codeOf, HELD, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String'
const HEADER = 'id,name\n'
const ROWS = '1,Alice\n2,Bob\n3,Carol\n'
const TEXT = HEADER + ROWS
const END = BigInt(TEXT.length)

/** A client of its own that has looked data.csv up, as another kernel does for each open(2) of a mount by posixlake. */
interface Other extends AsyncDisposable {
  readonly client: NfsClient
  readonly csv: Handle
}

async function another({ server }: ServedTable, path = server.exportPath): Promise<Other> {
  const client = await NfsClient.connect({ port: server.port })
  const data = await client.walk(await client.mount(path), 'data')
  return { client, csv: await client.walk(data, 'data.csv'), [Symbol.asyncDispose]: async () => client.close() }
}

/** What a client sends that appends a row: with its last page cached, or without. */
const WAYS = [(row: string) => [END, row] as const, (row: string) => [0n, TEXT + row] as const]

describe('clients that append to what each of them takes for the end', () => {
  test('lose no row, whoever appended in between', async () => {
    for (const [i, way] of WAYS.entries())
      for (const stability of ['FILE_SYNC', 'UNSTABLE'] as const) {
        await using s = await serveNew(DDL, ROWS)
        await using a = await another(s)
        await using b = await another(s)
        const append = async ({ client, csv }: Other, row: string): Promise<void> => {
          const [offset, bytes] = way(row)
          await client.write(csv, offset, bytes, stability)
          if (stability === 'UNSTABLE') await client.commit(csv)
        }
        await append(b, '4,Dave\n')
        await s.elsewhere("INSERT INTO data VALUES (5, 'Eve')")
        await s.read()
        await append(a, '6,Fred\n')
        expect(await s.read(), `way ${i} ${stability}`).toBe(`${TEXT}4,Dave\n5,Eve\n6,Fred\n`)
        expect(await s.commits()).toBe(3)
        expect(await s.read('.errors')).toBe('')
      }
  }, 60_000)

  test('lose none that is the same as another one', async () => {
    for (const way of WAYS) {
      await using s = await serveNew(DDL, ROWS)
      await using a = await another(s)
      await using b = await another(s)
      for (const { client, csv } of [a, b]) await client.write(csv, ...way('9,beat\n'))
      expect(await s.read()).toBe(`${TEXT}9,beat\n9,beat\n`)
      // It comes once more, as the reply was lost.
      await a.client.write(a.csv, ...way('9,beat\n'))
      expect(await s.read()).toBe(`${TEXT}9,beat\n9,beat\n`)
    }
  }, 60_000)

  test('lose none that wait for the same commit, and are never told of an end that they did not write', async () => {
    await using s = await serveNew(DDL, ROWS)
    const others = await Promise.all(Array.from({ length: 4 }, () => another(s)))
    const known = others.map(() => TEXT)
    for (let round = 0; round < 8; round++) {
      await Promise.all(
        others.map(async ({ client, csv }, i) => {
          const row = `${100 + round * 10 + i},n${'x'.repeat(i)}\n`
          const end = BigInt(known[i]!.length)
          const { file_wcc } = await (round % 2 === 0
            ? client.write(csv, end, row)
            : client.write(csv, 0n, known[i]! + row))
          known[i] += row
          if (file_wcc.after !== undefined) expect(Number(file_wcc.after.size)).toBe(known[i]!.length)
          else known[i] = await client.readText(csv)
        }),
      )
    }
    for (const { client } of others) client.close()
    const ids = (await s.read())
      .split('\n')
      .slice(1, -1)
      .map(row => Number.parseInt(row, 10))
    const expected = Array.from({ length: 32 }, (_, n) => 100 + (n >> 2) * 10 + (n & 3))
    expect(ids.toSorted((left, right) => left - right)).toEqual([1, 2, 3, ...expected])
    expect(await s.read('.errors')).toBe('')
  }, 60_000)

  test('append also where the file has become shorter, or other, since', async () => {
    for (const way of WAYS)
      for (const text of [`${HEADER}2,Bobby\n`, `${HEADER}1,Alicia\n2,B\n3,Carol\n`]) {
        await using s = await serveNew(DDL, ROWS, { ...HELD, incompleteMs: 1 })
        await using a = await another(s)
        await s.client.setattr(await s.csv(), { size: 0n })
        await s.client.write(await s.csv(), 0n, text)
        await s.server.settle()
        expect(await s.read()).toBe(text)
        await a.client.write(a.csv, ...way('4,Dave\n'))
        expect(await s.read()).toBe(`${text}4,Dave\n`)
      }
  }, 60_000)

  test('append also after a save of theirs was refused', async () => {
    await using s = await serveNew(DDL, ROWS)
    await using a = await another(s)
    await using b = await another(s)
    await b.client.write(b.csv, END, '4,Dave\n')
    expect(await codeOf(a.client.write(a.csv, END, 'no number\n'))).toBe('EINVAL')
    await using again = await another(s)
    await s.elsewhere("INSERT INTO data VALUES (5, 'Eve')")
    await s.read()
    await again.client.write(again.csv, 0n, `${TEXT}4,Dave\n6,Fred\n`)
    expect(await s.read()).toBe(`${TEXT}4,Dave\n5,Eve\n6,Fred\n`)
  }, 60_000)

  test('go on over a new connection, and with a server that was started anew', async () => {
    for (const way of WAYS)
      for (const restarted of [false, true]) {
        const first = await serveNew(DDL, ROWS)
        const a = await another(first)
        await using b = await another(first)
        await b.client.write(b.csv, END, '4,Dave\n')
        a.client.close()
        await using s = restarted ? await first.killed() : first
        await using client = await NfsClient.connect({ port: s.server.port })
        await client.write(a.csv, ...way('5,Eve\n'))
        expect(await s.read()).toBe(`${TEXT}4,Dave\n5,Eve\n`)
      }
  }, 60_000)

  test('are not doubled by a WRITE of the same rows that comes once more after a crash', async () => {
    for (const ROWS_AGAIN of [ROWS, ROWS.replaceAll(/(\d),(\w+)/g, '$1,"$2"')]) {
      await using s = await serveNew(DDL, ROWS)
      const csv = await s.csv()
      await s.client.setattr(csv, { size: 0n })
      await s.client.write(csv, 0n, HEADER + ROWS_AGAIN)
      await using restarted = await s.killed()
      await restarted.client.write(csv, 0n, HEADER + ROWS_AGAIN)
      expect(await restarted.read()).toBe(TEXT)
    }
  }, 60_000)

  test('wait for the end of a save that another one is in the middle of', async () => {
    await using s = await serveNew(DDL, ROWS)
    await using a = await another(s)
    await using b = await another(s)
    await a.client.write(a.csv, END, '4,Dave\n5,Ev', 'UNSTABLE')
    expect(await codeOf(b.client.write(b.csv, END, '6,Fred\n'))).toBe('EJUKEBOX')
    await a.client.write(a.csv, END + 11n, 'e\n', 'UNSTABLE')
    await a.client.commit(a.csv)
    await b.client.write(b.csv, END, '6,Fred\n')
    expect(await s.read()).toBe(`${TEXT}4,Dave\n5,Eve\n6,Fred\n`)
    const csv = await s.csv()
    await b.client.getattr(csv)
    await s.client.setattr(csv, { size: 0n })
    expect(await codeOf(b.client.write(csv, END + 20n, '7,Gus\n'))).toBe('EJUKEBOX')
  }, 60_000)
})

test('rows are kept that come while the place of a WRITE is looked for, and are seen by the open of another client', async () => {
  const { placeOf } = Lineages.prototype
  for (const stability of ['FILE_SYNC', 'UNSTABLE'] as const) {
    await using s = await serveNew(DDL, ROWS)
    await using a = await another(s)
    await using b = await another(s)
    let isFirst = true
    using _ = spyOn(Lineages.prototype, 'placeOf').mockImplementation(async function (this: Lineages, ...args) {
      const place = await placeOf.apply(this, args)
      if (!isFirst) return place
      isFirst = false
      await s.elsewhere("INSERT INTO data VALUES (4, 'Dave')")
      await b.client.walk(await b.client.mount(s.server.exportPath), 'data/data.csv')
      return place
    })
    await a.client.write(a.csv, 0n, `${TEXT}5,Eve who has more bytes than Dave\n`, stability)
    if (stability === 'UNSTABLE') await a.client.commit(a.csv)
    expect(await s.read()).toBe(`${TEXT}4,Dave\n5,Eve who has more bytes than Dave\n`)
  }
})

describe('a client that reads while it appends', () => {
  test('goes on reading what it was shown and wrote itself, when the READ was looking for that as the WRITE came', async () => {
    await using s = await serveNew(DDL, ROWS)
    await using a = await another(s)
    await using b = await another(s)
    await b.client.write(b.csv, END, '4,Dave\n')
    const { promise: written, resolve: goOn } = Promise.withResolvers<void>()
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>()
    const { textFor } = Lineages.prototype
    let isFirst = true
    using _ = spyOn(Lineages.prototype, 'textFor').mockImplementation(async function (this: Lineages, ...args) {
      const text = await textFor.apply(this, args)
      if (!isFirst) return text
      isFirst = false
      begin()
      await written
      return text
    })
    const reading = a.client.readText(a.csv)
    await begun
    await a.client.write(a.csv, END, '5,Eve\n')
    goOn()
    await reading
    // Others' rows would stand where it takes its own for, and in the pages that it has not read yet.
    expect(await a.client.readText(a.csv)).toBe(`${TEXT}5,Eve\n`)
    expect(await s.read()).toBe(`${TEXT}4,Dave\n5,Eve\n`)
  })

  test('goes on reading that also when the WRITE is noted in the moment in which the text for a GETATTR was found', async () => {
    await using s = await serveNew(DDL, ROWS)
    await using a = await another(s)
    await using b = await another(s)
    await b.client.write(b.csv, END, '4,Dave\n')
    const { textFor, pinnedEnd, noteWrote } = Lineages.prototype
    let note: (() => void) | undefined
    let isFound = false
    {
      using _ = spyOn(Lineages.prototype, 'noteWrote').mockImplementation(function (this: Lineages, ...args) {
        note = () => noteWrote.apply(this, args)
      })
      await a.client.write(a.csv, END, '5,Eve\n')
    }
    {
      using _text = spyOn(Lineages.prototype, 'textFor').mockImplementation(async function (this: Lineages, ...args) {
        const text = await textFor.apply(this, args)
        isFound = true
        return text
      })
      using _end = spyOn(Lineages.prototype, 'pinnedEnd').mockImplementation(function (this: Lineages, ...args) {
        const end = pinnedEnd.apply(this, args)
        if (isFound && note !== undefined) {
          queueMicrotask(note)
          note = undefined
        }
        return end
      })
      await a.client.getattr(a.csv)
    }
    expect(isFound).toBe(true)
    expect(await a.client.readText(a.csv)).toBe(`${TEXT}5,Eve\n`)
  })
})

test('a row that a renamed file brought before its WRITE came is there once, also behind a second such file', async () => {
  await using s = await serveNew(DDL, ROWS)
  await using a = await another(s)
  expect(await a.client.readText(a.csv)).toBe(TEXT)
  const data = await a.client.walk(await a.client.mount(s.server.exportPath), 'data')
  // The row is in the client's cache, and has not been sent yet.
  const cached = `${TEXT}4,Dave\n`
  for (const name of ['sedA', 'sedB']) await a.client.create(data, name)
  const files = { sedA: cached.replace('Alice', 'Anna'), sedB: cached.replace('Bob', 'Bert') }
  const rename = async (name: keyof typeof files): Promise<string> => {
    const { handle } = await a.client.lookup(data, name)
    await a.client.write(handle, 0n, files[name])
    return codeOf(a.client.rename(data, name, data, 'data.csv'))
  }
  expect(await rename('sedA')).toBe('OK')
  await a.client.write(a.csv, END, '4,Dave\n')
  expect(await s.read()).toBe(files.sedA)
  // It was made from a text without what the first one changed.
  expect(await rename('sedB')).toBe('EIO')
  expect(await s.read()).toBe(files.sedA)
  expect(await s.read('.errors')).toContain('do it again')
})

describe('a client that changes rows of a text that others have changed since', () => {
  test('changes them, and takes away none that it did not know of', async () => {
    await using s = await serveNew(DDL, ROWS)
    await using a = await another(s)
    expect(await a.client.readText(a.csv)).toBe(TEXT)
    await s.client.write(await s.csv(), END, '4,Dave\n')
    await a.client.write(a.csv, 0n, `${TEXT.replace('Bob', 'Rob')}5,Eve\n`)
    expect(await s.read()).toBe(`${HEADER}1,Alice\n2,Rob\n3,Carol\n4,Dave\n5,Eve\n`)
  }, 60_000)

  test('is refused in a sentence where they changed the same ones', async () => {
    await using s = await serveNew(DDL, ROWS)
    await using a = await another(s)
    expect(await a.client.readText(a.csv)).toBe(TEXT)
    await s.client.setattr(await s.csv(), { size: 0n })
    await s.client.write(await s.csv(), 0n, TEXT.replace('Bob', 'Bobby'))
    await s.server.settle()
    expect(await codeOf(a.client.write(a.csv, 0n, TEXT.replace('Bob', 'Rob')))).toBe('EIO')
    expect(await s.read()).toBe(TEXT.replace('Bob', 'Bobby'))
    expect(await s.read('.errors')).toContain('another writer')
  }, 60_000)
})

describe('a file that one client renames onto data.csv', () => {
  test('is refused where it fits two texts that its programs had, and would take another row out of each', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, togetherMs: 3_600_000 })
    await using a = await another(s)
    const data = await a.client.walk(await a.client.mount(s.server.exportPath), 'data')
    const rename = async (text: string): Promise<string> => {
      const { handle } = await a.client.create(data, 'sedX')
      await a.client.write(handle, 0n, text)
      return codeOf(a.client.rename(data, 'sedX', data, 'data.csv'))
    }
    expect(await a.client.readText(a.csv)).toBe(TEXT)
    const { handle } = await s.client.create(s.data, 'sedY')
    const changed = `${HEADER}1,Alice\n3,Carol\n4,Dave\n`
    await s.client.write(handle, 0n, changed)
    await s.client.rename(s.data, 'sedY', s.data, 'data.csv')
    expect(await a.client.readText(await a.client.walk(data, 'data.csv'))).toBe(changed)
    // Bob was taken out of the first text, or Dave of the second one.
    expect(await rename(`${HEADER}1,Alice\n3,Carol\n`)).toBe('EIO')
    expect(await s.read()).toBe(changed)
    expect(await s.read('.errors')).toContain('may be missing rows that its program never saw')
    expect(await rename(`${HEADER}1,Alice\n3,Carol\n4,David\n`)).toBe('OK')
    expect(await s.read()).toBe(`${HEADER}1,Alice\n3,Carol\n4,David\n`)
  }, 60_000)

  test('is refused where it has rows that another program of its machine appended behind a change by others', async () => {
    await using s = await serveNew(DDL, ROWS, { ...HELD, togetherMs: 3_600_000 })
    await using a = await another(s)
    await a.client.readText(a.csv)
    const data = await a.client.walk(await a.client.mount(s.server.exportPath), 'data')
    const { handle } = await a.client.create(data, 'sedX')
    const changed = `${HEADER}1,Al\n2,Bob\n3,Carol\n`
    const other = await s.client.create(s.data, 'sedY')
    await s.client.write(other.handle, 0n, changed)
    await s.client.rename(s.data, 'sedY', s.data, 'data.csv')
    await a.client.write(a.csv, END, '4,Dave\n')
    expect(await a.client.readText(a.csv)).toBe(`${TEXT}4,Dave\n`)
    await a.client.write(handle, 0n, `${HEADER}1,Alice\n2,Bobby\n3,Carol\n4,Dave\n`)
    expect(await codeOf(a.client.rename(data, 'sedX', data, 'data.csv'))).toBe('EIO')
    expect(await s.read()).toBe(`${changed}4,Dave\n`)
    expect(await s.read('.errors')).toContain('may be missing rows that its program never saw')
  })

  test('is refused where the table changed while it was made, and the server does not know any more what its program read', async () => {
    await using s = await serveNew(DDL, ROWS)
    await s.read()
    const { handle } = await s.client.create(s.data, 'sedX')
    await using other = await another(s)
    await other.client.write(other.csv, END, '4,Dave\n')
    await s.client.write(handle, 0n, TEXT.replace('Bob', 'Bobby'))
    await using again = await s.killed()
    expect(await codeOf(again.client.rename(again.data, 'sedX', again.data, 'data.csv'))).toBe('EIO')
    expect(await again.read()).toBe(`${TEXT}4,Dave\n`)
    expect(await again.read('.errors')).toContain('before the server was started anew')
    const { handle: next } = await again.client.create(again.data, 'sedY')
    await again.client.write(next, 0n, `${HEADER}4,Dave\n`)
    await again.client.rename(again.data, 'sedY', again.data, 'data.csv')
    expect(await again.read()).toBe(`${HEADER}4,Dave\n`)
  })

  test('leaves rows that only others have read since it was made', async () => {
    await using s = await serveNew(DDL, ROWS)
    await using other = await another(s)
    await s.read()
    const { handle } = await s.client.create(s.data, 'sedX')
    await s.client.readText(await s.csv())
    await other.client.write(other.csv, END, '4,Dave\n')
    expect(await other.client.readText(other.csv)).toBe(`${TEXT}4,Dave\n`)
    await s.client.write(handle, 0n, TEXT.replace('Bob', 'Bobby'))
    await s.client.rename(s.data, 'sedX', s.data, 'data.csv')
    expect(await s.read()).toBe(`${TEXT.replace('Bob', 'Bobby')}4,Dave\n`)
    expect(await s.commits()).toBe(2)
  })
})

describe('a client that was told of a new end while it had the file open for writing', () => {
  // Linux does not read the last page anew: it holds NULs where others have appended.
  const UNREAD = '\0'.repeat('4,Dave\n'.length)

  test('appends behind that end, and replaces nothing that it has not read', async () => {
    for (const stability of ['FILE_SYNC', 'UNSTABLE'] as const) {
      await using s = await serveNew(DDL, ROWS)
      await using a = await another(s, '/')
      await using b = await another(s, '/')
      expect(await a.client.readText(a.csv)).toBe(TEXT)
      await a.client.write(a.csv, 0n, `${TEXT}3,Ann\n`)
      await b.client.write(b.csv, 0n, `${TEXT}4,Dave\n`)
      const { size } = await a.client.getattr(a.csv)
      expect(Number(size)).toBe(`${TEXT}3,Ann\n4,Dave\n`.length)
      await b.client.write(b.csv, END + 7n, '5,Bea\n')
      await a.client.write(a.csv, 0n, `${TEXT}3,Ann\n${UNREAD}6,Al\n`, stability)
      if (stability === 'UNSTABLE') await a.client.commit(a.csv)
      await a.client.write(a.csv, 0n, `${TEXT}3,Ann\n${UNREAD}6,Al\n7,Amy\n`, stability)
      if (stability === 'UNSTABLE') await a.client.commit(a.csv)
      expect(await s.read()).toBe(`${TEXT}3,Ann\n4,Dave\n5,Bea\n6,Al\n7,Amy\n`)
      expect(await s.read('.errors')).toBe('')
    }
  }, 60_000)

  test('appends behind it also where its own rows stand elsewhere than it believes', async () => {
    await using s = await serveNew(DDL, ROWS)
    await using a = await another(s, '/')
    await using b = await another(s, '/')
    expect(await b.client.readText(b.csv)).toBe(TEXT)
    await a.client.write(a.csv, END, '6,Al\n')
    // B has 7,Bea where A's row is; then it is told of the end behind A's next row.
    await b.client.write(b.csv, 0n, `${TEXT}7,Bea\n`)
    await a.client.write(a.csv, BigInt(`${TEXT}6,Al\n`.length), '8,Ann\n')
    const { size } = await b.client.getattr(b.csv)
    const unread = '\0'.repeat(Number(size) - `${TEXT}7,Bea\n`.length)
    await b.client.write(b.csv, 0n, `${TEXT}7,Bea\n${unread}9,Bo\n`)
    await b.client.write(b.csv, 0n, `${TEXT}7,Bea\n${unread}9,Bo\n10,Bob\n`)
    expect(await s.read()).toBe(`${TEXT}6,Al\n7,Bea\n8,Ann\n9,Bo\n10,Bob\n`)
  })

  test('is refused where it writes NULs over rows, and appends nothing', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    await s.client.readText(csv)
    expect(await codeOf(s.client.write(csv, BigInt(HEADER.length), '\0\0\0\0'))).toBe('EINVAL')
    expect(await s.read()).toBe(TEXT)
  })
})
