import { describe, expect, test } from 'bun:test'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from '../helpers/temporary.ts'

const CI = join(import.meta.dir, '../../.ci')

interface Step {
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
  readonly report?: string
}

function bash(name: string, script: string, report?: string): Step {
  return { name: `ci test ${process.pid} ${name}`, program: 'bash', args: ['-c', script], ...(report && { report }) }
}

function lanes(width: number, ...steps: readonly (readonly Step[])[]): { stdout: string; stderr: string } {
  const command = [process.execPath, join(import.meta.dir, 'lanes.mjs'), `${width}`, JSON.stringify(steps)]
  const { stdout, stderr } = Bun.spawnSync(command, { env: { ...process.env, CI: 'true' }, stdin: 'ignore' })
  return { stdout: stdout.toString(), stderr: stderr.toString() }
}

function report(...cases: readonly string[]): string {
  return `<testsuites name="bun test" tests="${cases.length}">${cases.join('')}</testsuites>`
}

describe('jobs that run side by side', () => {
  test('run at the same time, and the output of each is shown whole', () => {
    using folder = temporaryFolder()
    const at = (name: string): string => join(folder.path, name)
    // Each waits for the other, so that neither would end alone.
    const meet = (mine: string, other: string): string =>
      `echo ${mine} one; touch ${at(mine)}; until [ -e ${at(other)} ]; do sleep 0.01; done; echo ${mine} two`
    const { stderr } = lanes(2, [bash('a', meet('a', 'b'))], [bash('b', meet('b', 'a'))])
    expect(stderr).toContain('a one\na two\n')
    expect(stderr).toContain('b one\nb two\n')
  })

  test('are taken over from a lane by a worker that has nothing left in its own', () => {
    using folder = temporaryFolder()
    const gate = join(folder.path, 'gate')
    const { stderr } = lanes(
      2,
      [bash('waits', `until [ -e ${gate} ]; do sleep 0.01; done; echo passed`), bash('opens', `touch ${gate}`)],
      [bash('short', 'true')],
    )
    expect(stderr).toContain('passed\n')
  })

  test('are counted by their tests; one that crashes, or reports none, is a failure', () => {
    using folder = temporaryFolder()
    const write = (name: string, text: string): [string, string] => [
      `cat > ${join(folder.path, name)} <<'EOF'\n${text}\nEOF\n`,
      join(folder.path, name),
    ]
    const passes = '<testcase name="a &quot;b&quot; &gt; c" time="31.5" file="x.ts"/>'
    const fails = '<testcase name="d" time="0.1" file="y.ts"><failure type="AssertionError"/></testcase>'
    const [good, goodFile] = write('good', report(passes, passes))
    const [bad, badFile] = write('bad', report(passes, fails))
    const [cut, cutFile] = write('cut', report(passes))
    const { stdout, stderr } = lanes(2, [
      bash('good', good, goodFile),
      bash('bad', `${bad}printf 'error: expected d\\n(fail) d\\n(pass) e\\n'; exit 1`, badFile),
      bash('cut', `${cut}kill -9 $$`, cutFile),
      bash('none', 'echo nothing', join(folder.path, 'none')),
    ])
    expect(stdout).toBe('4 passed, 3 failed\n')
    expect(stderr).toContain('slow:    x.ts: a "b" > c (32 s)')
    expect(stderr).toContain('failed:  y.ts: d\n')
    // Again at the end, without what came after it.
    expect(stderr).toEndWith('\n\nerror: expected d\n(fail) d\n\nnothing\n')
    expect(stderr).toContain('ended by SIGKILL')
  })

  test('that skip a test fail on CI', () => {
    using folder = temporaryFolder()
    const file = join(folder.path, 'report')
    const skips = '<testcase name="e" time="0" file="z.ts"><skipped/></testcase>'
    const { stdout, stderr } = lanes(1, [bash('a', `echo '${report(skips)}' > ${file}`, file)])
    expect(stdout).toBe('0 passed, 1 failed, 1 skipped\n')
    expect(stderr).toContain('skipped: z.ts: e\n')
  })
})

test('a program that CI lacks is named, with the package that has it', () => {
  const script = `import { installPrograms } from ${JSON.stringify(join(CI, 'installing.mjs'))}
    installPrograms({ sh: 'dash', 'no-such-program': 'no-such-package', '/no/such/file': 'none' })`
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, '-e', script], {
    // Without apt-get nothing is installed.
    env: { CI: 'true', PATH: '/nonexistent' },
    stdin: 'ignore',
  })
  expect(exitCode).not.toBe(0)
  expect(stderr.toString()).toContain('no-such-program, /no/such/file; on Debian, as root: apt-get install')
})

test('every file of .ci can be read in one sitting', () => {
  const lines = readdirSync(CI).map(name => readFileSync(join(CI, name), 'utf8').split('\n').length)
  expect(Math.max(...lines)).toBeLessThan(200)
})
