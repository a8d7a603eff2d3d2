import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { ask } from '../../src/serve/control.ts'
import { BINARY, type Mounted, mountTable, type Result } from './harness.ts'

const HEADER = 'id,name,age\n'
const ROWS = '1,Alice,30\n2,Bob,25\n3,Carol,41\n'
const NEW = `${HEADER}1,Alice,31\n3,Carol,41\n4,Dave,28\n`

let m: Mounted
let commitsBefore = 0

beforeAll(async () => {
  m = await mountTable({ schema: 'id:Int64,name:String,age:Int32' })
  await m.write('/tmp/new', NEW)
  await m.sh('head -2 /tmp/new > /tmp/new1; tail -n +3 /tmp/new > /tmp/new2')
})
afterAll(async () => {
  await m.close()
})

async function startWith(rows: string = ROWS): Promise<void> {
  await m.clearErrors()
  await m.write('/tmp/start', HEADER + rows)
  await m.sh('cat /tmp/start > data/data.csv')
  await m.settle()
  expect(await m.read()).toBe(HEADER + rows)
  commitsBefore = await m.commits()
}

/** Whether a file of a mount is open for writing in some thread, as the kernel tells. */
function isOpenForWriting(name: string): boolean {
  return namesIn('').some(pid =>
    namesIn(`${pid}/task`).some(thread =>
      namesIn(`${pid}/task/${thread}/fd`).some(number => {
        try {
          const folder = `/proc/${pid}/task/${thread}`
          if (!readlinkSync(`${folder}/fd/${number}`).includes(`/data/${name}`)) return false
          return /^flags:\s+\d*[12]$/m.test(readFileSync(`${folder}/fdinfo/${number}`, 'latin1'))
        } catch {
          return false // It has ended meanwhile.
        }
      }),
    ),
  )
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(`/proc/${folder}`).filter(name => /^\d+$/.test(name))
  } catch {
    return []
  }
}

interface Slow {
  /** Lets the program go on from where it reads /tmp/gate. */
  goOn(): Promise<void>
  readonly done: Promise<Result>
}

/** Runs a save that stops in its middle, where it reads the pipe /tmp/gate, and waits until its file is open there. */
async function slowly(command: string, name = 'data.csv'): Promise<Slow> {
  await m.sh('rm -f /tmp/gate; mkfifo /tmp/gate')
  const done = m.sh(command)
  while (!isOpenForWriting(name)) await Bun.sleep(5)
  return {
    goOn: async () => {
      await m.sh('echo > /tmp/gate')
    },
    done,
  }
}

const DONE: Result = { code: 0, stdout: '', stderr: '' }

/** Everything but the writer sees the table as it was, and waits for nothing. */
async function othersSeeThe(text: string): Promise<void> {
  expect(await m.read()).toBe(text)
  expect((await m.sh('wc -c < data/data.csv; stat -c %s data/data.csv')).stdout).toBe(
    `${text.length}\n${text.length}\n`,
  )
  expect((await m.sh('ls -l data | grep " data.csv$" | awk "{print \\$5}"')).stdout).toBe(`${text.length}\n`)
  expect((await m.sh('wc -l < data/data.jsonl; grep -c "" data/data.json > /dev/null && echo ok')).stdout).toBe(
    `${text.split('\n').length - 2}\nok\n`,
  )
  expect((await m.posixlake('cat', m.table)).stdout).toBe(text)
  expect((await m.posixlake('query', m.table, 'SELECT count(*) AS n FROM data', '--format', 'csv')).stdout).toBe(
    `n\n${text.split('\n').length - 2}\n`,
  )
  expect((await m.sh(`grep -o '"total_rows": [0-9]*' .stats`)).stdout).toBe(
    `"total_rows": ${text.split('\n').length - 2}\n`,
  )
}

async function isOneCommit(text: string, commits = 1): Promise<void> {
  expect(await m.read()).toBe(text)
  expect((await m.commits()) - commitsBefore).toBe(commits)
  expect(await m.errors()).toBe('')
}

