import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { BINARY, type Mounted, mountTable, must, run } from './harness.ts'

/** Two mounts of a table with page caches of their own, as two containers have: the client keeps exports apart. */
let a: Mounted
let other: string
let nextId = 0

beforeAll(async () => {
  a = await mountTable({})
  other = `${a.mount}-other`
  mkdirSync(other)
  await must([BINARY, 'mount', a.table, other, '--allow-other'])
})

afterAll(async () => {
  await must([BINARY, 'unmount', other])
  await a.close()
})

const CSV = ['mount', 'mount-other'] as const
const csvOf = (which: (typeof CSV)[number]): string => join(which === 'mount' ? a.mount : other, 'data', 'data.csv')
const sh = (command: string): ReturnType<typeof run> => run(['bash', '-c', command])

async function ids(): Promise<number[]> {
  const { stdout } = await a.posixlake('query', a.table, 'SELECT id FROM data ORDER BY id', '--format', 'csv')
  return stdout.split('\n').slice(1, -1).map(Number)
}

const upTo = (from: number, count: number): number[] => Array.from({ length: count }, (_, i) => from + i)

/** What both mounts show is what the table has, and no byte that nobody wrote. */
async function expectAll(from: number, count: number): Promise<void> {
  await a.settle()
  expect((await ids()).filter(id => id >= from)).toEqual(upTo(from, count))
  for (const which of CSV) {
    const text = await must(['cat', csvOf(which)])
    expect(text).not.toContain('\0')
    const shown = text
      .split('\n')
      .slice(1, -1)
      .map(row => Number.parseInt(row, 10))
    expect(shown.filter(id => id >= from).toSorted((x, y) => x - y)).toEqual(upTo(from, count))
  }
  expect(await a.errors()).toBe('')
}

describe('two kernel mounts of a table', () => {
  for (const cache of ['warm', 'cold'] as const) {
    test(`append in turns, with ${cache} page caches, by SQL in between, and with readers that follow`, async () => {
      const from = nextId
      const followers = CSV.map(which =>
        Bun.spawn(['tail', '-n', '+1', '-f', csvOf(which)], { stdout: 'ignore', stderr: 'ignore' }),
      )
      for (let i = 0; i < 10; i++) {
        for (const which of CSV) {
          await must(cache === 'warm' ? ['cat', csvOf(which)] : ['sh', '-c', 'echo 3 > /proc/sys/vm/drop_caches'])
          expect((await sh(`echo '${nextId++},${which} ${i}' >> ${csvOf(which)}`)).stderr).toBe('')
        }
        if (i % 4 === 0) await a.posixlake('query', a.table, `INSERT INTO data VALUES (${nextId++}, 'by SQL')`)
      }
      for (const follower of followers) follower.kill()
      await expectAll(from, nextId - from)
    })
  }

  test('append from four processes on each', async () => {
    const from = nextId
    const loops = CSV.flatMap(which =>
      [0, 1, 2, 3].map(() => {
        const first = nextId
        nextId += 10
        return sh(`for i in $(seq ${first} ${first + 9}); do echo "$i,row" >> ${csvOf(which)} || exit 1; done`)
      }),
    )
    for (const { code, stderr } of await Promise.all(loops)) expect(`${code}${stderr}`).toBe('0')
    await expectAll(from, nextId - from)
  })

  test('append what a program held back while the other mount went on', async () => {
    const from = nextId
    const held = nextId++
    const there = nextId++
    const python = `
import os, subprocess
fd = os.open('${csvOf('mount')}', os.O_WRONLY | os.O_APPEND)
os.write(fd, b'${held},held\\n')
subprocess.check_call(['sh', '-c', "echo '${there},there' >> ${csvOf('mount-other')}"])
os.close(fd)
`
    for (const read of [true, false]) {
      if (read) await must(['cat', csvOf('mount')])
      const { code, stderr } = await run([
        'python3',
        '-c',
        read ? python : python.replaceAll(`${held},`, `${nextId++},`).replaceAll(`'${there},`, `'${nextId++},`),
      ])
      expect(`${code}${stderr}`).toBe('0')
    }
    await expectAll(from, nextId - from)
  })

  test('append on after a save that was refused', async () => {
    const from = nextId
    await sh(`echo 'no number,x' >> ${csvOf('mount')}`)
    await sh(`echo '${nextId++},other' >> ${csvOf('mount-other')}`)
    await sh(`echo '${nextId++},own' >> ${csvOf('mount')}`)
    await a.clearErrors()
    await expectAll(from, nextId - from)
  })

  test('append while the other one rewrites', async () => {
    const from = nextId
    const first = nextId
    nextId += 20
    const [appends, edits] = await Promise.all([
      sh(`for i in $(seq ${first} ${first + 19}); do echo "$i,row" >> ${csvOf('mount-other')} || exit 1; done`),
      sh(`for i in 1 2 3 4 5; do sed -i "s/^0,.*/0,edited $i/" ${csvOf('mount')} || exit 1; done`),
    ])
    expect([appends.code, appends.stderr, edits.code, edits.stderr]).toEqual([0, '', 0, ''])
    await expectAll(from, nextId - from)
    expect(await must(['cat', csvOf('mount')])).toContain('0,edited 5\n')
  })
})
