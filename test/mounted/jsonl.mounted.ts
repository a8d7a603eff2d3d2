import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Mounted, mountTable } from './harness.ts'

const SCHEMA = 'id:Int64,name:String,age:Int32,city:String'
const PEOPLE: readonly Person[] = [
  { id: 1, name: 'Alice', age: 30, city: 'London' },
  { id: 2, name: 'Bob', age: 25, city: 'Paris' },
  { id: 3, name: 'Carol', age: 41, city: 'Rome' },
]
const DAVE: Person = { id: 4, name: 'Dave', age: 28, city: 'Boston' }

interface Person {
  readonly id: number
  readonly name: string
  readonly age: number | null
  readonly city: string
}

let m: Mounted
let jsonl: string
let commitsBefore: number

beforeAll(async () => {
  m = await mountTable({ schema: SCHEMA })
  jsonl = `${m.data}/data.jsonl`
})
afterAll(async () => {
  await m.close()
})

const lines = (people: readonly Person[]): string => people.map(person => `${JSON.stringify(person)}\n`).join('')
const rows = (people: readonly Person[]): string =>
  `id,name,age,city\n${people.map(({ id, name, age, city }) => `${id},${name},${age ?? ''},${city}\n`).join('')}`

/** The people, one of them changed. */
function having(id: number, change: Partial<Person>): Person[] {
  return PEOPLE.map(person => (person.id === id ? { ...person, ...change } : person))
}

