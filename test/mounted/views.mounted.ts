import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { BINARY, type Mounted, mountTable, run } from './harness.ts'

const HEADER = 'id,name,age,city\n'
const ROWS = '1,Alice,30,London\n2,Bob,25,Paris\n3,Carol,41,Rome\n'

let m: Mounted

beforeAll(async () => {
  m = await mountTable({ schema: 'id:Int64,name:String,age:Int32,city:String' })
  await m.sh(`cat > data/data.csv <<'EOF'\n${HEADER}${ROWS}EOF`)
})
afterAll(async () => {
  await m.close()
})

const out = async (command: string): Promise<string> => {
  const { code, stdout, stderr } = await m.sh(command)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

describe('the views of a table', () => {
  test('programs read data.csv as any file', async () => {
    expect(await out('grep Bob data/data.csv')).toBe('2,Bob,25,Paris\n')
    expect(await out("awk -F, '{ s += $3 } END { print s }' data/data.csv")).toBe('96\n')
    expect(await out('wc -lc < data/data.csv | tr -s " "')).toBe(` 4 ${(HEADER + ROWS).length}\n`)
    expect(await out('head -1 data/data.csv')).toBe(HEADER)
    expect(await out('tail -n +2 data/data.csv | sort -t, -k3n | cut -d, -f2')).toBe('Bob\nAlice\nCarol\n')
    expect(await out('less -F data/data.csv | cat')).toBe(HEADER + ROWS)
    expect(await out('dd if=data/data.csv bs=7 skip=1 count=1 status=none')).toBe((HEADER + ROWS).slice(7, 14))
  })

  test('data.json is an array, data.jsonl a line each', async () => {
    expect(JSON.parse(await out('cat data/data.json'))[1]).toEqual({ id: 2, name: 'Bob', age: 25, city: 'Paris' })
    const lines = (await out('cat data/data.jsonl')).trimEnd().split('\n')
    expect(lines.map(line => JSON.parse(line).name)).toEqual(['Alice', 'Bob', 'Carol'])
  })

  test('a line appended to data.jsonl is a row, one commit; a bad one is refused', async () => {
    const before = await m.commits()
    await out(`cat > /tmp/line <<'EOF'\n{"id":4,"name":"Dave","city":null}\nEOF\ncat /tmp/line >> data/data.jsonl`)
    await m.settle()
    expect(await m.read()).toBe(`${HEADER}${ROWS}4,Dave,,\n`)
    expect(await m.commits()).toBe(before + 1)
    const { code } = await m.sh(`echo '{"id":"x"}' > /tmp/line; cat /tmp/line >> data/data.jsonl`)
    expect(code).not.toBe(0)
    expect(await m.errors()).toContain('id')
    await m.clearErrors()
    expect(await m.errors()).toBe('')
    await out("sed -i '/Dave/d' data/data.csv")
    expect(await m.read()).toBe(HEADER + ROWS)
  })

  test('what is read-only refuses to be written, removed and renamed', async () => {
    for (const command of [
      'echo x > data/data.json',
      'rm data/data.json',
      'mv schema.sql x',
      'echo x > schema.sql',
      'rmdir data',
      'rm .stats',
      'mv data data2',
    ]) {
      const { code } = await m.sh(command)
      expect({ command, failed: code !== 0 }).toEqual({ command, failed: true })
    }
    expect(await m.read()).toBe(HEADER + ROWS)
  })

  test('*.parquet are the live files, byte for byte', async () => {
    const names = (await m.list('data')).filter(name => name.endsWith('.parquet'))
    expect(names.length).toBeGreaterThan(0)
    for (const name of names) {
      await Bun.write('/tmp/file', await m.store.read(name))
      expect(await out(`cmp data/${name} /tmp/file && echo same`)).toBe('same\n')
    }
    expect((await m.sh(`echo x >> data/${names[0]}`)).code).not.toBe(0)
  })

  test('schema.sql and .stats', async () => {
    expect(await out('cat schema.sql')).toContain('age INT')
    const stats = JSON.parse(await out('cat .stats'))
    expect(stats).toMatchObject({ total_rows: 3, columns: 4 })
    expect(stats.total_size_bytes).toBeGreaterThan(0)
    expect(stats.version).toBe((await m.commits()) - 1)
  })

  test('.query runs what is written and shows the result', async () => {
    expect(await out('echo "SELECT city, age FROM data WHERE age > 26 ORDER BY age" > .query && cat .query')).toBe(
      'city,age\nLondon,30\nRome,41\n',
    )
    const before = await m.commits()
    expect(await out(`echo "UPDATE data SET age = age + 1 WHERE name = 'Bob'" > .query; cat .query`)).toBe(
      'inserted,updated,deleted\n0,1,0\n',
    )
    expect(await m.commits()).toBe(before + 1)
    expect(await m.read()).toBe(HEADER + ROWS.replace('Bob,25', 'Bob,26'))
    const { code } = await m.sh('echo "SELECT nope FROM data" > /tmp/q; cat /tmp/q > .query')
    expect(code).not.toBe(0)
    expect(await out('cat .query')).toContain('nope')
    expect(await out(`echo "UPDATE data SET age = 25 WHERE id = 2" > .query; cat .query`)).toContain('0,1,0')
  }, 120_000)

  test('a commit by another process is seen by the next open, and not by one that is open', async () => {
    const seen = await out(
      `exec 3<data/data.csv; head -c 5 <&3 >/dev/null; ${BINARY} query ${m.table} "DELETE FROM data WHERE id = 1" 2>/dev/null; cat data/data.csv > /tmp/next; tail -c +1 <&3 > /tmp/open; exec 3<&-; wc -l < /tmp/next; wc -l < /tmp/open`,
    )
    expect(seen).toBe('3\n4\n')
    await out(`${BINARY} query ${m.table} "INSERT INTO data VALUES (1,'Alice',30,'London')" 2>/dev/null`)
  }, 120_000)

  test('who has read half goes on while the bad save of another program is refused', async () => {
    const seen = await out(
      'exec 3<data/data.csv; head -c 5 <&3 >/dev/null; cp data/data.csv /tmp/bad; echo five,Bad,x,y >> /tmp/bad; cat /tmp/bad 2>/dev/null > data/data.csv && echo taken; tail -c +1 <&3 > /tmp/open; exec 3<&-; wc -l < /tmp/open; wc -l < data/data.csv',
    )
    expect(seen).toBe('4\n4\n')
    expect(await m.errors()).toContain('whole number')
  })

  test('tail -f follows appends', async () => {
    const follow = Bun.spawn(['tail', '-n', '0', '-f', m.csv], { stdout: 'pipe' })
    const reader = follow.stdout.getReader()
    await out(`sleep 1; echo '7,Fay,1,Oslo' >> data/data.csv`)
    const { value } = await reader.read()
    expect(new TextDecoder().decode(value)).toBe('7,Fay,1,Oslo\n')
    follow.kill()
    await follow.exited
  }, 120_000)

  test('df, du and find do not stumble', async () => {
    expect(await out('df . | wc -l')).toBe('2\n')
    expect(await out('du -s data | wc -l')).toBe('1\n')
    expect(await out('find . -name data.csv')).toBe('./data/data.csv\n')
  })

  test('columns are added by a save with a longer header, and none is lost by a shorter one', async () => {
    const before = await m.commits()
    await out(`cat > data/data.csv <<'EOF'\nid,name,age,city,score\n1,Alice,30,London,1.5\n2,Bob,25,Paris,\nEOF`)
    await m.settle()
    expect(await m.read()).toBe('id,name,age,city,score\n1,Alice,30,London,1.5\n2,Bob,25,Paris,\n')
    expect(await m.commits()).toBe(before + 1)
    expect(await out('cat schema.sql')).toContain('score DOUBLE')
    const { code } = await m.sh(`cat > data/data.csv <<'EOF'\nname,id\nAlice,1\nZoe,9\nEOF`)
    expect(code).not.toBe(0)
    expect(await m.errors()).toContain('data.csv: line 1: the header lacks the column age, which has values')
    await m.clearErrors()
    await out(`cat >> data/data.csv <<'EOF'\nname,id\nZoe,9\nEOF`)
    await m.settle()
    expect(await m.read()).toBe('id,name,age,city,score\n1,Alice,30,London,1.5\n2,Bob,25,Paris,\n9,Zoe,,,\n')
  })
})

describe('other mounts', () => {
  test('a table without columns takes them from the first save', async () => {
    const empty = await mountTable({ create: [] })
    expect(await empty.read()).toBe('')
    await empty.sh(`cat > data/data.csv <<'EOF'\nday,count\n2024-01-02,7\n2024-01-03,8\nEOF`)
    await empty.settle()
    expect(await empty.read()).toBe('day,count\n2024-01-02,7\n2024-01-03,8\n')
    expect(await empty.commits()).toBe(2)
    expect((await empty.sh('cat schema.sql')).stdout).toContain('day DATE')
    await empty.close()
  }, 120_000)

  test('--read-only refuses visibly', async () => {
    const ro = await mountTable({ schema: 'id:Int64', mountArgs: ['--read-only'] })
    // Whether an existing file may be written is a question of its rights.
    expect((await ro.sh('echo 1 >> data/data.csv')).stderr).toContain('Permission denied')
    for (const command of ['touch x', 'rm data/data.csv', 'mkdir d']) {
      expect((await ro.sh(command)).stderr).toContain('Read-only file system')
    }
    await ro.close()
  }, 120_000)

  test('a second user is refused, unless --allow-other', async () => {
    const as = (mount: Mounted): Promise<{ code: number }> =>
      run(['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', 'cat', mount.csv])
    await m.sh('true')
    expect((await as(m)).code).not.toBe(0)
    const open = await mountTable({ schema: 'id:Int64', mountArgs: ['--allow-other'] })
    await run(['chmod', '755', `${open.mount}/..`])
    expect((await as(open)).code).toBe(0)
    await open.close()
  }, 120_000)

  test('a mount by hand with plain options works', async () => {
    const [record] = JSON.parse((await m.posixlake('status', m.mount, '--format', 'json')).stdout) as [
      { address: string },
    ]
    const port = record.address.split(':')[1]
    const folder = (await run(['mktemp', '-d'])).stdout.trim()
    const mounted = await run([
      'mount',
      '-t',
      'nfs',
      '-o',
      `vers=3,tcp,nolock,port=${port},mountport=${port}`,
      '127.0.0.1:/',
      folder,
    ])
    expect(mounted).toEqual({ code: 0, stdout: '', stderr: '' })
    expect((await run(['cat', `${folder}/data/data.csv`])).stdout).toBe(await m.read())
    expect((await run(['umount', folder])).code).toBe(0)
  }, 120_000)
})
