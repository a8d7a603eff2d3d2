import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { BINARY, isOnS3, type Mounted, mountTable } from './harness.ts'

const SCHEMA = 'id:Int64,name:String,age:Int32,city:String'
const HEADER = 'id,name,age,city\n'
const ROWS = '1,Alice,30,London\n2,Bob,25,Paris\n3,Carol,41,Rome\n'

let m: Mounted
/** The text and the number of commits before a save. */
let before: { csv: string; commits: number }

beforeAll(async () => {
  m = await mountTable({ schema: SCHEMA })
})
afterAll(async () => {
  await m.close()
})

/** Puts the table into a known state, by a save of its own. */
async function startWith(rows: string): Promise<void> {
  await m.sh(`cat > ${m.csv} <<'EOF'\n${HEADER}${rows}EOF`)
  await m.settle()
  expect(await m.read()).toBe(HEADER + rows)
  before = { csv: HEADER + rows, commits: await m.commits() }
}

/** Runs a save and checks that it gave this text in exactly one commit, with no error. */
async function saves(command: string, rows: string, commits = 1): Promise<void> {
  const errors = await m.errors()
  const result = await m.sh(command)
  expect({ code: result.code, stderr: result.stderr }).toEqual({ code: 0, stderr: '' })
  await m.settle()
  expect(await m.read()).toBe(HEADER + rows)
  expect((await m.commits()) - before.commits).toBe(commits)
  expect(await m.errors()).toBe(errors)
}

describe('an append is one commit', () => {
  test('echo >> with one row', async () => {
    await startWith(ROWS)
    await saves(`echo '4,Dave,28,Boston' >> ${m.csv}`, `${ROWS}4,Dave,28,Boston\n`)
  })
  test('cat >> with many rows', async () => {
    await startWith(ROWS)
    const more = Array.from({ length: 500 }, (_, i) => `${i + 10},N${i},${i % 90},C${i % 7}\n`).join('')
    await m.write('/tmp/more', more)
    await saves(`cat /tmp/more >> ${m.csv}`, ROWS + more)
  })
  test('cat >> of a file with its header', async () => {
    await startWith(ROWS)
    await m.write('/tmp/more', `${HEADER}4,Dave,28,Boston\n`)
    await saves(`cat /tmp/more >> ${m.csv}`, `${ROWS}4,Dave,28,Boston\n`)
  })
  test('tee -a', async () => {
    await startWith(ROWS)
    await saves(`echo '4,Dave,28,Boston' | tee -a ${m.csv} > /dev/null`, `${ROWS}4,Dave,28,Boston\n`)
  })
  test('dd oflag=append conv=notrunc', async () => {
    await startWith(ROWS)
    await saves(
      `echo '4,Dave,28,Boston' | dd of=${m.csv} oflag=append conv=notrunc status=none`,
      `${ROWS}4,Dave,28,Boston\n`,
    )
  })
  test('a last row without a newline, a moment later', async () => {
    await startWith(ROWS)
    await saves(`printf '4,Dave,28,Boston' >> ${m.csv}`, `${ROWS}4,Dave,28,Boston\n`)
  })
  test('a loop that holds the file open commits row by row', async () => {
    await startWith(ROWS)
    const more = Array.from({ length: 20 }, (_, i) => `${i + 10},N${i},1,X\n`).join('')
    await saves(
      `exec 3>>${m.csv}; for i in $(seq 0 19); do echo "$((i+10)),N$i,1,X" >&3; done; exec 3>&-`,
      ROWS + more,
      20,
    )
  })
  test('four processes at once lose nothing', async () => {
    await startWith(ROWS)
    const result = await m.sh(
      `for p in 1 2 3 4; do (for i in 1 2 3 4 5; do echo "$p$i,P$p,1,X" >> ${m.csv}; done) & done; wait`,
    )
    expect(result).toMatchObject({ code: 0, stderr: '' })
    await m.settle()
    const text = await m.read()
    expect(text.startsWith(HEADER + ROWS)).toBe(true)
    const rows = text
      .slice((HEADER + ROWS).length)
      .trimEnd()
      .split('\n')
      .sort()
    const expected = [1, 2, 3, 4].flatMap(p => [1, 2, 3, 4, 5].map(i => `${p}${i},P${p},1,X`)).sort()
    expect(rows).toEqual(expected)
    expect((await m.commits()) - before.commits).toBeLessThanOrEqual(20)
    expect(await m.errors()).toBe('')
  })
})

