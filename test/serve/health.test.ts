import { describe, expect, test } from 'bun:test'
import { renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import { openLake } from '../../src/lake.ts'
import { Health, tableLook } from '../../src/serve/health.ts'
import { openStore } from '../../src/storage/location.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

function health(look: () => Promise<void>): { health: Health; lines: string[]; at(ms: number): void } {
  const lines: string[] = []
  let nowMs = 0
  const made = new Health({ clock: { nowMs: () => nowMs }, log: line => lines.push(line), look, limitMs: 20 })
  return {
    health: made,
    lines,
    at: ms => {
      nowMs = ms
    },
  }
}

describe('what is wrong with a table', () => {
  test('is known since when, told once, and told to be over', async () => {
    let wrong: string | undefined
    const watched = health(async () => {
      if (wrong !== undefined) throw new Error(wrong)
    })
    expect(await watched.health.look()).toBeUndefined()
    watched.at(1000)
    wrong = 'the disk is gone'
    expect(await watched.health.look()).toEqual({ sentence: 'the disk is gone', sinceMs: 1000 })
    watched.at(2000)
    await watched.health.look()
    wrong = 'the disk is broken'
    expect(await watched.health.look()).toEqual({ sentence: 'the disk is broken', sinceMs: 1000 })
    wrong = undefined
    expect(await watched.health.look()).toBeUndefined()
    expect(watched.lines).toHaveLength(3)
    expect(watched.lines[2]).toContain('can be used again')
    watched.health.stop()
  })

  test('is storage that does not answer, too; one look at a time waits for it', async () => {
    let looks = 0
    const { promise, resolve } = Promise.withResolvers<void>()
    const watched = health(() => {
      looks++
      return promise
    })
    for (let i = 0; i < 3; i++) expect((await watched.health.look())?.sentence).toContain('has not answered')
    expect(looks).toBe(1)
    resolve()
    expect(await watched.health.look()).toBeUndefined()
    watched.health.stop()
  })

  test('is a table that was moved, removed or replaced', async () => {
    using folder = temporaryFolder()
    const directory = join(folder.path, 'table')
    const create = async (): Promise<unknown> =>
      createTable(openStore({ kind: 'local', directory }), { schema: parseDdl('id BIGINT') })
    await create()
    const lake = await openLake(directory, { cacheDirectory: join(folder.path, 'cache') })
    const lookAtIt = tableLook(lake, () => true)
    const look = (): Promise<string> =>
      lookAtIt().then(
        () => 'fine',
        (error: Error) => error.message,
      )
    expect(await look()).toBe('fine')
    renameSync(directory, `${directory}-moved`)
    expect(await look()).toBe(`${directory} is not there any more: it was moved or removed`)
    await create()
    expect(await look()).toContain('is another table now')
    rmSync(directory, { recursive: true })
    renameSync(`${directory}-moved`, directory)
    expect(await look()).toBe('fine')
    await lake.close()
  })
})
