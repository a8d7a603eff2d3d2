import { beforeAll, describe, expect, test } from 'bun:test'
import type { Fault } from '../helpers/faults.ts'
import { SystemFaults } from '../helpers/system-faults.ts'
import type { Handle } from '../nfs/client.ts'
import { codeOf, type ServedTable, serveNew } from './served.ts'
import { BEFORE, DDL, ROWS, restore, SENTENCE, TIMES, tryNth, WAYS, type Way } from './ways.ts'

const faults = new SystemFaults()
beforeAll(() => faults.install())

/** Every n for which there is a call to fail. Which those were. */
async function tryAll(way: Way, when: Fault['when']): Promise<string[]> {
  const failed: string[] = []
  await using s = await serveNew(DDL, ROWS, TIMES)
  while (await tryNth(s, faults, way, { part: 'system', when, n: failed.length + 1 })) {
    failed.push(faults.failed)
    await restore(s)
  }
  const text = await s.read()
  await using again = await s.killed()
  await again.server.settle()
  expect({ when, failed, text: await again.read() }).toEqual({ when, failed, text })
  return failed
}

const SYNCED = ['fdatasync', 'fsync', 'fdatasync', 'linkSync', 'fsync']

/** As many of the wanted names as are among others in this order, whatever stands between them. */
function inOrder(names: readonly string[], wanted: readonly string[]): string[] {
  const found: string[] = []
  for (const name of names) if (name === wanted[found.length]) found.push(name)
  return found
}

for (const way of WAYS) {
  describe(way.name, () => {
    for (const when of ['before', 'after'] as const) {
      test(`is told as it went, whichever call of the system fails, ${when} it took effect`, async () => {
        const failed = await tryAll(way, when)
        // `rm` is answered before its end, and then other calls come between.
        if (way.name !== 'rm') expect(failed).toContain('fsync')
        expect(failed).toContain('linkSync')
        // The rows' file, its name and the commit's are on their way at the same time; then the commit's name.
        if (way.name === 'an append') expect(inOrder(failed, SYNCED)).toEqual(SYNCED)
      }, 60_000)
    }
  })
}

/** What a program does with files of its own, in a folder with the file `a` and the empty folder `empty`. */
interface Operation {
  readonly name: string
  run(s: ServedTable, folder: Handle): Promise<unknown>
  /** What the folder has then, by name; undefined for a folder. */
  readonly after: Readonly<Record<string, string | undefined>>
}

const BEFOREHAND = { a: 'one\n', empty: undefined }

const OPERATIONS: readonly Operation[] = [
  {
    name: 'a new file',
    run: async ({ client }, folder) => {
      const { handle } = await client.create(folder, 'b')
      await client.write(handle, 0n, 'two\n', 'UNSTABLE')
      await client.commit(handle)
    },
    after: { ...BEFOREHAND, b: 'two\n' },
  },
  {
    name: 'a file that is written over',
    run: async ({ client }, folder) => {
      const { handle } = await client.lookup(folder, 'a')
      await client.setattr(handle, { size: 0n })
      await client.write(handle, 0n, 'other\n')
    },
    after: { ...BEFOREHAND, a: 'other\n' },
  },
  {
    name: 'a file that is renamed',
    run: ({ client }, folder) => client.rename(folder, 'a', folder, 'c'),
    after: { c: 'one\n', empty: undefined },
  },
  {
    name: 'a file that is removed',
    run: ({ client }, folder) => client.remove(folder, 'a'),
    after: { empty: undefined },
  },
  {
    name: 'a new folder',
    run: ({ client }, folder) => client.mkdir(folder, 'new'),
    after: { ...BEFOREHAND, new: undefined },
  },
  {
    name: 'a folder that is removed',
    run: ({ client }, folder) => client.rmdir(folder, 'empty'),
    after: { a: 'one\n' },
  },
]

async function contentOf({ client }: ServedTable, folder: Handle): Promise<Record<string, string | undefined>> {
  const content: Record<string, string | undefined> = {}
  for (const { name, attributes, handle } of await client.list(folder))
    content[name] = attributes?.type === 'NF3DIR' ? undefined : await client.readText(handle!)
  return content
}

