import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { BINARY, type Mounted, mountTable, must, type Result, run } from './harness.ts'

const HEADER = 'id,name,age\n'
const ROWS = '1,Alice,30\n2,Bob,25\n3,Carol,41\n'

let m: Mounted

beforeAll(async () => {
  m = await mountTable({ schema: 'id:Int64,name:String,age:Int32', mountArgs: ['--allow-other'] })
  await must(['chmod', '755', join(m.mount, '..')])
  await m.sh(`cat > data/data.csv <<'EOF'\n${HEADER}${ROWS}EOF`)
})
afterAll(async () => {
  await m.close()
})

const out = async (command: string): Promise<string> => {
  const { code, stdout, stderr } = await m.sh(command)
  expect({ command, code, stderr }).toEqual({ command, code: 0, stderr: '' })
  return stdout
}

describe('queries/', () => {
  test('a query written there has its result beside it, for every way of reading', async () => {
    await out(`echo 'SELECT name, age FROM data ORDER BY age' > queries/ages.sql`)
    const csv = 'name,age\nBob,25\nAlice,30\nCarol,41\n'
    expect(await out('cat queries/ages.csv')).toBe(csv)
    for (const command of [
      'cat queries/ages.csv',
      'dd if=queries/ages.csv bs=1 status=none',
      'tail -n +1 queries/ages.csv',
      'cp queries/ages.csv /tmp/copy; cat /tmp/copy',
      'head -c 1000 queries/ages.csv',
      `python3 -c "import mmap; f = open('queries/ages.csv', 'rb'); print(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[:].decode(), end='')"`,
    ]) {
      expect({ command, stdout: await out(command) }).toEqual({ command, stdout: csv })
    }
    expect(await out('wc -c < queries/ages.csv')).toBe(`${csv.length}\n`)
    expect(await out('grep -c , queries/ages.csv')).toBe('4\n')
    expect(JSON.parse(await out('cat queries/ages.json'))[0]).toEqual({ name: 'Bob', age: 25 })
    expect(await out('tail -n 1 queries/ages.jsonl')).toBe('{"name":"Carol","age":41}\n')
    expect(await out('stat -c "%s %A" queries/ages.csv')).toBe(`${csv.length} -r--r--r--\n`)
  }, 120_000)

  test('the first program of all may be one that trusts the size', async () => {
    const csv = 'name\nAlice\nBob\nCarol\n'
    for (const command of [
      'wc -c < queries/NAME.csv',
      'wc -c queries/NAME.csv | cut -d" " -f1',
      `python3 -c "import os; print(os.fstat(os.open('queries/NAME.csv', os.O_RDONLY)).st_size)"`,
      'cp queries/NAME.csv /tmp/copy; wc -c < /tmp/copy',
      'tail -c 6 queries/NAME.csv > /tmp/tail; wc -c < queries/NAME.csv',
      'ls -l queries > /dev/null; wc -c < queries/NAME.csv',
      'stat queries/NAME.csv > /dev/null; cat queries/NAME.csv | wc -c',
      'tar cf /tmp/t.tar queries/NAME.csv; tar xOf /tmp/t.tar | wc -c',
    ]) {
      const name = `q${Bun.hash.crc32(command)}`
      await out(`echo 'SELECT name FROM data ORDER BY id' > queries/${name}.sql`)
      expect({ command, stdout: await out(command.replaceAll('NAME', name)) }).toEqual({
        command,
        stdout: `${csv.length}\n`,
      })
      await out(`rm queries/${name}.sql`)
    }
  }, 120_000)

  test('a result is of the table as it is, and of the query as it is', async () => {
    await out(`echo 'SELECT count(*) AS n FROM data' > queries/count.sql`)
    expect(await out('cat queries/count.csv')).toBe('n\n3\n')
    await out(`echo '4,Dave,50' >> data/data.csv`)
    expect(await out('cat queries/count.csv')).toBe('n\n4\n')
    await out(`${BINARY} query ${m.table} "DELETE FROM data WHERE id = 4" 2>/dev/null`)
    expect(await out('cat queries/count.csv; wc -c < queries/count.csv')).toBe('n\n3\n4\n')
    await out(`${BINARY} query ${m.table} "INSERT INTO data SELECT 100 + range, 'x', 1 FROM range(100)" 2>/dev/null`)
    expect(await out('cat queries/count.csv; wc -c < queries/count.csv')).toBe('n\n103\n6\n')
    await out(`${BINARY} query ${m.table} "DELETE FROM data WHERE id >= 100" 2>/dev/null`)
    await out(`sed -i 's/count(\\*)/max(age)/' queries/count.sql`)
    expect(await out('cat queries/count.csv')).toBe('n\n41\n')
    await out('mv queries/count.sql queries/oldest.sql')
    expect(await out('cat queries/oldest.csv; ls queries | grep -c count || true')).toBe('n\n41\n0\n')
    await out('rm queries/oldest.sql')
    expect(await out('ls -a queries | grep oldest || true')).toBe('')
  }, 120_000)

  test('a program that reads on while the table changes gets one result, whole', async () => {
    await out(`echo 'SELECT range, (SELECT count(*) FROM data) AS n FROM range(300000)' > queries/long.sql`)
    const seen = await out(
      `exec 3< queries/long.csv; head -c 10 <&3 > /tmp/long; ${BINARY} query ${m.table} "INSERT INTO data VALUES (9, 'Zoe', 9)" 2>/dev/null; tail -n 1 queries/long.csv; cat <&3 >> /tmp/long; tail -n 1 /tmp/long; wc -l < /tmp/long`,
    )
    expect(seen).toBe('299999,4\n299999,3\n300001\n')
    await out(`sed -i '/Zoe/d' data/data.csv; rm queries/long.sql`)
  }, 120_000)

  test('looking at the folder runs nothing', async () => {
    await m.clearErrors()
    for (let i = 0; i < 3; i++) await out(`echo 'SELECT nope FROM data' > queries/bad${i}.sql`)
    await out('ls -l queries; ls -la queries/; find queries -size +0 | wc -l; stat queries/*.csv; du -a queries')
    expect(await out('find queries -size 0')).toBe('')
    expect(await m.errors()).toBe('')
    const { code, stderr } = await m.sh('cat queries/bad1.csv')
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('Invalid argument') })
    expect(await m.errors()).toMatch(/ queries\/bad1\.csv: .*nope/)
    await out(`echo 'SELECT 1 AS n' > queries/bad1.sql`)
    expect(await out('cat queries/bad1.csv; rm queries/bad*.sql')).toBe('n\n1\n')
    await m.clearErrors()
  }, 120_000)

  test('nothing is changed by reading, and nothing is written into a result', async () => {
    const before = await m.commits()
    await out(`echo "DELETE FROM data" > queries/purge.sql`)
    expect((await m.sh('cat queries/purge.csv')).code).toBe(1)
    expect(await m.errors()).toContain('queries/purge.csv: DELETE is refused here')
    await out(`echo "SELECT 1" > queries/purge.sql`)
    for (const [command, words] of [
      ['echo x > queries/purge.csv', 'Permission denied'],
      ['echo x > queries/new.json', 'Permission denied'],
      ['cp data/data.csv queries/copy.csv', 'Permission denied'],
      ['rm -f queries/purge.csv', 'Permission denied'],
      ['mv queries/purge.csv queries/kept.csv', 'Permission denied'],
      ['echo x > x; mv -f x queries/purge.csv', 'Permission denied'],
      ['mkdir queries/d.csv', 'Permission denied'],
    ] as const) {
      expect({ command, ...(await m.sh(command)) }).toMatchObject({
        command,
        code: 1,
        stderr: expect.stringContaining(words),
      })
    }
    expect(await m.errors()).toContain('queries/copy.csv: the name is kept for the result of queries/copy.sql')
    expect(await m.commits()).toBe(before)
    await out('rm queries/purge.sql x')
    await m.clearErrors()
  }, 120_000)

  test('many programs read many results at once', async () => {
    await out('for i in $(seq 20); do echo "SELECT $i AS n, count(*) AS c FROM data" > queries/m$i.sql; done')
    const seen = await out('for i in $(seq 20) $(seq 20); do tail -qn 1 queries/m$i.csv & done; wait')
    expect(seen.trimEnd().split('\n').sort()).toEqual(Array.from({ length: 40 }, (_, i) => `${(i % 20) + 1},3`).sort())
    expect(await out('grep -h -r , queries --include=m*.csv | sort -u | wc -l')).toBe('21\n')
    await out('rm queries/m*.sql; ls queries | grep -c ^m || true')
  }, 120_000)

  test('vim writes a query, and a read-only mount shows the result', async () => {
    await out(`vim -es -u NONE -c 'call setline(1, "SELECT sum(age) AS s FROM data")' -c 'wq' queries/sum.sql`)
    expect(await out('cat queries/sum.csv')).toBe('s\n96\n')
    await must([BINARY, 'unmount', m.mount])
    await must([BINARY, 'mount', m.table, m.mount, '--read-only', '--allow-other'])
    expect(await out('cat queries/sum.csv; wc -c < queries/sum.csv; ls queries | grep sum | wc -l')).toBe(
      's\n96\n5\n4\n',
    )
    expect((await m.sh('echo "SELECT 1" > queries/other.sql')).stderr).toContain('Read-only file system')
    await must([BINARY, 'unmount', m.mount])
    await must([BINARY, 'mount', m.table, m.mount, '--allow-other'])
  }, 120_000)

  test('rm -r takes the folder away once the queries are gone, and mkdir brings it back', async () => {
    await out('mkdir queries/kept; rm -r queries/kept; rm -f queries/*.sql; rmdir queries; mkdir queries')
    await out(`echo 'SELECT 1 AS n' > queries/one.sql`)
    expect(await out('cat queries/one.csv; rm queries/one.sql')).toBe('n\n1\n')
  }, 60_000)
})

