/*
 * The tour of `npm run quickstart`: a table is created, mounted, read, changed by ordinary programs and queried, with
 * the built binary, in a temporary folder. It fails if one of its commands does.
 */
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const folder = mkdtempSync(join(tmpdir(), 'posixlake-tour-'))
const programs = join(folder, '.bin')
await Bun.$`mkdir -p ${programs} ${join(folder, 'mnt')}`
symlinkSync(resolve('dist/posixlake'), join(programs, 'posixlake'))

const steps: readonly (string | { readonly say: string })[] = [
  { say: 'A Delta table, made from CSV; the types are found.' },
  `printf 'id,name,age,city\\n1,Alice,30,London\\n2,Bob,25,Paris\\n3,Carol,41,Rome\\n' > people.csv`,
  'posixlake create people --from-csv people.csv',
  { say: 'Mounted, it is a folder with files.' },
  'posixlake mount people mnt',
  'ls mnt/data',
  'cat mnt/data/data.csv',
  { say: 'An append is an INSERT.' },
  `echo '4,Dave,28,Boston' >> mnt/data/data.csv`,
  { say: 'An edit is one MERGE; the line stays where it is.' },
  `sed -i 's/Alice,30/Alice,31/' mnt/data/data.csv`,
  { say: 'A filtered copy over it is a DELETE.' },
  `grep -v Bob mnt/data/data.csv > mnt/data/temp && cat mnt/data/temp > mnt/data/data.csv`,
  'cat mnt/data/data.csv',
  { say: 'SQL, in the mount and beside it.' },
  `echo 'SELECT city, age FROM data WHERE age > 30 ORDER BY age' > mnt/.query && cat mnt/.query`,
  { say: 'A bad row is refused, and says why; the table is as it was.' },
  `sed -i 's/Carol,41/Carol,old/' mnt/data/data.csv || cat mnt/.errors`,
  { say: 'Each save was exactly one commit.' },
  'posixlake history people',
  'posixlake unmount mnt',
]

let status = 0
const environment = { ...process.env, PATH: `${programs}:${process.env['PATH']}` }
for (const step of steps) {
  if (typeof step !== 'string') {
    process.stdout.write(`\n# ${step.say}\n`)
    continue
  }
  process.stdout.write(`$ ${step}\n`)
  const child = Bun.spawn(['bash', '-c', `${step} 2>&1`], {
    cwd: folder,
    env: environment,
    stdin: 'ignore',
    stdout: 'inherit',
    stderr: 'inherit',
  })
  status = await child.exited
  if (status !== 0) break
}
if (status !== 0) {
  process.stderr.write(`This step of the tour failed with exit status ${status}.\n`)
  await Bun.$`umount -f -l ${join(folder, 'mnt')}`.quiet().nothrow()
}
rmSync(folder, { recursive: true, force: true })
process.exitCode = status
