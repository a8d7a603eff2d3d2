import { describe, expect, test } from 'bun:test'
import { type Handle, NfsClient } from '../nfs/client.ts'
import { codeOf, HELD, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String'
const HEADER = 'id,name\n'
const ROWS = '1,Alice\n2,Bob\n3,Carol\n'
const TEXT = HEADER + ROWS
const END = BigInt(TEXT.length)

/** A client of its own, as another kernel has it, that has looked data.csv up. */
interface Other extends AsyncDisposable {
  readonly client: NfsClient
  readonly csv: Handle
}

async function another({ server }: ServedTable): Promise<Other> {
  const client = await NfsClient.connect({ port: server.port })
  const data = await client.walk(await client.mount(server.exportPath), 'data')
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
    await s.client.setattr(await s.csv(), { size: 0n })
    expect(await codeOf(b.client.write(b.csv, END + 7n, '7,Gus\n'))).toBe('EJUKEBOX')
  }, 60_000)
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

describe('a client that has heard of rows of others before all that it wrote is sent', () => {
  const EVE = '4,Evelyn\n'

  test('appends behind both ends that it knew, in whatever order that comes', async () => {
    for (const [i, order] of [
      [0, 1],
      [1, 0],
    ].entries()) {
      await using s = await serveNew(DDL, ROWS)
      await using a = await another(s)
      await s.client.write(await s.csv(), END, EVE)
      const { size } = await a.client.getattr(a.csv)
      const writes = [
        [END, '5,Fred\n'],
        [size, '6,Gus\n'],
      ] as const
      for (const [offset, bytes] of order.map(n => writes[n]!)) await a.client.write(a.csv, offset, bytes, 'UNSTABLE')
      await a.client.commit(a.csv)
      expect((await s.read()).split('\n').sort(), `order ${i}`).toEqual(
        `${TEXT}${EVE}5,Fred\n6,Gus\n`.split('\n').sort(),
      )
    }
  }, 60_000)

  test('loses none of the rows around the NULs that it has where it has not read', async () => {
    await using s = await serveNew(DDL, ROWS)
    await using a = await another(s)
    await a.client.readText(a.csv)
    await s.client.write(await s.csv(), END, EVE)
    // It is told of the size while it has the file open for writing: its page goes on as it is.
    await a.client.getattr(a.csv)
    await a.client.write(a.csv, 0n, `${TEXT}${'\0'.repeat(EVE.length)}5,Fred\n`)
    expect(await s.read()).toBe(`${TEXT}${EVE}5,Fred\n`)
    await using b = await another(s)
    await b.client.readText(b.csv)
    await s.client.write(await s.csv(), (await s.client.getattr(await s.csv())).size, '6,Gus\n7,Hal\n')
    await b.client.getattr(b.csv)
    const known = `${TEXT}${EVE}5,Fred\n`
    await b.client.write(b.csv, 0n, `${known}8,Ida\n${'\0'.repeat(6)}9,Jo\n`)
    expect(await s.read()).toBe(`${known}6,Gus\n7,Hal\n8,Ida\n9,Jo\n`)
    expect(await s.read('.errors')).toBe('')
  }, 60_000)
})