describe('.query', () => {
  const as = (uid: number, command: string): Promise<Result> =>
    run(
      ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', 'bash', '-c', `cd ${m.mount}; ${command}`],
      '/',
    )

  test('users who ask at the same time each get their own answer', async () => {
    const loop = (uid: number): string =>
      `for i in 1 2 3 4 5; do echo "SELECT ${uid} AS u, $i AS i" > .query && cat .query || echo failed; done`
    const uids = [0, 1001, 1002, 1003]
    const answers = await Promise.all(uids.map(uid => as(uid, loop(uid))))
    for (const [i, uid] of uids.entries()) {
      const wanted = [1, 2, 3, 4, 5].map(n => `u,i\n${uid},${n}\n`).join('')
      expect(answers[i]).toEqual({ code: 0, stdout: wanted, stderr: '' })
    }
    for (const uid of uids) {
      expect((await as(uid, 'cat .query; ls -l .query | wc -l; wc -c < .query')).stdout).toContain(`${uid},5\n1\n`)
    }
  }, 120_000)

  test('a program that inherits an open file goes on with it', async () => {
    expect((await as(1001, 'echo "SELECT 7 AS n" > .query')).code).toBe(0)
    const inherited = await as(1001, 'exec 3< .query; sleep 1; cat <&3')
    expect(inherited.stdout).toBe('n\n7\n')
    const other = `setpriv --reuid=1001 --regid=1001 --clear-groups bash -c 'exec 3< .query; echo opened; cat > /dev/null; cat <&3'`
    expect(await out(`echo | ${other}`)).toBe('opened\nn\n7\n')
    const handed = `python3 -c "
import os
os.setegid(1001); os.seteuid(1001)
f = os.open('.query', os.O_RDONLY)
os.seteuid(0); os.setegid(0)
print(os.fstat(f).st_size, os.read(f, 100).decode(), end='')"`
    expect(await out(handed)).toBe('4 n\n7\n')
  }, 60_000)
})