describe('several programs and another process at once', () => {
  test('leave all that each of them saved', async () => {
    await startWith(ROWS)
    const sed = `sed -i "s/^1,Alice,[0-9]*/1,Alice,$a/" ${m.csv}`
    // Where each commit takes its time, it may not be known what a program had read: then it is refused, and tries again.
    const change = isOnS3 ? `until ${sed}; do :; done` : sed
    const insert = (i: number): string => `${BINARY} query ${m.table} "INSERT INTO data VALUES (9${i}, 'sql', 1, 'X')"`
    const result = await m.sh(`
      for p in 1 2 3 4; do (for i in 1 2 3 4 5 6; do echo "$p$i,P$p,1,X" >> ${m.csv}; done) & done
      (for a in 31 32 33; do ${change}; done) &
      (${insert(1)} && ${insert(2)}) > /dev/null &
      wait`)
    expect(result).toMatchObject({ code: 0 })
    await m.settle()
    const expected = [1, 2, 3, 4].flatMap(p => [1, 2, 3, 4, 5, 6].map(i => `${p}${i},P${p},1,X`))
    const text = await m.read()
    expect(text.trimEnd().split('\n').sort()).toEqual(
      [
        ...`${HEADER}${ROWS}`.trimEnd().replace('Alice,30', 'Alice,33').split('\n'),
        ...expected,
        '91,sql,1,X',
        '92,sql,1,X',
      ].sort(),
    )
    if (!isOnS3) expect(await m.errors()).toBe('')
  }, 120_000)
})

