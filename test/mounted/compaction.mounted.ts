import { afterEach, describe, expect, test } from 'bun:test'
import { type Mounted, mountTable } from './harness.ts'

const SCHEMA = 'id:Int64,name:String'
const HEADER = 'id,name\n'
const row = (id: number): string => `${id},n${id}\n`
const rows = (from: number, to: number): string => Array.from({ length: to - from }, (_, i) => row(from + i)).join('')
const APPENDS = 60

let m: Mounted
afterEach(async () => {
  await m.close()
})

async function parquetFiles(): Promise<number> {
  return (await m.list('data')).filter(name => name.endsWith('.parquet')).length
}

async function appendAll(): Promise<void> {
  const { code } = await m.sh(`for i in $(seq ${APPENDS}); do echo "$i,n$i" >> data/data.csv || exit; done`)
  expect(code).toBe(0)
}

/** Waits until the server has put the small files together, which it does at a quiet moment. */
async function compacted(): Promise<void> {
  while ((await parquetFiles()) > 5) await Bun.sleep(200)
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) await Bun.sleep(100)
}

describe('a mounted table with many appends', () => {
  test('has few files, and who has it open notices nothing', async () => {
    m = await mountTable({ schema: SCHEMA })
    await m.sh('setsid tail -n +1 -f data/data.csv > /tmp/followed 2>&1 < /dev/null &')
    await appendAll()
    // Programs that have the file open or have read it: they save when the files are others.
    await m.sh(`setsid vim -u NONE -N -es -c 'call system("until [ -e /tmp/go ]; do sleep 0.1; done")' \\
      -c '%s/n7$/seven/' -c wq data/data.csv > /dev/null 2>&1 < /dev/null &
      setsid bash -c 'exec 3>> data/data.csv; until [ -e /tmp/go3 ]; do sleep 0.1; done; echo 1000,late >&3' > /dev/null 2>&1 < /dev/null &`)
    await until(async () => (await m.sh('pgrep -x vim')).code === 0)
    const stat = async (): Promise<string> => (await m.sh("stat -c '%i %s %y %z' data/data.csv")).stdout
    const before = await stat()
    expect(await parquetFiles()).toBeGreaterThan(5)
    await compacted()
    expect(await stat()).toBe(before)
    expect(await m.read()).toBe(HEADER + rows(1, APPENDS + 1))
    await m.sh('touch /tmp/go')
    const edited = (HEADER + rows(1, APPENDS + 1)).replace(',n7\n', ',seven\n')
    await until(async () => (await m.sh('pgrep -x vim')).code !== 0)
    await m.settle()
    expect(await m.read()).toBe(edited)
    await m.sh('touch /tmp/go3')
    await until(async () => (await m.read()).includes('late'))
    expect(await m.read()).toBe(`${edited}1000,late\n`)
    expect(await m.errors()).toBe('')
    await until(async () => (await m.sh('cat /tmp/followed')).stdout.includes(row(APPENDS)))
    expect((await m.sh('cat /tmp/followed')).stdout).toStartWith(HEADER + rows(1, APPENDS + 1))
    const { stdout } = await m.posixlake('status', m.mount)
    expect(stdout).toMatch(/^compacts {3}\d+ small files became \d/m)
    expect((await m.posixlake('history', m.table)).stdout).toMatch(/OPTIMIZE .*numAddedFiles=1/)
    await m.sh('pkill -x tail')
  })

  test('is followed by tail -f and replaced by mv, before and after', async () => {
    m = await mountTable({ schema: SCHEMA })
    await m.sh('setsid tail -n +1 -f data/data.csv > /tmp/followed2 2>&1 < /dev/null &')
    await appendAll()
    await m.sh("sed 's/n9$/nine/' data/data.csv > data/new")
    await compacted()
    await m.sh(`echo '61,n61' >> data/data.csv`)
    const followed = async (): Promise<string> => (await m.sh('cat /tmp/followed2')).stdout
    await until(async () => (await followed()).includes('61,n61\n'))
    expect(await followed()).toBe(HEADER + rows(1, APPENDS + 2))
    await m.sh('pkill -x tail')
    // A file that was made from the text before.
    await m.sh('echo 61,n61 >> data/new; mv data/new data/data.csv')
    expect(await m.read()).toBe(HEADER + rows(1, APPENDS + 2).replace('n9\n', 'nine\n'))
    expect(await m.errors()).toBe('')
  })

  test('keeps its files with --no-compact', async () => {
    m = await mountTable({ schema: SCHEMA, mountArgs: ['--no-compact'] })
    await appendAll()
    const { stdout } = await m.posixlake('status', m.mount)
    expect(stdout).toMatch(/^compacts {3}off$/m)
    await Bun.sleep(7000)
    expect(await parquetFiles()).toBe(APPENDS)
  })
})
