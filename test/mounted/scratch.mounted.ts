import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { join } from 'node:path'
import { type Mounted, mountTable } from './harness.ts'

let m: Mounted

beforeAll(async () => {
  m = await mountTable({ schema: 'id:Int64,name:String' })
})
afterAll(async () => {
  await m.close()
})

/** Runs a script in a new folder of the mount; it must succeed and say nothing on standard error. */
async function works(script: string): Promise<string> {
  const { code, stdout, stderr } = await m.sh(`set -e; d=$(mktemp -d ./work.XXXXXX); cd "$d"; ${script}`)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

describe("the user's own files", () => {
  test('are read as they were written, and copied, moved and removed', async () => {
    expect(await works('echo a > f; cp f g; mv g h; mkdir x; mv h x/; cat x/h; rm f; ls')).toBe('a\nx\n')
  })
  test('folders are made, refused while they are full, and removed', async () => {
    expect(await works('mkdir -p a/b/c; ! rmdir a 2>/dev/null; rmdir a/b/c a/b a; ls | wc -l')).toBe('0\n')
  })
  test('mv over a file that is there replaces it', async () => {
    expect(await works('echo old > f; echo new > g; mv g f; cat f; ls')).toBe('new\nf\n')
  })
  test('cp -r and diff -r of a tree', async () => {
    await works('mkdir -p t/u; for i in $(seq 50); do echo $i > t/u/$i; done; cp -r t t2; diff -r t t2; rm -r t t2')
  })
  test('tar packs and unpacks', async () => {
    await works(
      'mkdir t; for i in $(seq 20); do head -c 5000 /dev/urandom > t/$i; done; tar cf t.tar t; mv t old; tar xf t.tar; diff -r t old',
    )
  })
  test('rsync of a tree', async () => {
    await works(
      'mkdir t; for i in $(seq 20); do echo $i > t/$i; done; rsync -a t/ u/; diff -r t u; rsync -a --delete t/ u/',
    )
  })
  test('git init, add, commit and log', async () => {
    const out = await works(
      'git init -q . 2>/dev/null; git config user.email a@b.c; git config user.name n; echo hi > f; git add f; git commit -qm first; git log --oneline | wc -l; git status --short | wc -l',
    )
    expect(out).toBe('1\n0\n')
  })
  test('an open file that was removed can still be read and written', async () => {
    expect(
      await works('exec 3<>f; echo hello >&3; rm f; [ ! -e f ]; exec 4</proc/self/fd/3; cat <&4; exec 3>&- 4<&-'),
    ).toBe('hello\n')
  })
  test('O_EXCL lets one of many creators win', async () => {
    const out = await works(
      'for i in 1 2 3 4 5 6 7 8; do (set -C; { echo $i > lock; } 2>/dev/null && echo won || true) & done; wait',
    )
    expect(out).toBe('won\n')
  })
  test('names have up to 255 bytes, and any characters', async () => {
    await works(
      `n=$(printf "%255s" | tr " " x); echo 1 > $n; cat $n > /dev/null; ! echo 1 2>/dev/null > $n"x"; echo 2 > 'ä "*" ?'; ls | wc -l`,
    )
  })
  test('2,000 entries in a folder are all listed, also while they are removed', async () => {
    expect(
      await works(
        'mkdir big; cd big; seq 2000 | xargs touch; ls | wc -l; ls -a | head -n 2; ls -a | wc -l; find . -type f | wc -l; rm -r ../big; [ ! -e ../big ] && echo gone',
      ),
    ).toBe('2000\n.\n..\n2002\n2000\ngone\n')
  }, 300_000)
  test('chmod, chown and touch are accepted, modes and times kept', async () => {
    expect(await works('touch f; chmod 640 f; chown 0:0 f; touch -d 2001-02-03T04:05:06Z f; stat -c "%a %Y" f')).toBe(
      '640 981173106\n',
    )
  })
  test('symbolic links, hard links and devices are refused', async () => {
    const socket = `python3 -c "import socket; socket.socket(socket.AF_UNIX).bind('k')"`
    const commands = ['ln -s lf s', 'ln lf h', 'ln data/data.csv h', 'mknod p p', 'mknod c c 1 3', 'mkfifo q', socket]
    for (const command of commands) {
      const { code, stderr } = await m.sh(`touch lf; ${command}`)
      expect({ command, code }).toEqual({ command, code: 1 })
      expect(stderr).toContain('Operation not permitted')
    }
    await m.sh('rm lf')
  })
  test('seek, holes and appends in place', async () => {
    expect(
      await works(
        'printf abc > f; printf X | dd of=f bs=1 seek=5 conv=notrunc status=none; od -An -c f | tr -s " "; truncate -s 2 f; echo z >> f; cat f',
      ),
    ).toBe(' a b c \\0 \\0 X\nabz\n')
  })
  test('sqlite keeps a database there', async () => {
    expect(
      await works(`python3 -c "
import sqlite3
c=sqlite3.connect('t.db'); c.execute('create table t(a)'); c.executemany('insert into t values(?)', [(i,) for i in range(1000)]); c.commit(); c.close()
print(sqlite3.connect('t.db').execute('select sum(a) from t').fetchone()[0])"`),
    ).toBe('499500\n')
  })
  test('lie as real files in the table, where Delta does not look', async () => {
    await m.sh('mkdir -p mine; echo hello > mine/note; echo beside > data/note')
    const files = join(await m.state(), '..', 'files')
    expect(await Bun.file(join(files, 'mine', 'note')).text()).toBe('hello\n')
    expect(await Bun.file(join(files, 'data', 'note')).text()).toBe('beside\n')
    expect((await m.list('data')).sort()).toEqual(['data.csv', 'data.json', 'data.jsonl', 'note'])
  })
})