describe('an overwrite is one commit', () => {
  const changed = ROWS.replace('Alice,30', 'Alice,31')

  test('cat > with the same text is none', async () => {
    await startWith(ROWS)
    await m.write('/tmp/new', HEADER + ROWS)
    await saves(`cat /tmp/new > ${m.csv}`, ROWS, 0)
  })
  test('cat > with an update, an insert and a delete', async () => {
    await startWith(ROWS)
    const rows = '1,Alice,31,London\n3,Carol,41,Rome\n4,Dave,28,Boston\n'
    await m.write('/tmp/new', HEADER + rows)
    await saves(`cat /tmp/new > ${m.csv}`, rows)
  })
  test('cp', async () => {
    await startWith(ROWS)
    await m.write('/tmp/new', HEADER + changed)
    await saves(`cp /tmp/new ${m.csv}`, changed)
  })
  test('tee', async () => {
    await startWith(ROWS)
    await m.write('/tmp/new', HEADER + changed)
    await saves(`cat /tmp/new | tee ${m.csv} > /dev/null`, changed)
  })
  test('sed -i, which keeps the line at its place', async () => {
    await startWith(ROWS)
    await saves(`sed -i 's/Bob,25/Bob,26/' ${m.csv}`, ROWS.replace('Bob,25', 'Bob,26'))
  })
  test('sed -i twice on one line', async () => {
    await startWith(ROWS)
    await saves(
      `sed -i 's/Bob,25/Bob,26/' ${m.csv} && sed -i 's/Bob,26/Bob,27/' ${m.csv}`,
      ROWS.replace('Bob,25', 'Bob,27'),
      2,
    )
  })
  test('sed -i that inserts and deletes lines', async () => {
    await startWith(ROWS)
    await saves(
      `sed -i -e '2a 9,New,1,Oslo' -e '/Bob/d' ${m.csv}`,
      '1,Alice,30,London\n9,New,1,Oslo\n3,Carol,41,Rome\n',
    )
  })
  test('perl -pi -e', async () => {
    await startWith(ROWS)
    await saves(`perl -pi -e 's/Alice,30/Alice,31/' ${m.csv}`, changed)
  })
  for (const [name, options] of [
    ['defaults', ''],
    ['nobackup nowritebackup', 'set nobackup nowritebackup'],
    ['backupcopy=yes', 'set backupcopy=yes'],
  ] as const) {
    test(`vim, ${name}`, async () => {
      await startWith(ROWS)
      const set = options === '' ? '' : `-c '${options}'`
      await saves(`vim -u NONE -N -es ${set} -c '%s/Alice,30/Alice,31/' -c wq ${m.csv}`, changed)
      expect(await m.list('data')).not.toContain('data.csv~')
    })
  }
  test('ed', async () => {
    await startWith(ROWS)
    await saves(
      `printf '%s\\n' 's/x/x/' ',s/Alice,30/Alice,31/' w q | ed -s ${m.csv} > /dev/null 2>&1 || true`,
      changed,
    )
  })
  test('nano', async () => {
    await startWith(ROWS)
    await saves(m.nano(m.csv, '9,Zoe,1,Oslo'), `${ROWS}`.replace(/^/, '9,Zoe,1,Oslo\n'))
  })
  test('python: a temporary file and os.replace', async () => {
    await startWith(ROWS)
    await saves(
      `python3 -c "
import os
p='${m.csv}'
t=open(p).read().replace('Alice,30','Alice,31')
open(p+'.tmp','w').write(t)
os.replace(p+'.tmp',p)"`,
      changed,
    )
  })
  test('python: r+, rewritten shorter, then truncate()', async () => {
    await startWith(ROWS)
    await saves(
      `python3 -c "
f=open('${m.csv}','r+')
t=f.read().replace('2,Bob,25,Paris\\n','')
f.seek(0); f.write(t); f.truncate(); f.close()"`,
      ROWS.replace('2,Bob,25,Paris\n', ''),
    )
  })
  test('sort -o, which reorders only, is no commit', async () => {
    await startWith(ROWS)
    await saves(`(head -1 ${m.csv}; tail -n +2 ${m.csv} | sort -r) > /tmp/s && cat /tmp/s > ${m.csv}`, ROWS, 0)
  })
  test('sort -o onto itself', async () => {
    await startWith('3,C,1,X\n1,A,1,X\n')
    const result = await m.sh(`LC_ALL=C sort -o ${m.csv} ${m.csv}`)
    await m.settle()
    // The header sorts behind the rows, so this is a malformed table: it is refused, and nothing is lost.
    expect(result.code).not.toBe(0)
    expect(await m.read()).toBe(before.csv)
    expect(await m.commits()).toBe(before.commits)
  })
  test('dd conv=notrunc', async () => {
    await startWith(ROWS)
    const at = (HEADER + ROWS).indexOf('30,London')
    await saves(
      `printf 77 | dd of=${m.csv} bs=1 seek=${at} conv=notrunc status=none`,
      ROWS.replace('30,London', '77,London'),
    )
  })
  test('truncate at a row', async () => {
    await startWith(ROWS)
    const rows = '1,Alice,30,London\n'
    await saves(`truncate -s ${HEADER.length + rows.length} ${m.csv}`, rows)
  })
  test('truncate -s 0 deletes all rows', async () => {
    await startWith(ROWS)
    await saves(`truncate -s 0 ${m.csv}`, '')
  })
  test('mmap and msync', async () => {
    await startWith(ROWS)
    const at = (HEADER + ROWS).indexOf('25,Paris')
    await saves(
      `python3 -c "
import mmap
f=open('${m.csv}','r+b')
w=mmap.mmap(f.fileno(),0)
w[${at}:${at + 2}]=b'26'
w.flush(); w.close(); f.close()"`,
      ROWS.replace('25,Paris', '26,Paris'),
    )
  })
  test('grep -v into a file beside it, and back', async () => {
    await startWith(ROWS)
    await saves(
      `cd ${m.data} && grep -v Bob data.csv > temp && cat temp > data.csv && rm temp`,
      ROWS.replace('2,Bob,25,Paris\n', ''),
    )
  })
  test('rsync', async () => {
    await startWith(ROWS)
    await m.write('/tmp/new', HEADER + changed)
    await saves(`rsync --ignore-times /tmp/new ${m.csv}`, changed)
  })
  for (const [name, command] of [
    ['mv from another file system', 'cp /tmp/new /tmp/moved && mv /tmp/moved data.csv'],
    ['install', 'install /tmp/new data.csv'],
    ['tar x', 'cp /tmp/new /tmp/data.csv && tar cf /tmp/new.tar -C /tmp data.csv && tar xf /tmp/new.tar'],
    ['rsync --inplace', 'rsync --ignore-times --inplace /tmp/new data.csv'],
    ['a file with CR LF', "sed 's/$/\\r/' /tmp/new > /tmp/crlf && cat /tmp/crlf > data.csv"],
  ] as const) {
    test(name, async () => {
      await startWith(ROWS)
      await m.write('/tmp/new', HEADER + changed)
      await saves(`cd ${m.data} && ${command}`, changed)
    })
  }
  test('many megabytes in many WRITE calls', async () => {
    await startWith(ROWS)
    const rows = Array.from(
      { length: 150_000 },
      (_, i) => `${i},Name number ${i},${i % 100},City of ${i % 1000}\n`,
    ).join('')
    await m.write('/tmp/big', HEADER + rows)
    await saves(`cp /tmp/big ${m.csv}`, rows)
    before = { csv: HEADER + rows, commits: await m.commits() }
    await m.write('/tmp/big2', HEADER + rows.replace('777,Name number 777,', '777,Another name,'))
    await saves(`cp /tmp/big2 ${m.csv}`, rows.replace('777,Name number 777,', '777,Another name,'))
  }, 120_000)
})

describe('a save in pieces shows nobody a table with rows missing', () => {
  test('{ head; tail | sort; } > data.csv', async () => {
    await startWith(ROWS)
    await m.sh(`cp ${m.csv} /tmp/old`)
    await saves(`{ head -1 /tmp/old; tail -n +2 /tmp/old | sort -r; } > ${m.csv}`, ROWS, 0)
  })
  test('a slow writer', async () => {
    await startWith(ROWS)
    const rows = '1,Alice,31,London\n2,Bob,26,Paris\n3,Carol,42,Rome\n'
    await m.write('/tmp/new', HEADER + rows)
    await saves(`(head -1 /tmp/new; sleep 0.3; sed -n 2p /tmp/new; sleep 0.3; tail -n +3 /tmp/new) > ${m.csv}`, rows)
  })
})

