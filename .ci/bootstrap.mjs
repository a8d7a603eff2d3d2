#!/usr/bin/env node
// Runs one of the project's commands from a bare clone, with nothing but Node 18 and npm on the machine: what the
// command needs and is not there yet (Bun, the packages of bun.lock, as root on Debian also system packages) is
// installed first. Usage: node .ci/bootstrap.mjs build|quickstart|test|mounted|interop [arguments]
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const bunVersion = manifest.devDependencies.bun
const stampFile = join(root, 'node_modules', '.installed')
const reportFile = join('node_modules', '.test-report.xml')
const isRoot = process.getuid?.() === 0
const isCi = process.env.CI !== undefined

/** A program that must be there, and the Debian package that has it. */
const mountPrograms = { 'mount.nfs': 'nfs-common', modprobe: 'kmod' }
const guestPrograms = { 'linux.uml': 'user-mode-linux', ip: 'iproute2', ...mountPrograms }
/** What the other engines of the interop tests run on. Debian's default is Java 17 or newer, as Spark needs it. */
const enginePrograms = { python3: 'python3', java: 'default-jre-headless' }
/** A second NFS client beside the kernel's. */
const clientPrograms = { python3: 'python3', 'nfs-cat': 'libnfs-utils' }
const editors = {
  tail: 'coreutils',
  awk: 'mawk',
  vim: 'vim',
  nano: 'nano',
  ed: 'ed',
  rsync: 'rsync',
  perl: 'perl',
  python3: 'python3',
  git: 'git',
  fuser: 'psmisc',
  script: 'bsdutils',
  setpriv: 'util-linux',
  less: 'less',
  ps: 'procps',
  tar: 'tar',
  jq: 'jq',
  sponge: 'moreutils',
}

const typecheck = { name: 'typecheck', run: () => bun('x', 'tsc', '--noEmit') }
const lint = { name: 'lint', run: () => bun('x', 'biome', 'check', '--error-on-warnings', '.') }
const unit = { name: 'unit tests', run: () => runTests(bun) }
const build = { name: 'build', run: () => bun('build.ts', ...process.argv.slice(3)) }
const mounted = {
  name: 'mounted tests in a real kernel',
  run: () => runTests(inKernel, '--timeout=120000', ...testFiles('test/mounted', '.mounted.ts')),
}
const interop = {
  name: 'other engines and clients',
  run: () => runTests(bun, '--timeout=120000', ...testFiles('test/interop', '.interop.ts')),
}

const commands = {
  build: { programs: {}, steps: [build] },
  quickstart: {
    programs: mountPrograms,
    steps: [
      { ...build, quiet: true },
      { name: 'tour', run: () => inKernel('test/guest/quickstart.ts'), onSkip: 'failed' },
    ],
    brief: true,
  },
  mounted: { programs: { ...mountPrograms, ...editors }, steps: [build, mounted] },
  interop: { programs: { ...enginePrograms, ...clientPrograms }, steps: [build, interop] },
  test: {
    programs: { ...mountPrograms, ...editors, ...enginePrograms, ...clientPrograms },
    steps: [typecheck, lint, unit, build, mounted, interop],
  },
}

function main() {
  const command = commands[process.argv[2]]
  if (command === undefined) fail(`usage: node .ci/bootstrap.mjs ${Object.keys(commands).join('|')}`)
  process.chdir(root)
  installPackages()
  installPrograms(command.programs)
  process.exit(runSteps(command))
}

/** Makes node_modules what bun.lock says, unless it is already. */
function installPackages() {
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'bun.lock')))
    .update(readFileSync(join(root, 'package.json')))
    .digest('hex')
  if (existsSync(bunPath()) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === wanted) return
  note(`installing the packages of bun.lock, with Bun ${bunVersion}`)
  const install = ['install', '--frozen-lockfile']
  const status = isPinnedBun()
    ? run(bunPath(), install, { stdout: 2 })
    : run(npm(), ['exec', '--yes', `--package=bun@${bunVersion}`, '--', 'bun', ...install], { stdout: 2 })
  if (status !== 0) fail('the packages could not be installed: see above; the machine needs npm and its registry')
  if (!isPinnedBun()) fail(`node_modules has no working Bun ${bunVersion}: remove node_modules and try again`)
  writeFileSync(stampFile, wanted)
}

function isPinnedBun() {
  const result = spawnSync(bunPath(), ['--version'], { encoding: 'utf8' })
  return result.status === 0 && result.stdout.trim() === bunVersion
}

