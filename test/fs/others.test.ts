import { describe, expect, test } from 'bun:test'
import { type Handle, NfsClient } from '../nfs/client.ts'
import { codeOf, type ServedTable, serveNew } from './served.ts'

const DDL = 'id:Int64,name:String'
const HEADER = 'id,name\n'
const ROWS = '1,Alice\n2,Bob\n3,Carol\n'

/** A program that makes a new file of what it reads, as `sed -i` does; `meanwhile` happens before it renames. */
async function rewrite(
  s: ServedTable,
  change: (text: string) => string,
  meanwhile: { beforeRead?: () => Promise<unknown>; afterRead?: () => Promise<unknown>; reads?: boolean },
): Promise<string> {
  const text = await s.read()
  const csv = meanwhile.beforeRead === undefined ? await s.csv() : undefined
  const { handle } = await s.client.create(s.data, 'temp')
  await meanwhile.beforeRead?.()
  const seen = meanwhile.reads === false ? text : await s.client.readText(csv ?? (await s.csv()))
  await meanwhile.afterRead?.()
  // Any `ls` makes the server look at the table.
  await s.client.getattr(await s.csv())
  await s.client.write(handle, 0n, change(seen))
  return codeOf(s.client.rename(s.data, 'temp', s.data, 'data.csv'))
}

describe('a file renamed onto data.csv, made while others changed the table,', () => {
  const toBobby = (text: string): string => text.replace('Bob', 'Bobby')

  test('leaves rows that were appended after it was read', async () => {
    await using s = await serveNew(DDL, ROWS)
    const result = await rewrite(s, toBobby, { afterRead: () => s.elsewhere("INSERT INTO data VALUES (4, 'Dave')") })
    expect(result).toBe('OK')
    expect(await s.read()).toBe(`${HEADER}1,Alice\n2,Bobby\n3,Carol\n4,Dave\n`)
  })

  test('leaves rows that were appended through the mount after it was read', async () => {
    await using s = await serveNew(DDL, ROWS)
    const result = await rewrite(s, toBobby, {
      afterRead: async () => s.client.write(await s.csv(), BigInt(HEADER.length + ROWS.length), '4,Dave\n'),
    })
    expect(result).toBe('OK')
    expect(await s.read()).toBe(`${HEADER}1,Alice\n2,Bobby\n3,Carol\n4,Dave\n`)
  })

  test('leaves them also if its program knew the text already, and sent no READ', async () => {
    await using s = await serveNew(DDL, ROWS)
    const result = await rewrite(s, toBobby, {
      reads: false,
      afterRead: () => s.elsewhere("INSERT INTO data VALUES (4, 'Dave')"),
    })
    expect(result).toBe('OK')
    expect(await s.read()).toBe(`${HEADER}1,Alice\n2,Bobby\n3,Carol\n4,Dave\n`)
  })

  test('leaves rows that came through the mount though its client may have known them without a READ', async () => {
    await using s = await serveNew(DDL, ROWS)
    const append = async (row: string) =>
      s.client.write(await s.csv(), (await s.client.getattr(await s.csv())).size, row)
    expect(await rewrite(s, toBobby, { reads: false, afterRead: () => append('4,Dave\n') })).toBe('OK')
    expect(await s.read()).toBe(`${HEADER}1,Alice\n2,Bobby\n3,Carol\n4,Dave\n`)
    // It must have known this one: all rows are there in new forms.
    const toUpper = (text: string): string => text.toUpperCase().replace('ID,NAME', 'id,name')
    const known = { reads: false, afterRead: () => append('5,eve\n') }
    expect(await rewrite(s, text => toUpper(`${text}5,eve\n`), known)).toBe('OK')
    expect(await s.read()).toBe(`${HEADER}1,ALICE\n2,BOBBY\n3,CAROL\n4,DAVE\n5,EVE\n`)
  })

  test('removes appended rows that it was made without, though its program had read them', async () => {
    await using s = await serveNew(DDL, ROWS)
    const result = await rewrite(s, text => toBobby(text).replace('4,Dave\n', ''), {
      beforeRead: async () => {
        await s.elsewhere("INSERT INTO data VALUES (4, 'Dave')")
        await s.csv()
      },
    })
    expect(result).toBe('OK')
    expect(await s.read()).toBe(`${HEADER}1,Alice\n2,Bobby\n3,Carol\n`)
  })

  test('goes together with a change of other rows, and is refused where it is of the same', async () => {
    await using s = await serveNew(DDL, ROWS)
    const update = (id: number) => ({ afterRead: () => s.elsewhere(`UPDATE data SET name = 'X' WHERE id = ${id}`) })
    expect(await rewrite(s, toBobby, update(3))).toBe('OK')
    expect(await s.read()).toBe(`${HEADER}1,Alice\n2,Bobby\n3,X\n`)
    expect(await rewrite(s, text => text.replace('Bobby', 'Bo'), update(2))).toBe('EIO')
    expect((await s.read()).split('\n').sort()).toEqual(`${HEADER}1,Alice\n2,X\n3,X\n`.split('\n').sort())
    expect(await s.read('.errors')).toContain('another writer')
  })
})

