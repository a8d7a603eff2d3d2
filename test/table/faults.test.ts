import { beforeAll, expect, test } from 'bun:test'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { parseDdl } from '../../src/columns/schema.ts'
import { execute } from '../../src/sql/engine.ts'
import { localStore } from '../../src/storage/local.ts'
import { createTable } from '../../src/table/operations/create.ts'
import { openTable } from '../../src/table/table.ts'
import { SystemFaults } from '../helpers/system-faults.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const faults = new SystemFaults()
beforeAll(() => faults.install())

for (const when of ['before', 'after'] as const) {
  test(`a checkpoint that fails fails no commit, whichever call of the system it is, ${when} it took effect`, async () => {
    using folder = temporaryFolder()
    const location = join(folder.path, 'table')
    const store = localStore(location)
    const configuration = { 'delta.checkpointInterval': '1000' }
    const made = await createTable(store, { schema: parseDdl('id:Int64'), configuration })
    await execute(made, 'INSERT INTO data VALUES (1), (2)')
    await made.close()
    const log = join(location, '_delta_log')
    let failures = 0
    for (let n = 1; ; n++) {
      const table = await openTable(store)
      faults.arm({ n, when })
      const failure: unknown = await table.checkpoint().catch((error: unknown) => error)
      const { hasFailed, failed } = faults
      faults.heal()
      if (!hasFailed) break
      failures++
      // Whether it is there or not, the table is what it was, and nothing half written has a name of its own.
      const again = await openTable(store)
      expect({ n, failed, version: again.snapshot.version }).toEqual({ n, failed, version: 1n })
      expect({ n, failed, files: again.snapshot.files.length }).toEqual({ n, failed, files: 1 })
      if (failure === undefined) continue
      expect({ n, failed, failure }).toEqual({ n, failed, failure: expect.any(Error) })
      expect({ n, failed, left: readdirSync(log).filter(name => name.includes('.tmp')) }).toEqual({
        n,
        failed,
        left: [],
      })
    }
    expect(failures).toBeGreaterThan(5)
    expect(readdirSync(log)).toContain('_last_checkpoint')
  })
}

test('commits go on, and a checkpoint comes once there is room, when one in the background has failed', async () => {
  using folder = temporaryFolder()
  const location = join(folder.path, 'table')
  const store = localStore(location)
  const configuration = { 'delta.checkpointInterval': '2' }
  const table = await createTable(store, { schema: parseDdl('id:Int64'), configuration })
  const log = join(location, '_delta_log')
  const checkpoints = (): string[] => readdirSync(log).filter(name => name.includes('.checkpoint'))
  await execute(table, 'INSERT INTO data VALUES (1)')
  await table.close()
  const full = localStore(location, {
    onWrite: (_, path) => {
      if (path.includes('checkpoint')) throw Object.assign(new Error('ENOSPC: injected'), { code: 'ENOSPC' })
    },
  })
  const onFull = await openTable(full)
  for (let i = 2; i <= 5; i++) await execute(onFull, `INSERT INTO data VALUES (${i})`)
  await onFull.close()
  expect(checkpoints()).toEqual([])
  const later = await openTable(store)
  await execute(later, 'INSERT INTO data VALUES (6)')
  await later.close()
  expect(checkpoints()).toEqual([expect.stringContaining('6.checkpoint')])
  expect((await openTable(store)).snapshot.version).toBe(6n)
})
