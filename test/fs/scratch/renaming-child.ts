import { Database } from 'bun:sqlite'
import { join } from 'node:path'
import { systemClock } from '../../../src/core/clock.ts'
import { Scratch } from '../../../src/fs/scratch/scratch.ts'

// Renames one file for ever, and tells each new name, until it is killed.
const [base] = process.argv.slice(2)
const database = new Database(join(base!, 'state.db'), { create: true })
const owner = { uid: 501, gid: 20 }
const scratch = new Scratch({
  directory: join(base!, 'files'),
  database,
  clock: systemClock,
  owner,
  log: console.error,
})

for (let i = 0; ; i++) {
  const [from, to] = i % 2 === 0 ? ([1n, 2n] as const) : ([2n, 1n] as const)
  await scratch.rename(from, `name-${i}`, to, `name-${i + 1}`)
  process.stdout.write(`name-${i + 1}\n`)
}