/** As root on Debian, installs the packages of programs that are missing; elsewhere says which ones are. */
function installPrograms(programs) {
  if (process.platform !== 'linux') return
  const needed = hasNfsClient() ? programs : { ...programs, ...('mount.nfs' in programs && guestPrograms) }
  const missing = Object.entries(needed).filter(([program]) => !hasProgram(program))
  if (missing.length === 0) return
  const packages = [...new Set(missing.map(([, name]) => name))]
  const install = `apt-get install -y --no-install-recommends ${packages.join(' ')}`
  if (!isRoot || !hasProgram('apt-get')) {
    return note(`these programs are missing: ${missing.map(([p]) => p).join(', ')}; on Debian, as root: ${install}`)
  }
  note(`installing the system packages ${packages.join(', ')}`)
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }
  const apt = args => run('apt-get', ['-qq', ...args], { env: environment, stdout: 'ignore' })
  const installArgs = ['install', '-y', '--no-install-recommends', ...packages]
  if (apt(installArgs) !== 0 && (apt(['update']) !== 0 || apt(installArgs) !== 0)) fail(`this failed: ${install}`)
}

function hasNfsClient() {
  if (!existsSync('/proc/filesystems')) return false
  const known = () => /\bnfs$/m.test(readFileSync('/proc/filesystems', 'utf8'))
  if (!known() && isRoot && hasProgram('modprobe')) spawnSync(programPath('modprobe'), ['nfs'])
  return known()
}

/** What a step gives, in place of an exit status, if it could not run here. */
const SKIPPED = 'skipped'

/** Runs Bun in a kernel with an NFS client, as root: this one if it has a client, otherwise a guest. */
function inKernel(...args) {
  if (!isRoot && !isCi) {
    note(`mounting needs root; run this: sudo npm run ${process.env.npm_lifecycle_event ?? process.argv[2]}`)
    return SKIPPED
  }
  if (hasNfsClient()) return bun(...args)
  return run('bash', [join('test', 'guest', 'run'), bunPath(), ...args])
}

/** How many tests ran in all steps, by Bun's own report. */
const counts = { passed: 0, failed: 0, skipped: 0 }

/** Runs `bun test` and counts its tests; on CI a skipped test is a failure. */
function runTests(runBun, ...args) {
  rmSync(join(root, reportFile), { force: true })
  const status = runBun('test', '--reporter=junit', `--reporter-outfile=${reportFile}`, ...args)
  if (!existsSync(join(root, reportFile))) return status
  const [head = ''] = readFileSync(join(root, reportFile), 'utf8').match(/<testsuites [^>]*>/) ?? []
  const number = name => Number(head.match(new RegExp(`\\b${name}="(\\d+)"`))?.[1] ?? 0)
  const [all, failed, skipped] = [number('tests'), number('failures'), number('skipped')]
  counts.passed += all - failed - skipped
  counts.failed += failed
  counts.skipped += skipped
  if (isCi && skipped > 0) note(`${skipped} tests were skipped, which CI does not allow`)
  return status === 0 && isCi && skipped > 0 ? 1 : status
}

function runSteps({ steps, brief = false }) {
  const results = []
  for (const step of steps) {
    if (!brief) note(step.name)
    const startMs = Date.now()
    const status = step.run()
    const outcome = status === 0 ? 'ok' : status === SKIPPED ? (step.onSkip ?? SKIPPED) : 'failed'
    results.push({ name: step.name, outcome, seconds: (Date.now() - startMs) / 1000 })
    // Without a build the later steps would test an old one.
    if (outcome === 'failed' && (brief || step === build)) break
  }
  const failed = results.some(({ outcome }) => outcome === 'failed')
  if (!brief && (steps.length > 1 || failed)) {
    process.stderr.write('\n')
    for (const { name, outcome, seconds } of results) {
      const shown = outcome === 'failed' ? 'FAILED' : outcome
      process.stderr.write(`${shown.padEnd(7)}  ${seconds.toFixed(1).padStart(6)} s  ${name}\n`)
    }
    const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
    process.stdout.write(`\n${counts.passed} passed, ${counts.failed} failed${skipped}\n`)
  }
  return failed ? 1 : 0
}

function testFiles(directory, ending) {
  if (process.argv.length > 3) return process.argv.slice(3)
  if (!existsSync(directory)) return fail(`${directory} is missing`)
  return readdirSync(directory)
    .filter(name => name.endsWith(ending))
    .sort()
    .map(name => `./${directory}/${name}`)
}

function bun(...args) {
  return run(bunPath(), args)
}

function bunPath() {
  return join(root, 'node_modules', '.bin', process.platform === 'win32' ? 'bun.exe' : 'bun')
}

function npm() {
  return process.platform === 'win32' ? 'npm.cmd' : 'npm'
}

function run(program, args, { stdout = 'inherit', env = process.env } = {}) {
  const result = spawnSync(program, args, { cwd: root, stdio: ['ignore', stdout, 'inherit'], env })
  if (result.error) note(`${program}: ${result.error.message}`)
  return result.status ?? 1
}

function hasProgram(program) {
  return programPath(program) !== undefined
}

function programPath(program) {
  // Debian's users do not have the sbin folders in their PATH.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin']
  return folders.map(folder => join(folder, program)).find(path => existsSync(path))
}

function note(sentence) {
  process.stderr.write(`\u2014\u2014 ${sentence}\n`)
}

function fail(sentence) {
  process.stderr.write(`${sentence}\n`)
  process.exit(1)
}

main()
