import { describe, expect, test } from 'bun:test'
import { type Fault, Faults } from '../helpers/faults.ts'
import { HELD, serveNew } from './served.ts'
import { BEFORE, DDL, ROWS, restore, SENTENCE, TIMES, tryNth, WAYS, type Way } from './ways.ts'

/** Also with all calls behind the n-th failing, and with the numbers of calls told. */
const ALL = process.env['FAULTS'] === 'all'

/** Every n for which there is a call to fail; what then is left behind does no harm to the next server. How many there were. */
async function tryAll(way: Way, fault: Omit<Fault, 'n'>): Promise<number> {
  const faults = new Faults()
  await using s = await serveNew(DDL, ROWS, TIMES, faults.seams)
  let n = 1
  while (await tryNth(s, faults, way, { ...fault, n })) {
    await restore(s)
    n++
  }
  const text = await s.read()
  await using again = await s.killed()
  await again.server.settle()
  expect({ fault, text: await again.read() }).toEqual({ fault, text })
  return n - 1
}

for (const way of WAYS) {
  describe(way.name, () => {
    for (const part of ['store', 'disk', 'database'] as const) {
      for (const when of ['before', 'after'] as const) {
        test(`is told as it went, whichever call of the ${part} fails, ${when} it took effect`, async () => {
          const counts = [await tryAll(way, { part, when })]
          if (part === 'store' && when === 'after') counts.push(await tryAll(way, { part, when, hidesLog: true }))
          if (ALL) counts.push(await tryAll(way, { part, when, lasting: true }))
          if (ALL) process.stderr.write(`${way.name}: ${part} ${when}: ${counts.join(' ')}\n`)
          if (part !== 'database') expect(Math.min(...counts)).toBeGreaterThan(0)
        }, 60_000)
      }
    }
  })
}

test('a file that is removed while it is open is back with its rows if they cannot be taken away', async () => {
  const faults = new Faults()
  await using s = await serveNew(DDL, ROWS, { ...HELD, awayMs: 1 }, faults.seams)
  faults.arm({ part: 'store', n: 1, when: 'before', lasting: true })
  await s.client.rename(s.data, 'data.csv', s.data, '.nfs0001')
  await s.server.settle()
  expect(faults.hasFailed).toBe(true)
  faults.heal()
  expect(await s.names()).toContain('data.csv')
  expect(await s.read()).toBe(BEFORE)
  expect(await s.read('.errors')).toMatch(SENTENCE)
})