describe('a save that takes its time is one commit, and its own until its file is closed', () => {
  for (const [name, command] of [
    ['a shell that waits before it writes', '(cat /tmp/gate > /dev/null; cat /tmp/new) > data/data.csv'],
    ['a slow producer', '(cat /tmp/new1; cat /tmp/gate > /dev/null; cat /tmp/new2) | cat > data/data.csv'],
    [
      'children that end with the file open',
      '(cat /tmp/new1; sync -d data/data.csv; cat /tmp/gate > /dev/null; cat /tmp/new2) > data/data.csv',
    ],
    ['exec 3>', 'exec 3> data/data.csv; cat /tmp/new1 >&3; cat /tmp/gate > /dev/null; cat /tmp/new2 >&3; exec 3>&-'],
    ['tee', '(cat /tmp/new1; cat /tmp/gate > /dev/null; cat /tmp/new2) | tee data/data.csv > /dev/null'],
    ['dd', '(cat /tmp/gate > /dev/null; cat /tmp/new) | dd of=data/data.csv status=none'],
    [
      'Python, with fsync in the middle of a row',
      `python3 -c "
import os
f = open('data/data.csv', 'w')
t = open('/tmp/new').read()
f.write(t[:20]); f.flush(); os.fsync(f.fileno())
open('/tmp/gate').read()
f.write(t[20:]); f.flush(); os.fsync(f.fileno()); f.close()"`,
    ],
    [
      'Python, in place, then cut',
      `python3 -c "
import os
f = open('data/data.csv', 'r+')
t = open('/tmp/new').read()
f.write(t[:30]); f.flush(); os.fsync(f.fileno())
open('/tmp/gate').read()
f.seek(0); f.write(t); f.truncate(); f.close()"`,
    ],
    [
      'a process that inherited the file from one that has ended',
      '(cat /tmp/new1; (cat /tmp/gate > /dev/null; cat /tmp/new2) &) > data/data.csv',
    ],
    [
      'a thread that goes on when the first one has ended',
      `python3 -c "
import threading, ctypes
def work():
    f = open('data/data.csv', 'w')
    t = open('/tmp/new').read()
    f.write(t[:30]); f.flush()
    open('/tmp/gate').read()
    f.write(t[30:]); f.close()
threading.Thread(target=work).start()
ctypes.CDLL(None).pthread_exit(None)"`,
    ],
  ] as const) {
    test(name, async () => {
      await startWith()
      const save = await slowly(command)
      // Until its first bytes are sent, an open file that was not cut is nobody's save: programs share the kernel's pages of it.
      while ((await ask(m.table, 'status'))?.held.length === 0) await Bun.sleep(5)
      if (name === 'a slow producer') await othersSeeThe(HEADER + ROWS)
      expect(await m.read()).toBe(HEADER + ROWS)
      expect(await m.commits()).toBe(commitsBefore)
      await save.goOn()
      expect(await save.done).toEqual(DONE)
      await isOneCommit(NEW)
    })
  }

  test('one that takes longer than anything is held otherwise', async () => {
    await startWith()
    const result = await m.sh('(sleep 7; cat /tmp/new) > data/data.csv & sleep 6; cat data/data.csv; wait')
    expect(result.stdout).toBe(HEADER + ROWS)
    await isOneCommit(NEW)
  }, 120_000)

  test('a version before, put back by a pipe of its own', async () => {
    await startWith()
    const version = commitsBefore - 1
    await m.sh('cat /tmp/new > data/data.csv')
    expect(await m.sh(`${BINARY} cat ${m.table} --version ${version} > data/data.csv`)).toEqual(DONE)
    await isOneCommit(HEADER + ROWS, 2)
  })

  test('fewer rows, then an append, are two', async () => {
    await startWith()
    expect(
      await m.sh('head -3 data/data.csv > /tmp/fewer; cp /tmp/fewer data/data.csv; echo 9,Zoe,1 >> data/data.csv'),
    ).toEqual(DONE)
    await isOneCommit(`${HEADER}1,Alice,30\n2,Bob,25\n9,Zoe,1\n`, 2)
  })

  test('what is cut to nothing is empty for who looks next', async () => {
    await startWith()
    expect((await m.sh(': > data/data.csv; cat data/data.csv')).stdout).toBe(HEADER)
    await isOneCommit(HEADER)
    await startWith()
    expect((await m.sh('cat /dev/null > data/data.csv; wc -l < data/data.jsonl')).stdout).toBe('0\n')
    await isOneCommit(HEADER)
  })

  test('two children, and who looks at once sees what both wrote', async () => {
    await startWith()
    expect((await m.sh('(cat /tmp/new1; cat /tmp/new2) > data/data.csv; wc -l < data/data.csv')).stdout).toBe('4\n')
    await isOneCommit(NEW)
  })

  test('a last row without its newline counts at once', async () => {
    await startWith()
    expect((await m.sh(`printf '${HEADER.trimEnd()}\\n1,Alice,31' > data/data.csv; cat data/data.csv`)).stdout).toBe(
      `${HEADER}1,Alice,31\n`,
    )
    await isOneCommit(`${HEADER}1,Alice,31\n`)
    expect((await m.sh(`printf '2,Bob,1' >> data/data.csv; tail -1 data/data.csv`)).stdout).toBe('2,Bob,1\n')
    await isOneCommit(`${HEADER}1,Alice,31\n2,Bob,1\n`, 2)
  })

  test('a shared mapping, until it is gone', async () => {
    await startWith()
    const at = HEADER.length + 'x,'.length
    const save = await slowly(
      `python3 -c "
import mmap, os
f = open('data/data.csv', 'r+b')
w = mmap.mmap(f.fileno(), 0)
f.close()
w[${at}:${at + 5}] = b'ALICE'; w.flush()
keep = open('data/held', 'w')
open('/tmp/gate').read()
w[${at}:${at + 5}] = b'Alicf'; w.flush(); w.close()"`,
      'held',
    )
    expect(await m.read()).toBe(HEADER + ROWS)
    await save.goOn()
    expect(await save.done).toEqual(DONE)
    await isOneCommit(HEADER + ROWS.replace('Alice', 'Alicf'))
    await m.sh('rm data/held')
  })

  test('in another mount namespace', async () => {
    await startWith()
    const save = await slowly(
      `unshare -m bash -c 'mkdir -p /tmp/elsewhere; mount --bind ${m.mount} /tmp/elsewhere; (cat /tmp/new1; sync -d /tmp/elsewhere/data/data.csv; cat /tmp/gate > /dev/null; cat /tmp/new2) > /tmp/elsewhere/data/data.csv'`,
    )
    expect(await m.read()).toBe(HEADER + ROWS)
    await save.goOn()
    expect(await save.done).toEqual(DONE)
    await isOneCommit(NEW)
  })
})