async function cat(path: string): Promise<string> {
  const { code, stdout, stderr } = await m.sh(`cat ${path}`)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

/** Both views show these people, in this order. */
async function shows(people: readonly Person[]): Promise<void> {
  expect(await cat(jsonl)).toBe(lines(people))
  expect(await m.read()).toBe(rows(people))
}

async function startWith(people: readonly Person[]): Promise<void> {
  await m.write('/tmp/start', lines(people))
  await m.sh(`cat /tmp/start > ${jsonl}`)
  await m.settle()
  await shows(people)
  commitsBefore = await m.commits()
}

/** Runs a save and checks that both views show its outcome, that it was exactly one commit, and no error. */
async function saves(command: string, people: readonly Person[], commits = 1): Promise<void> {
  const errors = await m.errors()
  const { code, stderr } = await m.sh(command)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  await m.settle()
  await shows(people)
  expect((await m.commits()) - commitsBefore).toBe(commits)
  expect(await m.errors()).toBe(errors)
}

/** Runs a save that fails, and checks that nothing changed and that `.errors` says why. */
async function refuses(command: string, sentence: string): Promise<void> {
  await m.clearErrors()
  const { code } = await m.sh(command)
  expect(code).not.toBe(0)
  await m.settle()
  await shows(PEOPLE)
  expect(await m.commits()).toBe(commitsBefore)
  expect(await m.errors()).toContain(sentence)
}

describe('an append to data.jsonl is one commit', () => {
  for (const [name, command] of [
    ['cat >>', 'cat /tmp/more >> data.jsonl'],
    ['tee -a', 'tee -a data.jsonl < /tmp/more > /dev/null'],
    ['dd oflag=append conv=notrunc', 'dd if=/tmp/more of=data.jsonl oflag=append conv=notrunc status=none'],
    ['jq -c >>', 'jq -c . /tmp/more >> data.jsonl'],
    ['jq >>, which spans lines', 'jq . /tmp/more >> data.jsonl'],
    [
      'python, with blanks and keys in another order',
      `python3 -c "
import json
row = json.load(open('/tmp/more'))
open('data.jsonl', 'a').write(json.dumps(dict(reversed(row.items()))) + '\\n')"`,
    ],
  ] as const) {
    test(name, async () => {
      await startWith(PEOPLE)
      await m.write('/tmp/more', lines([DAVE]))
      await saves(`cd ${m.data} && ${command}`, [...PEOPLE, DAVE])
    })
  }
})

describe('a rewrite of data.jsonl is one commit, and lines stay where they are', () => {
  const changed = having(1, { age: 31 })
  const python = (code: string): string => `python3 -c "\n${code}"`

  for (const [name, command] of [
    ['cat >', 'cat /tmp/new > data.jsonl'],
    ['cp', 'cp /tmp/new data.jsonl'],
    ['tee', 'tee data.jsonl < /tmp/new > /dev/null'],
    ['dd', 'dd if=/tmp/new of=data.jsonl status=none'],
    ['sed -i', `sed -i 's/"age":30/"age":31/' data.jsonl`],
    ['sed -i, with a blank', `sed -i 's/"age":30/"age": 31/' data.jsonl`],
    ['perl -pi', `perl -pi -e 's/"age":30/"age":31/' data.jsonl`],
    ['vim', `vim -u NONE -N -es -c '%s/"age":30/"age":31/' -c wq data.jsonl`],
    ['vim, in place', `vim -u NONE -N -es -c 'set backupcopy=yes' -c '%s/"age":30/"age":31/' -c wq data.jsonl`],
    ['vim, nobackup', `vim -u NONE -N -es -c 'set nobackup nowritebackup' -c '%s/"age":30/"age":31/' -c wq data.jsonl`],
    ['ed', `printf '%s\\n' ',s/"age":30/"age":31/' w q | ed -s data.jsonl`],
    ['jq -c | sponge', `jq -c 'if .id == 1 then .age = 31 else . end' data.jsonl | sponge data.jsonl`],
    ['jq | sponge, which spans lines', `jq 'if .id == 1 then .age = 31 else . end' data.jsonl | sponge data.jsonl`],
    [
      'jq -cS into a file beside it, and mv',
      `jq -cS '.age += (if .id == 1 then 1 else 0 end)' data.jsonl > t && mv t data.jsonl`,
    ],
    ['mv from another file system', 'cp /tmp/new /tmp/moved && mv /tmp/moved data.jsonl'],
    ['install', 'install /tmp/new data.jsonl'],
    ['rsync', 'rsync --ignore-times /tmp/new data.jsonl'],
    ['rsync --inplace', 'rsync --ignore-times --inplace /tmp/new data.jsonl'],
    ['tar x', 'cp /tmp/new /tmp/data.jsonl && tar cf /tmp/new.tar -C /tmp data.jsonl && tar xf /tmp/new.tar'],
    ['mv to a backup and cp back', 'mv data.jsonl old.jsonl && cp /tmp/new data.jsonl && rm old.jsonl'],
    ['python w', python(`t = open('data.jsonl').read().replace('30', '31')\nopen('data.jsonl', 'w').write(t)`)],
    [
      'python r+',
      python(
        `f = open('data.jsonl', 'r+')\nt = f.read().replace('30', '31')\nf.seek(0)\nf.write(t)\nf.truncate()\nf.close()`,
      ),
    ],
    [
      'python json.dumps',
      python(`import json
people = [json.loads(line) for line in open('data.jsonl')]
people[0]['age'] = 31
open('data.jsonl', 'w').write(''.join(json.dumps(p) + '\\n' for p in people))`),
    ],
    [
      'python os.replace',
      python(`import os
t = open('data.jsonl').read().replace('30', '31')
open('tmp', 'w').write(t)
os.replace('tmp', 'data.jsonl')`),
    ],
  ] as const) {
    test(name, async () => {
      await startWith(PEOPLE)
      await m.write('/tmp/new', lines(changed))
      await saves(`cd ${m.data} && ${command}`, changed)
      expect((await m.list('data')).filter(other => !other.endsWith('.parquet')).sort()).toEqual([
        'data.csv',
        'data.json',
        'data.jsonl',
      ])
    })
  }

  test('dd conv=notrunc', async () => {
    await startWith(PEOPLE)
    const at = lines(PEOPLE).indexOf('30,"city"')
    await saves(`printf 31 | dd of=${jsonl} bs=1 seek=${at} conv=notrunc status=none`, changed)
  })
  test('mmap and msync', async () => {
    await startWith(PEOPLE)
    const at = lines(PEOPLE).indexOf('30,"city"')
    await saves(
      python(`import mmap
f = open('${jsonl}', 'r+b')
w = mmap.mmap(f.fileno(), 0)
w[${at}:${at + 2}] = b'31'
w.flush(); w.close(); f.close()`),
      changed,
    )
  })
  test('with an update, an insert and a delete', async () => {
    await startWith(PEOPLE)
    const people = [PEOPLE[0]!, DAVE, { ...PEOPLE[2]!, age: null }]
    await m.write('/tmp/new', lines(people))
    await saves(`cp /tmp/new ${jsonl}`, people)
  })
  test('python r+, rewritten shorter, then truncate()', async () => {
    await startWith(PEOPLE)
    await saves(
      python(`f = open('${jsonl}', 'r+')
t = ''.join(line for line in f if 'Bob' not in line)
f.seek(0); f.write(t); f.truncate(); f.close()`),
      PEOPLE.filter(({ name }) => name !== 'Bob'),
    )
  })
  for (const [name, command] of [
    ['the same text', 'cat /tmp/start > data.jsonl'],
    ['jq, which spans lines', 'jq . data.jsonl > t; mv t data.jsonl'],
    ['sort -r', 'sort -r data.jsonl | sponge data.jsonl'],
    ['keys in another order', 'jq -cS . /tmp/start | sponge data.jsonl'],
  ] as const) {
    test(`${name} is none`, async () => {
      await startWith(PEOPLE)
      await saves(`cd ${m.data} && ${command}`, PEOPLE, 0)
    })
  }
  for (const [name, command] of [
    ['rm', 'rm data.jsonl'],
    [': >', ': > data.jsonl'],
    ['truncate', 'truncate -s 0 data.jsonl'],
    ['cp /dev/null', 'cp /dev/null data.jsonl'],
  ] as const) {
    test(`${name} deletes all rows, and again is none`, async () => {
      await startWith(PEOPLE)
      await saves(`cd ${m.data} && ${command}`, [])
      await saves(`cd ${m.data} && ${command}`, [])
    })
  }
  test('mv away leaves a copy, and the view', async () => {
    await startWith(PEOPLE)
    await saves(`cd ${m.data} && mv data.jsonl ../copy.jsonl`, PEOPLE, 0)
    expect(await cat(`${m.mount}/copy.jsonl`)).toBe(lines(PEOPLE))
    await saves(`cd ${m.data} && sed -i 's/30/31/' ../copy.jsonl && mv ../copy.jsonl data.jsonl`, changed)
  })
  test('many megabytes in many WRITE calls, and one line of them', async () => {
    await startWith(PEOPLE)
    const many = Array.from({ length: 100_000 }, (_, id) => ({ id, name: `Name ${id}`, age: id % 90, city: 'X' }))
    await m.write('/tmp/big', lines(many))
    await saves(`cp /tmp/big ${jsonl}`, many)
    commitsBefore = await m.commits()
    await saves(
      `sed -i 's/"Name 777"/"Another"/' ${jsonl}`,
      many.map(person => (person.id === 777 ? { ...person, name: 'Another' } : person)),
    )
  }, 120_000)
})

describe('what data.jsonl cannot take is refused, and .errors says why', () => {
  test('a bad row, by every way of saving', async () => {
    await startWith(PEOPLE)
    const sentence = 'data.jsonl: line 2, column age'
    await refuses(`sed -i 's/"age":25/"age":"old"/' ${jsonl}`, sentence)
    await m.write('/tmp/bad', lines(PEOPLE).replace('"age":25', '"age":"old"'))
    await refuses(`cp /tmp/bad ${jsonl}`, sentence)
    await refuses(`cat /tmp/bad > ${jsonl}`, sentence)
    await refuses(`cat /tmp/bad >> ${jsonl}`, 'data.jsonl: line 5, column age')
    await refuses(`cp /tmp/bad ${m.data}/t && mv ${m.data}/t ${jsonl}`, sentence)
    await refuses(`jq -s . ${jsonl} > ${m.data}/t && mv ${m.data}/t ${jsonl}`, 'line 1: a row is one JSON object')
    await m.sh(`rm ${m.data}/t`)
  })
  test('a column that would be lost, as in data.csv', async () => {
    await startWith(PEOPLE)
    await refuses(
      `cd ${m.data} && jq -c 'del(.city)' data.jsonl > t && mv t data.jsonl`,
      'data.jsonl: no line has the key "city", which has values',
    )
    await refuses(
      `cd ${m.data} && sed -i '1s/city/town/' data.csv`,
      'data.csv: line 1: the header lacks the column city, which has values',
    )
    await refuses(`cut -d, -f1-3 ${m.csv} > ${m.data}/t; cat ${m.data}/t > ${m.csv}`, 'lacks the column city')
    await m.sh(`rm ${m.data}/t`)
  })
  test('other views, and names of views', async () => {
    await startWith(PEOPLE)
    const parquet = (await m.list('data')).find(name => name.endsWith('.parquet'))
    for (const [view, path] of [
      ['data.json', 'data/data.json'],
      [parquet, `data/${parquet}`],
      ['schema.sql', 'schema.sql'],
      ['.stats', '.stats'],
    ]) {
      await refuses(`sed -i 's/a/b/' ${path}`, `${view}: `)
      await refuses(`rm -f ${path}`, `${view}: `)
      await refuses(`mv ${path} elsewhere`, `${view}: `)
      await refuses(`cp /tmp/start t; mv -f t ${path}`, `${view}: `)
    }
    await refuses('mv data/data.jsonl data/data.json', 'data.json: ')
    await m.sh('rm -f t')
  })
})

describe('the two views of one table', () => {
  test('take turns', async () => {
    await startWith(PEOPLE)
    for (let i = 0; i < 5; i++) {
      await m.sh(`sed -i 's/Bob,[0-9]*/Bob,5${i}/' ${m.csv} && sed -i 's/"age":4[0-9]/"age":4${i}/' ${jsonl}`)
      await shows([PEOPLE[0]!, { ...PEOPLE[1]!, age: 50 + i }, { ...PEOPLE[2]!, age: 40 + i }])
    }
    expect((await m.commits()) - commitsBefore).toBe(10)
  })
  test('lose no row of appends through both at once', async () => {
    await startWith(PEOPLE)
    const result = await m.sh(`
      (for i in $(seq 10 29); do echo "$i,C,1,X" >> ${m.csv}; done) &
      (for i in $(seq 30 49); do echo "{\\"id\\":$i,\\"name\\":\\"J\\",\\"age\\":1,\\"city\\":\\"X\\"}" >> ${jsonl}; done) &
      wait`)
    expect(result).toMatchObject({ code: 0, stderr: '' })
    await m.settle()
    const { stdout } = await m.sh(`jq -c .id ${jsonl} | sort -n | tr '\\n' ' '`)
    const ids = [1, 2, 3, ...Array.from({ length: 40 }, (_, i) => i + 10)]
    expect(stdout).toBe(`${ids.join(' ')} `)
    expect((await m.read()).split('\n').length).toBe(ids.length + 2)
    expect(await m.errors()).not.toContain('set aside')
  })
  test('may be made from each other, though the shell truncates before anything is read', async () => {
    await startWith(PEOPLE)
    const older = PEOPLE.map(person => ({ ...person, age: person.age! + 1 }))
    const csv = `(echo id,name,age,city; jq -r '[.id, .name, .age + 1, .city] | @csv' data.jsonl) > data.csv`
    await saves(`cd ${m.data} && ${csv}`, older)
    const object = '{id: .[0] | tonumber, name: .[1], age: (.[2] | tonumber - 1), city: .[3]}'
    await saves(`cd ${m.data} && tail -n +2 data.csv | jq -Rc 'split(",") | ${object}' > data.jsonl`, PEOPLE, 2)
  })
  test('a key that is new is a column of both', async () => {
    await startWith(PEOPLE)
    const { code } = await m.sh(`jq -c '. + {adult: (.age > 26)}' ${jsonl} | sponge ${jsonl}`)
    expect(code).toBe(0)
    await m.settle()
    expect(await m.read()).toBe(
      'id,name,age,city,adult\n1,Alice,30,London,true\n2,Bob,25,Paris,false\n3,Carol,41,Rome,true\n',
    )
    expect(await cat('schema.sql')).toContain('adult BOOLEAN')
    expect((await m.commits()) - commitsBefore).toBe(1)
  })
})
