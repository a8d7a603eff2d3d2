import { afterAll, beforeAll, expect, test } from 'bun:test'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { type Mounted, mountTable, must, run } from './harness.ts'

let m: Mounted
let other: string
let port: string

beforeAll(async () => {
  m = await mountTable({ schema: 'id:Int64,name:String' })
  await must(['bash', '-c', `printf 'id,name\\n1,Alice\\n2,Bob\\n' > data/data.csv`], m.mount)
  await must(['bash', '-c', 'echo mine > mine.txt; mkdir notes; seq 100000 > notes/long; : > empty'], m.mount)
  await must(['bash', '-c', 'echo "SELECT name FROM data" > .query; cat .query'], m.mount)
  const [record] = JSON.parse((await m.posixlake('status', m.mount, '--format', 'json')).stdout) as [
    { address: string },
  ]
  port = record.address.split(':')[1]!
  other = join(m.mount, '..', 'other')
  mkdirSync(other)
})
afterAll(async () => {
  await m.close()
})

test('any file may be the first that is read from a mount, and all others after it', async () => {
  const files = (await must(['find', '.', '-type', 'f'], m.mount)).split('\n').filter(path => path !== '')
  expect(files.length).toBeGreaterThanOrEqual(11)
  for (const first of files) {
    await must(['mount', '-t', 'nfs', '-o', `vers=3,tcp,nolock,port=${port},mountport=${port}`, '127.0.0.1:/', other])
    const others = files.filter(path => path !== first)
    const read = await run(['md5sum', first], other)
    const { code, stderr } = await run(['md5sum', ...others], other)
    await must(['umount', other])
    expect({ first, read: read.code, code, stderr }).toEqual({ first, read: 0, code: 0, stderr: '' })
  }
}, 120_000)