describe('while a save is under way, other programs', () => {
  test('save, too: what they changed stays', async () => {
    await startWith()
    const save = await slowly('(cat /tmp/gate > /dev/null; cat /tmp/new) > data/data.csv')
    expect(await m.sh('sed -i s/Carol,41/Carol,42/ data/data.csv; echo 8,Yan,5 >> data/data.csv')).toEqual(DONE)
    expect(await m.read()).toBe(`${HEADER}1,Alice,30\n2,Bob,25\n3,Carol,42\n8,Yan,5\n`)
    await m.posixlake('query', m.table, "INSERT INTO data VALUES (9, 'sql', 1)")
    await save.goOn()
    expect(await save.done).toEqual(DONE)
    await isOneCommit(`${HEADER}1,Alice,31\n3,Carol,42\n8,Yan,5\n9,sql,1\n4,Dave,28\n`, 4)
  })

  test('may have the file open and never write', async () => {
    await startWith()
    const result = await m.sh(`exec 3>>data/data.csv 4<>data/data.csv
      cp /tmp/new data/data.csv && cat data/data.csv`)
    expect(result).toEqual({ code: 0, stdout: NEW, stderr: '' })
    await isOneCommit(NEW)
  })

  test('have their own end: a descriptor on a file that was replaced', async () => {
    await startWith()
    const save = await slowly('exec 3<>data/data.csv; cat /tmp/gate > /dev/null; exec 3>&-')
    expect(await m.sh('sed -i s/Bob/BOB/ data/data.csv; cp /tmp/new data/data.csv')).toEqual(DONE)
    await isOneCommit(NEW, 2)
    await save.goOn()
    expect(await save.done).toEqual(DONE)
    await isOneCommit(NEW, 2)
  })
})

