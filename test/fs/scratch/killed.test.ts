import { expect, test } from 'bun:test'
import { renameSync } from 'node:fs'
import { join } from 'node:path'
import { DATA, Fixture, ROOT } from './fixture.ts'

test('a process that is killed among renames leaves each file with its id and its content', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'name-0', 'content')
  for (let round = 0; round < 3; round++) {
    fixture.scratch.close()
    fixture.database.close(false)
    const last = await killedAfter(100 + round * 37, fixture.base)
    fixture.restart({ killed: true })
    const names = [...(await fixture.names(ROOT)), ...(await fixture.names(DATA))]
    expect(names).toHaveLength(1)
    const { dirId, name } = fixture.scratch.entryOf(id)!
    expect(names).toEqual([name])
    // At most the rename that was under way is done as well.
    expect([last, last + 1]).toContain(Number(name.slice('name-'.length)))
    expect((await fixture.scratch.lookup(dirId, name)).id).toBe(id)
    expect(await fixture.text(id)).toBe('content')
    await fixture.scratch.rename(dirId, name, ROOT, 'name-0')
  }
})

test('a rename that was undone from outside before the restart is not believed', async () => {
  using fixture = new Fixture()
  const id = await fixture.file(ROOT, 'a', 'x')
  await fixture.scratch.rename(ROOT, 'a', DATA, 'b')
  renameSync(fixture.path('data', 'b'), fixture.path('a'))
  fixture.restart({ killed: true })
  expect(await fixture.names(DATA)).toEqual([])
  expect((await fixture.scratch.lookup(ROOT, 'a')).id).not.toBe(id)
})

/** Starts the child, kills it once it told of `count` renames, and gives the number of the last name it told. */
async function killedAfter(count: number, base: string): Promise<number> {
  const child = Bun.spawn([process.execPath, join(import.meta.dir, 'renaming-child.ts'), base], { stdout: 'pipe' })
  let told = ''
  for await (const bytes of child.stdout) {
    told += Buffer.from(bytes).toString()
    if (told.split('\n').length > count) child.kill('SIGKILL')
  }
  await child.exited
  const names = told.split('\n').slice(0, -1)
  expect(names.length).toBeGreaterThanOrEqual(count)
  return Number(names.at(-1)!.slice('name-'.length))
}