describe('what cannot be taken leaves the table as it was', () => {
  test('a bad row, appended', async () => {
    await startWith(ROWS)
    const result = await m.sh(`cat > /tmp/bad <<'EOF'\n4,Dave,old,Boston\nEOF\ncat /tmp/bad >> ${m.csv}`)
    expect(result.code).not.toBe(0)
    expect(await m.errors()).toContain('line 5')
    expect(await m.errors()).toContain('age')
    expect(await m.read()).toBe(before.csv)
    expect(await m.commits()).toBe(before.commits)
    await m.clearErrors()
    await saves(
      `cat > /tmp/good <<'EOF'\n4,Dave,28,Boston\nEOF\ncat /tmp/good >> ${m.csv}`,
      `${ROWS}4,Dave,28,Boston\n`,
    )
  })
  test('a bad row by sed -i', async () => {
    await startWith(ROWS)
    const result = await m.sh(`sed -i 's/,25,/,x,/' ${m.csv}`)
    expect(result.code).not.toBe(0)
    expect(await m.errors()).toContain('line 3')
    expect(await m.read()).toBe(before.csv)
    expect(await m.commits()).toBe(before.commits)
    await m.clearErrors()
    await saves(`sed -i 's/,25,/,26,/' ${m.csv}`, ROWS.replace(',25,', ',26,'))
  })
  test('a bad row by perl -pi does not empty the table', async () => {
    await startWith(ROWS)
    await m.sh(`perl -pi -e 's/,25,/,x,/' ${m.csv}`)
    await m.settle()
    expect(await m.read()).toBe(before.csv)
    expect(await m.commits()).toBe(before.commits)
    await m.clearErrors()
  })
  test('a bad row by vim leaves vim unsaved and the table whole', async () => {
    await startWith(ROWS)
    await m.sh(`vim -u NONE -N -es -c '%s/,25,/,x,/' -c 'w' -c 'qa!' ${m.csv}`)
    await m.settle()
    expect(await m.read()).toBe(before.csv)
    expect(await m.commits()).toBe(before.commits)
    await m.clearErrors()
  })
  test('half a row, by a writer that was killed', async () => {
    await startWith(ROWS)
    // What fsync was told is saved is kept, whenever the writer ends.
    const { code } = await m.sh(`python3 -c "
import os
f = open('${m.csv}', 'w')
f.write('''${HEADER}1,Alice,30,London\n2,Bo''')
f.flush(); os.fsync(f.fileno()); os.kill(os.getpid(), 9)"`)
    expect(code).not.toBe(0)
    await m.settle()
    expect(await m.read()).toBe(before.csv)
    expect(await m.commits()).toBe(before.commits)
    expect(await m.errors()).toContain('rejected')
    expect((await m.list('data')).some(name => name.startsWith('data.csv.rejected-'))).toBe(true)
    await m.sh(`rm ${m.data}/data.csv.rejected-*`)
    await m.clearErrors()
  })
})

describe('removing and renaming', () => {
  test('rm data.csv empties the table, and the name stays', async () => {
    await startWith(ROWS)
    await saves(`rm ${m.csv}`, '')
    expect(await m.list('data')).toContain('data.csv')
  })
  test('rm data.csv while a reader has it open', async () => {
    await startWith(ROWS)
    await saves(
      `exec 3<${m.csv}; rm ${m.csv}; cat <&3 > /tmp/seen; exec 3<&-; cmp /tmp/seen - <<'EOF'\n${HEADER}${ROWS}EOF`,
      '',
    )
  })
  test('mv data.csv elsewhere leaves the table, and a copy', async () => {
    await startWith(ROWS)
    await saves(`mv ${m.csv} ${m.data}/copy.csv`, ROWS, 0)
    expect((await m.sh(`cat ${m.data}/copy.csv`)).stdout).toBe(before.csv)
    await m.sh(`rm ${m.data}/copy.csv`)
  })
  test('a renamed backup put back restores it', async () => {
    await startWith(ROWS)
    await m.sh(`mv ${m.csv} ${m.data}/copy.csv`)
    await m.settle()
    await m.sh(`sed -i /Bob/d ${m.csv}`)
    const result = await m.sh(`mv ${m.data}/copy.csv ${m.csv}`)
    expect(result.code).toBe(0)
    await m.settle()
    expect((await m.read()).split('\n').sort()).toEqual(before.csv.split('\n').sort())
  })
})