describe('a bulk append', () => {
  const many = Array.from({ length: 400_000 }, (_, i) => `${i + 10},Name of number ${i},${i % 90}\n`).join('')

  test('is one commit, though the client writes back in the middle of it', async () => {
    await startWith()
    await m.write('/tmp/many', many)
    const result = await m.sh(`old=$(cat /proc/sys/vm/dirty_bytes); ratio=$(cat /proc/sys/vm/dirty_ratio)
      echo 2000000 > /proc/sys/vm/dirty_bytes
      cat /tmp/many >> data/data.csv; code=$?
      if [ $old = 0 ]; then echo $ratio > /proc/sys/vm/dirty_ratio; else echo $old > /proc/sys/vm/dirty_bytes; fi
      exit $code`)
    expect(result).toEqual(DONE)
    expect((await m.read()) === HEADER + ROWS + many).toBe(true)
    expect((await m.commits()) - commitsBefore).toBe(1)
  }, 120_000)

  test('is all or nothing, if one of its rows is bad', async () => {
    await startWith()
    await m.write('/tmp/bad', `${many}77,Bad,old\n`)
    expect((await m.sh('cat /tmp/bad >> data/data.csv')).code).not.toBe(0)
    await m.settle()
    expect(await m.read()).toBe(HEADER + ROWS)
    expect(await m.commits()).toBe(commitsBefore)
    expect(await m.errors()).toContain('not "old"')
    await m.sh('rm -f data/data.csv.rejected-*')
  }, 120_000)

  test('in pieces that end within rows, looked at meanwhile', async () => {
    await startWith()
    const save = await slowly(
      `(printf '4,Da'; sync -d data/data.csv; cat /tmp/gate > /dev/null; printf 've,28\\n5,Eve,1\\n') >> data/data.csv`,
    )
    // Until its first bytes are sent and held, programs share the kernel's pages of the file.
    while (!(await ask(m.table, 'status'))?.held.some(reason => reason.includes('open for writing'))) await Bun.sleep(5)
    expect(await m.read()).toBe(HEADER + ROWS)
    await save.goOn()
    expect(await save.done).toEqual(DONE)
    await isOneCommit(`${HEADER}${ROWS}4,Dave,28\n5,Eve,1\n`)
  })

  test('of a program that logs is seen row by row', async () => {
    await startWith()
    const save = await slowly(
      `exec 3>>data/data.csv; echo 4,D,1 >&3; echo 5,E,1 >&3; cat /tmp/gate > /dev/null; echo 6,F,1 >&3; exec 3>&-`,
    )
    while (!(await m.read()).endsWith('5,E,1\n')) await Bun.sleep(5)
    await save.goOn()
    expect(await save.done).toEqual(DONE)
    await isOneCommit(`${HEADER}${ROWS}4,D,1\n5,E,1\n6,F,1\n`, 3)
  })
})

/** More than one WRITE, which ends within a row. */
const BULK = `${'7,Part,1\n'.repeat(300_000)}8,Pa`

describe('a writer that is killed changes nothing, and is named', () => {
  for (const [name, signal, written] of [
    ['within a row', 'KILL', `${HEADER}1,Ali`],
    ['exactly between two rows', 'INT', `${HEADER}1,Alice,31\n`],
    ['with its first bytes', 'TERM', 'i'],
  ] as const) {
    for (const [how, redirect] of [
      ['a rewrite', '>'],
      ['an append', '>>'],
    ] as const) {
      // Rows that are appended whole are committed as they come.
      if (how === 'an append' && name !== 'within a row') continue
      test(`${how}, ${name}`, async () => {
        await startWith()
        await m.write('/tmp/part', how === 'an append' ? BULK : written)
        await m.sh('rm -f /tmp/gate; mkfifo /tmp/gate')
        const pipe = Bun.spawn(['bash', '-c', 'exec 5>/tmp/gate; cat /tmp/part >&5; sleep 1000'], { stdin: 'ignore' })
        const writer = Bun.spawn(['bash', '-c', `exec cat /tmp/gate ${redirect} ${m.csv}`], { stdin: 'ignore' })
        // It has read all there is, and waits for more.
        while (!isOpenForWriting('data.csv')) await Bun.sleep(5)
        await waitForPosition(writer.pid, how === 'an append' ? (HEADER + ROWS).length + BULK.length : written.length)
        process.kill(writer.pid, `SIG${signal}`)
        await writer.exited
        pipe.kill()
        await m.settle()
        expect(await m.read()).toBe(HEADER + ROWS)
        expect(await m.commits()).toBe(commitsBefore)
        expect(await m.errors()).toContain(`cat (process ${writer.pid}), which wrote it, was killed`)
        await m.sh('rm -f data/data.csv.rejected-*')
      })
    }
  }
})

