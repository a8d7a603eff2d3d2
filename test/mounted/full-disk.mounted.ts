import { afterAll, describe, expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ask } from '../../src/serve/control.ts'
import { BINARY, must, type Result, run } from './harness.ts'

const root = realpathSync(mkdtempSync(join(tmpdir(), 'posixlake-full-')))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const HEADER = 'id,name\n'
const ROWS = '1,Alice\n2,Bob\n'

/** A way of saving: a shell command in the mount, and what it leads to. The command fails if it was told of a failure. */
interface Way {
  readonly name: string
  readonly command: string
  /** The program says nothing, as nobody looks at its screen; its exit status tells. */
  readonly isSilent?: boolean
  after(before: string): string
}

/** Files that they read stand outside. */
const outside = (name: string): string => join(root, name)

const WAYS: readonly Way[] = [
  {
    name: '>>',
    command: `cat ${outside('row')} >> data/data.csv`,
    after: before => `${before}3,Carol\n`,
  },
  {
    name: 'cp',
    command: `sed 's/Bob/Bobby/' data/data.csv > ${outside('image')} && cp ${outside('image')} data/data.csv`,
    after: before => before.replace('Bob', 'Bobby'),
  },
  {
    name: 'sed -i',
    command: `sed -i 's/Alice/Alicia/' data/data.csv`,
    after: before => before.replace('Alice', 'Alicia'),
  },
  {
    name: 'vim',
    command: `vim -es -u NONE -N -c '%s/^1,Ali/1,Oli/' -c 'wq' -c 'cq!' data/data.csv`,
    isSilent: true,
    after: before => before.replace('1,Ali', '1,Oli'),
  },
  {
    name: '.query',
    command: `echo "INSERT INTO data VALUES (9, 'by SQL')" | tee .query > /dev/null`,
    after: before => `${before}9,by SQL\n`,
  },
  {
    name: 'data.jsonl',
    command: `cat ${outside('line')} >> data/data.jsonl`,
    after: before => `${before}5,Eve\n`,
  },
]

interface Full {
  readonly table: string
  readonly mount: string
  readonly pid: number
  sh(command: string): Promise<Result>
  fill(): Promise<void>
  makeRoom(): void
  close(): Promise<void>
}

/** A mounted table of which a folder is a small file system of its own. */
async function mounted(name: string, small: (table: string) => string): Promise<Full> {
  const folder = join(root, name)
  const table = join(folder, 'table')
  const mount = join(folder, 'mount')
  mkdirSync(mount, { recursive: true })
  mkdirSync(small(table), { recursive: true })
  await must(['mount', '-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', small(table)])
  await must([BINARY, 'create', table, '--schema', 'id:Int64,name:String'])
  await must([BINARY, 'mount', table, mount])
  const sh = (command: string): Promise<Result> => run(['bash', '-c', command], mount)
  const filler = join(small(table), '_filler')
  const { pid } = (await ask(table, 'status'))!
  return {
    table,
    mount,
    pid,
    sh,
    fill: async () => {
      const { code } = await run(['dd', 'if=/dev/zero', `of=${filler}`, 'bs=4k'])
      expect(code).not.toBe(0)
    },
    makeRoom: () => rmSync(filler),
    close: async () => {
      await must([BINARY, 'unmount', mount])
      await must(['umount', small(table)])
    },
  }
}

writeFileSync(outside('row'), '3,Carol\n')
writeFileSync(outside('line'), '{"id":5,"name":"Eve"}\n')

const PLACES = {
  'the table': (table: string) => table,
  'the state of its server': (table: string) => join(table, '_posixlake'),
} as const

for (const [place, small] of Object.entries(PLACES)) {
  describe(`when the disk of ${place} is full`, () => {
    test('each way of saving says so, readers go on, and all works again as soon as there is room', async () => {
      const m = await mounted(place.replaceAll(' ', '-'), small)
      const read = async (): Promise<string> => {
        const { code, stdout, stderr } = await m.sh('cat data/data.csv')
        expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
        return stdout
      }
      writeFileSync(outside('first'), HEADER + ROWS)
      expect(await m.sh(`cp ${outside('first')} data/data.csv`)).toMatchObject({ code: 0 })
      let text = await read()
      expect(text).toBe(HEADER + ROWS)
      for (const { name, command, isSilent, after } of WAYS) {
        await m.fill()
        await m.sh(': > .errors')
        const failed = await m.sh(command)
        const errors = readFileSync(join(m.mount, '.errors'), 'utf8')
        const now = await read()
        if (failed.code === 0) {
          // What needs no room there may succeed.
          expect({ name, now }).toEqual({ name, now: after(text) })
        } else {
          expect({ name, now }).toEqual({ name, now: text })
          const said = failed.stderr + failed.stdout + errors
          if (isSilent !== true)
            expect({ name, said }).toMatchObject({ name, said: expect.stringMatching(/[Nn]o space|disk is full/) })
        }
        text = now
        m.makeRoom()
        if (failed.code !== 0) {
          const again = await m.sh(command)
          expect({ name, code: again.code, said: again.stderr }).toMatchObject({ name, code: 0 })
          expect({ name, now: await read() }).toEqual({ name, now: after(text) })
          text = after(text)
        }
      }
      await m.fill()
      await m.sh('rm data/data.csv')
      await ask(m.table, 'settle')
      const left = await read()
      if (left !== HEADER) {
        expect(left).toBe(text)
        expect(readFileSync(join(m.mount, '.errors'), 'utf8')).toMatch(/[Nn]o space|disk is full/)
      }
      m.makeRoom()
      expect(await m.sh('rm data/data.csv')).toMatchObject({ code: 0 })
      await ask(m.table, 'settle')
      expect(await read()).toBe(HEADER)
      expect((await ask(m.table, 'status'))?.pid).toBe(m.pid)
      await m.close()
    }, 240_000)
  })
}