/** Does something while the n-th call fails, and once more if it is not done. Whether there was such a call. */
async function tryOperation(
  s: ServedTable,
  { run, after }: Operation,
  n: number,
  when: Fault['when'],
): Promise<boolean> {
  const name = `folder ${n}`
  const folder = (await s.client.mkdir(s.root, name)).handle
  await s.client.write((await s.client.create(folder, 'a')).handle, 0n, BEFOREHAND.a)
  await s.client.mkdir(folder, 'empty')
  faults.arm({ n, when })
  const status = await codeOf(run(s, folder))
  const { hasFailed, failed } = faults
  faults.heal()
  if (status !== 'OK') {
    expect({ n, failed, status }).toEqual({ n, failed, status: expect.stringMatching(/^(EIO|ENOSPC)$/) })
    // Where only the sync of the folder failed it is done, though nobody can be sure that it stays so.
    if (!Bun.deepEquals(await contentOf(s, folder), after))
      expect({ n, failed, again: await codeOf(run(s, folder)) }).toEqual({ n, failed, again: 'OK' })
  }
  expect({ n, failed, content: await contentOf(s, folder) }).toEqual({ n, failed, content: after })
  return hasFailed
}

describe("the users' own files", () => {
  for (const operation of OPERATIONS) {
    for (const when of ['before', 'after'] as const) {
      test(`${operation.name}: a failure is told, and harms nothing, whichever call of the system fails, ${when} it took effect`, async () => {
        await using s = await serveNew(DDL, '', TIMES)
        let n = 1
        while (await tryOperation(s, operation, n, when)) n++
        expect(n).toBeGreaterThan(1)
        await using again = await s.killed()
        for (let i = 1; i <= n; i++) {
          const folder = await again.client.walk(again.root, `folder ${i}`)
          expect({ i, content: await contentOf(again, folder) }).toEqual({ i, content: operation.after })
        }
      }, 60_000)
    }
  }
})

test('what is refused is told in .errors, whichever call of the system fails, and those behind it after a restart, too', async () => {
  await using s = await serveNew(DDL, ROWS, TIMES)
  const refuse = async (value: string): Promise<string> => {
    const csv = await s.csv()
    return codeOf(s.client.write(csv, (await s.client.getattr(csv)).size, `${value},x\n`))
  }
  for (let n = 1, hasFailed = true; hasFailed; n++) {
    faults.arm({ n, when: 'before' })
    const status = await refuse(`bad${n}`)
    const { failed } = faults
    hasFailed = faults.hasFailed
    faults.heal()
    const errors = await s.read('.errors')
    expect({ failed, status }).toEqual({ failed, status: expect.stringMatching(/^(EINVAL|ENOSPC|EIO)$/) })
    expect({ failed, errors }).toEqual({
      failed,
      errors: expect.stringMatching(new RegExp(`bad${n}|${SENTENCE.source}`)),
    })
    expect(await refuse(`worse${n}`)).toBe('EINVAL')
    expect(await s.read()).toBe(BEFORE)
  }
  const told = await s.read('.errors')
  await using again = await s.killed()
  expect(await again.read('.errors')).toBe(told)
})

test('a statement in .query is told as it went, whichever call of the system fails in the server', async () => {
  await using s = await serveNew(DDL, ROWS, TIMES)
  const ask = async (sql: string): Promise<string> => {
    const { handle } = await s.client.lookup(s.root, '.query')
    await s.client.setattr(handle, { size: 0n })
    return codeOf(s.client.write(handle, 0n, `${sql}\n`))
  }
  for (let n = 1, hasFailed = true; hasFailed; n++) {
    const commits = await s.commits()
    const before = await s.read()
    faults.arm({ n, when: 'before' })
    const status = await ask(`INSERT INTO data VALUES (${n + 10}, 'by SQL')`)
    const { failed } = faults
    hasFailed = faults.hasFailed
    faults.heal()
    const isIn = status === 'OK'
    expect({ failed, status, text: await s.read() }).toEqual({
      failed,
      status,
      text: isIn ? `${before}${n + 10},by SQL\n` : before,
    })
    expect({ failed, commits: (await s.commits()) - commits }).toEqual({ failed, commits: isIn ? 1 : 0 })
    if (!isIn)
      expect({ failed, said: await s.read('.query') }).toEqual({ failed, said: expect.stringMatching(SENTENCE) })
  }
}, 60_000)