/** Resolves when a process's standard output has got to a position. */
async function waitForPosition(pid: number, position: number): Promise<void> {
  for (;;) {
    const info = await Bun.file(`/proc/${pid}/fdinfo/1`).text()
    if (new RegExp(`^pos:\\s+${position}$`, 'm').test(info)) return
    await Bun.sleep(5)
  }
}

describe('after a save that was refused', () => {
  for (const [name, options] of [
    ['defaults', ''],
    ['nobackup nowritebackup', 'set nobackup nowritebackup'],
    ['backupcopy=yes', 'set backupcopy=yes'],
  ] as const) {
    test(`vim's next one is taken, with no word of a change by others: ${name}`, async () => {
      await startWith()
      const set = options === '' ? '' : `-c '${options}'`
      // Where vim warned that the file has changed, it would not write without being asked.
      await m.sh(`vim -u NONE -N -es ${set} -c '%s/,25$/,x/' -c w -c '%s/,x$/,26/' -c wq data/data.csv`)
      await m.settle()
      expect(await m.read()).toBe(HEADER + ROWS.replace('Bob,25', 'Bob,26'))
      expect(await m.errors()).toContain('age: a whole number is expected, not "x"')
      expect(await m.list('data')).not.toContain('data.csv~')
    })
  }

  test('who was reading reads on', async () => {
    await startWith()
    const reader = Bun.spawn(['bash', '-c', `exec 3<${m.csv}; read -r line <&3; read -r go; cat <&3`], {
      stdin: 'pipe',
      stdout: 'pipe',
    })
    expect((await m.sh(`sed 's/,25$/,x/' data/data.csv > /tmp/bad; cat /tmp/bad > data/data.csv`)).code).not.toBe(0)
    reader.stdin.write('go\n')
    await reader.stdin.end()
    expect(await new Response(reader.stdout).text()).toBe(ROWS)
    expect(await m.read()).toBe(HEADER + ROWS)
  })
})

describe('what a program was told is saved', () => {
  for (const [name, command] of [
    ['cat >', 'cat /tmp/new > data/data.csv'],
    ['cp', 'cp /tmp/new data/data.csv'],
    ["the shell's own printf", `printf '${NEW.replaceAll('\n', '\\n')}' > data/data.csv`],
    ['tee', 'tee data/data.csv < /tmp/new > /dev/null'],
    ['sed -i', `sed -i '2s/30/31/; /Bob/d; $a 4,Dave,28' data/data.csv`],
    ['dd', 'dd if=/tmp/new of=data/data.csv status=none'],
    ['Python', `python3 -c "open('data/data.csv', 'w').write(open('/tmp/new').read())"`],
  ] as const) {
    test(`is in the table's log when it ends: ${name}`, async () => {
      await startWith()
      const { code } = await m.sh(command)
      expect({ code, commits: (await m.commits()) - commitsBefore }).toEqual({ code: 0, commits: 1 })
      await isOneCommit(NEW)
    })
  }

  test('a moment later, where its last close has nothing to send', async () => {
    await startWith()
    expect(await m.sh('dd if=/tmp/new of=data/data.csv conv=fsync status=none')).toEqual(DONE)
    while ((await m.commits()) === commitsBefore) await Bun.sleep(5)
    await isOneCommit(NEW)
  })

  test('and refused in time for it to hear', async () => {
    await startWith()
    await m.sh(`sed 's/,28$/,x/' /tmp/new > /tmp/bad`)
    for (const command of [
      'cat /tmp/bad > data/data.csv',
      'cp /tmp/bad data/data.csv',
      'dd if=/tmp/bad of=data/data.csv status=none',
    ])
      expect({ command, code: (await m.sh(command)).code }).toEqual({ command, code: 1 })
    expect(await m.read()).toBe(HEADER + ROWS)
    expect(await m.list('data')).not.toContainEqual(expect.stringContaining('rejected'))
  })
})