/** A client that does not look the name up for each open(2), and hears of what others append under the handle that it has. */
async function plainClient({ server }: ServedTable): Promise<{ client: NfsClient; csv: Handle } & AsyncDisposable> {
  const client = await NfsClient.connect({ port: server.port })
  const csv = await client.walk(await client.mount('/'), 'data/data.csv')
  return { client, csv, [Symbol.asyncDispose]: async () => client.close() }
}

describe('an append whose program took the end of the file to be where it was before others appended', () => {
  const end = BigInt(HEADER.length + ROWS.length)

  test('replaces none of their rows', async () => {
    for (const [offset, bytes] of [
      [end, '5,Eve\n'],
      [0n, `${HEADER}${ROWS}5,Eve\n`],
    ] as const) {
      for (const stability of ['FILE_SYNC', 'UNSTABLE'] as const) {
        await using s = await serveNew(DDL, ROWS)
        await using plain = await plainClient(s)
        await s.elsewhere("INSERT INTO data VALUES (4, 'Dave')")
        expect((await plain.client.getattr(plain.csv)).size).toBeGreaterThan(end)
        await plain.client.write(plain.csv, offset, bytes, stability)
        await plain.client.commit(plain.csv)
        expect(await s.read()).toBe(`${HEADER}${ROWS}4,Dave\n5,Eve\n`)
        expect(await s.commits()).toBe(2)
      }
    }
  })

  test('nor where its own rows were put behind theirs, and it does not know yet', async () => {
    await using s = await serveNew(DDL, ROWS)
    const csv = await s.csv()
    await s.elsewhere("INSERT INTO data VALUES (40, 'Dave')")
    const rows = ['5,Eve\n', '6,Fred\n', '7,Gus\n', '8,Hal\n']
    let known = HEADER + ROWS
    for (const [i, row] of rows.entries()) {
      if (i === 2) await s.elsewhere("INSERT INTO data VALUES (50, 'Else')")
      if (i % 2 === 0) await s.client.write(csv, BigInt(known.length), row)
      else await s.client.write(csv, 0n, known + row)
      known += row
    }
    expect(await s.read()).toBe(`${HEADER}${ROWS}40,Dave\n5,Eve\n6,Fred\n50,Else\n7,Gus\n8,Hal\n`)
    expect(await s.commits()).toBe(6)
    expect(await s.read('.errors')).toBe('')
  })

  test('is a change of them where they were read, or are written again', async () => {
    await using s = await serveNew(DDL, ROWS)
    await using plain = await plainClient(s)
    const { client, csv } = plain
    await s.elsewhere("INSERT INTO data VALUES (4, 'Dave')")
    await client.getattr(csv)
    await client.write(csv, 0n, `${HEADER}${ROWS}4,Dave\n5,Eve\n`)
    expect(await s.read()).toBe(`${HEADER}${ROWS}4,Dave\n5,Eve\n`)
    await s.elsewhere("INSERT INTO data VALUES (6, 'Fred')")
    await client.getattr(csv)
    expect(await client.readText(csv)).toContain('Fred')
    await client.write(csv, (await client.getattr(csv)).size - 7n, '6,Frid\n')
    expect(await s.read()).toBe(`${HEADER}${ROWS}4,Dave\n5,Eve\n6,Frid\n`)
  })
})
