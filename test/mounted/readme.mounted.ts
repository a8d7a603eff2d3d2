import { expect, test } from 'bun:test'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { BINARY } from './harness.ts'

/** The first block of the README: commands behind a dollar sign, and what they print. */
function transcript(): string {
  const readme = readFileSync(join(import.meta.dir, '../../README.md'), 'utf8')
  return /```\n(\$ [\s\S]*?)```/.exec(readme)![1]!
}

/** Without what differs from run to run: times, and the names of sed's temporary files. */
function lasting(text: string): string {
  return text.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME').replace(/\bsed\w{6}\b/g, 'sedXXXXXX')
}

test('the transcript in the README is what happens', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'posixlake-readme-'))
  const programs = join(folder, '.bin')
  for (const name of [programs, join(folder, 'mnt')]) mkdirSync(name)
  symlinkSync(BINARY, join(programs, 'posixlake'))
  const expected = transcript()
  let happened = ''
  for (const [, command] of expected.matchAll(/^\$ (.*)$/gm)) {
    const { stdout } = Bun.spawnSync(['bash', '-c', `exec 2>&1; ${command}`], {
      cwd: folder,
      env: { ...process.env, PATH: `${programs}:${dirname(process.execPath)}:${process.env['PATH']}` },
      stdin: 'ignore',
    })
    happened += `$ ${command}\n${stdout}`
  }
  expect(lasting(happened)).toBe(lasting(expected))
  rmSync(folder, { recursive: true })
})