describe('mounts by hand', () => {
  test('any folder below an export can be mounted, nothing else', async () => {
    const [record] = JSON.parse((await m.posixlake('status', m.mount, '--format', 'json')).stdout) as [
      { address: string },
    ]
    const port = record.address.split(':')[1]
    const folder = join(m.mount, '..', 'below')
    mkdirSync(folder)
    await out('mkdir -p notes/deep; echo mine > notes/deep/a.txt')
    const mount = (path: string): Promise<Result> =>
      run(['mount', '-t', 'nfs', '-o', `vers=3,tcp,nolock,port=${port},mountport=${port}`, `127.0.0.1:${path}`, folder])
    for (const [path, file] of [
      ['/data', 'data.csv'],
      ['/posixlake/data', 'data.csv'],
      ['/posixlake/notes', 'deep/a.txt'],
      ['/posixlake/notes/deep', 'a.txt'],
      ['/posixlake', 'data/data.csv'],
    ]) {
      expect({ path, ...(await mount(path!)) }).toEqual({ path, code: 0, stdout: '', stderr: '' })
      expect((await run(['cat', join(folder, file!)])).stdout).toBe(file!.endsWith('.csv') ? HEADER + ROWS : 'mine\n')
      expect((await run(['ls', '-a', folder])).stdout).toStartWith('.\n..\n')
      await must(['umount', folder])
    }
    expect((await mount('/posixlake/data/data.csv')).stderr).toMatch(/Not a directory/i)
    expect((await mount('/posixlake/none')).stderr).toMatch(/No such file/i)
    await out('rm -r notes')
  }, 120_000)
})

describe('small views', () => {
  test('are whole for each of many readers while the table and the errors change', async () => {
    const reader = `
import json, os
for i in range(40):
    seen = {}
    for name in ('.stats', 'schema.sql', '.errors'):
        with open(name) as f:
            size = os.fstat(f.fileno()).st_size
            seen[name] = f.read()
            if len(seen[name].encode()) != os.fstat(f.fileno()).st_size: print('torn', name, size)
    json.loads(seen['.stats'])
    if not (seen['schema.sql'].startswith('CREATE TABLE') and seen['schema.sql'].endswith(';\\n')): print('torn', seen)
    if any(not line.startswith('20') for line in seen['.errors'].splitlines()): print('torn', seen)
print('done')
`
    await Bun.write('/tmp/reader.py', reader)
    const script = `
      for reader in 1 2 3; do python3 /tmp/reader.py > /tmp/reader$reader 2>&1 & done
      for i in 1 2 3 4 5 6 7 8; do
        echo "$((1000 + i)),row,1" >> data/data.csv
        echo "bad$i" > /tmp/bad; cat /tmp/bad >> data/data.csv 2> /dev/null
      done
      wait
      cat /tmp/reader[1-3]`
    expect(await out(script)).toBe('done\ndone\ndone\n')
    await out(`sed -i '/,row,1$/d' data/data.csv`)
    await m.clearErrors()
  }, 120_000)
})