test('a save that cannot be set aside is, by the same server, as soon as there is room', async () => {
  await using s = await serveNew(DDL, ROWS, TIMES)
  const image = 'id,name\n1,Alice\n2,"Bob\n'
  const csv = await s.csv()
  await s.client.setattr(csv, { size: 0n })
  await s.client.write(csv, 0n, image)
  faults.arm({ n: 1, when: 'before', lasting: true })
  // The next save ends the one before, which does not parse and for which there is no room.
  expect(await codeOf(s.client.setattr(await s.csv(), { size: 0n }))).toBe('ENOSPC')
  const aside = async (): Promise<string[]> => (await s.names()).filter(name => name.includes('.rejected-'))
  expect(await aside()).toEqual([])
  faults.heal()
  expect(await s.read('.errors')).toMatch(
    /cannot be set aside: .*; it stays in .*, and is set aside as soon as there is room/,
  )
  expect(await s.read()).toBe(BEFORE)
  const now = await s.csv()
  await s.client.write(now, (await s.client.getattr(now)).size, '4,Dave\n')
  while ((await aside()).length === 0) await Bun.sleep(1)
  const [name = ''] = await aside()
  expect(await s.read(`data/${name}`)).toBe(image)
  while (!(await s.read('.errors')).includes(`was set aside as data/${name}`)) await Bun.sleep(1)
  expect(await s.read()).toBe(`${BEFORE}4,Dave\n`)
  await using again = await s.killed()
  expect((await again.names()).filter(known => known.includes('.rejected-'))).toEqual([name])
})

for (const when of ['before', 'after'] as const) {
  test(`a save that is set aside keeps its bytes once, whichever call of the system fails, ${when} it took effect`, async () => {
    await using s = await serveNew(DDL, ROWS, TIMES)
    const aside = async (): Promise<string[]> => (await s.names()).filter(name => name.includes('.rejected-'))
    const images: string[] = []
    for (let n = 1, hasFailed = true; hasFailed; n++) {
      const image = `id,name\n1,Alice\n2,"Bob ${n}\n`
      const csv = await s.csv()
      await s.client.setattr(csv, { size: 0n })
      await s.client.write(csv, 0n, image)
      faults.arm({ n, when })
      // The next save ends the one before, which does not parse.
      const status = await codeOf(s.client.setattr(await s.csv(), { size: 0n }))
      const { failed } = faults
      hasFailed = faults.hasFailed
      faults.heal()
      images.push(image)
      expect({ n, failed, status }).toEqual({ n, failed, status: expect.stringMatching(/^(OK|EIO|ENOSPC|ESTALE)$/) })
      const { handle } = await s.client.create(s.data, 'before')
      await s.client.write(handle, 0n, BEFORE)
      await s.client.rename(s.data, 'before', s.data, 'data.csv')
      while ((await aside()).length < n) await Bun.sleep(1)
      expect({ n, failed, text: await s.read() }).toEqual({ n, failed, text: BEFORE })
      const told = (await s.read('.errors')).match(/set aside as data\//g)?.length
      expect({ n, failed, told }).toEqual({ n, failed, told: n })
    }
    const texts = async (t: ServedTable): Promise<string[]> =>
      (
        await Promise.all(
          (await t.names()).filter(name => name.includes('.rejected-')).map(name => t.read(`data/${name}`)),
        )
      ).sort()
    expect(await texts(s)).toEqual(images.toSorted())
    await using again = await s.killed()
    await again.server.settle()
    expect(await texts(again)).toEqual(images.toSorted())
  }, 60_000)
}
