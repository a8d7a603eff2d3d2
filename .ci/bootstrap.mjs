#!/usr/bin/env node
// Runs one of the project's commands from a bare clone, with nothing but Node 18 and npm on the machine: what the
// command needs and is not there yet is installed first (see installing.mjs). Type check, lint and build come one after
// the other, the tests side by side (see running.mjs).
// Usage: node .ci/bootstrap.mjs build|quickstart|test|mounted|interop|s3 [arguments]
import { readdirSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { join, relative, resolve } from 'node:path'
import { bunPath, hasAmx, hasNfsClient, hasProgram, installPackages, installPrograms, isRoot } from './installing.mjs'
import * as programs from './programs.mjs'
import { closingLine, Failure, note, summarize } from './reporting.mjs'
import { fileFor, root, runInTurn, runSideBySide } from './running.mjs'

const [, , name, ...given] = process.argv

/** How many jobs run at once: a guest has one processor, and Spark takes 2 GB. */
const WIDTH = Math.max(1, Math.min(4, cpus().length, Math.floor(totalmem() / 3e9)))
const GUEST_MEGABYTES = Math.max(1024, Math.min(4096, Math.floor(totalmem() / 2 ** 20 / (2 * WIDTH))))
/** A test is stopped after this time, which is for machines that are busy. */
const TIMEOUT_MS = { unit: 30_000, mounted: 120_000, interop: 120_000, s3: 120_000 }

/** Mounted tests that also run on tables on S3. */
const ALSO_ON_S3 = /\/(clients|editing|rules|sql|views)\.mounted\.ts$/

const typecheck = () => bun('typecheck', 'x', 'tsc', '--noEmit')
const lint = () => bun('lint', 'x', 'biome', 'check', '--error-on-warnings', '.')
const build = () => bun('build', 'build.ts', ...(name === 'build' ? given : []))
const mounting = () => ({
  ...programs.mounting,
  ...(!hasNfsClient() && programs.guest),
  ...(!hasNfsClient() && hasAmx() && programs.compiler),
})

/** Per command: the programs it needs, the steps that come in turn, and the lanes that run beside each other. */
const commands = {
  build: { programs: () => ({}), steps: () => [build()] },
  quickstart: {
    programs: mounting,
    steps: () => [build(), { ...inKernel(bun('tour', 'test/guest/quickstart.ts')), needed: true }],
    brief: true,
  },
  mounted: {
    programs: () => ({ ...mounting(), ...programs.editing, ...programs.store }),
    steps: () => [build()],
    lanes: () => [mountedTests(given)],
  },
  interop: {
    programs: () => ({ ...programs.engines, ...programs.store }),
    steps: () => [build()],
    lanes: () => [interopTests(given)],
  },
  s3: {
    programs: () => programs.store,
    steps: () => [build()],
    lanes: () => [[store(), ...s3Tests(given)]],
  },
  test: {
    programs: () => ({ ...programs.unit, ...mounting(), ...programs.editing, ...programs.engines, ...programs.store }),
    steps: () => [typecheck(), lint(), build()],
    lanes: () => [mountedTests([]), [...unitTests(), ...interopTests([])], s3Tests([])],
  },
}

function bun(name, ...args) {
  return { name, program: bunPath, args }
}

/** A step that runs Bun's tests and leaves a report of them. */
function tests(name, timeoutMs, ...files) {
  const report = fileFor(name, 'xml')
  const options = [`--timeout=${timeoutMs}`, '--reporter=junit', `--reporter-outfile=${report}`]
  return { ...bun(name, 'test', ...options, ...files), report }
}

/**
 * A process for each folder, and a global object for each file: garbage is not collected among what hundreds of other tests
 * have left, which took minutes.
 */
function unitTests() {
  return foldersIn('test').flatMap(folder => {
    const files = readdirSync(join(root, folder)).filter(file => file.endsWith('.test.ts'))
    const paths = files.sort().map(file => `./${join(folder, file)}`)
    return paths.length > 0 ? [tests(`unit tests in ${folder}`, TIMEOUT_MS.unit, '--isolate', ...paths)] : []
  })
}

/** A folder and all that are in it, by their paths from the root. */
function foldersIn(folder) {
  const inside = readdirSync(join(root, folder), { withFileTypes: true }).filter(entry => entry.isDirectory())
  return [folder, ...inside.flatMap(entry => foldersIn(join(folder, entry.name)))]
}

/** Each file in a guest of its own; in a kernel that the machine's programs share, one after the other. */
function mountedTests(given) {
  const { files, options } = choose(given, 'test/mounted', '.mounted.ts')
  const step = (name, files) => inKernel(tests(name, TIMEOUT_MS.mounted, ...files, ...options))
  const apart = (files, where = '') => files.map(file => step(`${file.slice(2)}${where}`, [file]))
  const others = files.filter(file => !file.endsWith('/s3.mounted.ts'))
  const together = others.length > 0 ? [step('mounted tests', others)] : []
  const steps = hasNfsClient() ? together : apart(others)
  const again = apart(
    others.filter(file => ALSO_ON_S3.test(file)),
    ' on S3',
  )
  const onS3 = apart(files.filter(file => !others.includes(file)))
  for (const job of again) onS3.push({ ...job, env: { ...job.env, TABLES_ON: 's3' } })
  // A guest has no network to build the store with.
  return onS3.length > 0 ? [store(), ...steps, ...onS3.map(onStore)] : steps
}

/** The other engines are installed first, which no two tests may do at once. */
function interopTests(given) {
  const { files, options } = choose(given, 'test/interop', '.interop.ts')
  const engines = bun('other engines', 'test/interop/environment.ts')
  const step = file => ({
    ...tests(file.slice(2), TIMEOUT_MS.interop, file, ...options),
    after: engines,
    background: true,
  })
  return [engines, ...files.map(file => (file.endsWith('/s3.interop.ts') ? onGo(step(file)) : step(file)))]
}

function s3Tests(given) {
  const { files, options } = choose(given, 'test/s3', '.s3.ts')
  const step = file => ({ ...onStore(tests(file.slice(2), TIMEOUT_MS.s3, file, ...options)), background: true })
  return files.map(step)
}

let storeStep

/** Builds the S3 store, where it is not there yet, which takes minutes: the first job of its lane. */
function store() {
  storeStep ??= onGo(bun('S3 store', 'test/helpers/minio.ts'))
  return storeStep
}

function onStore(step) {
  return { ...onGo(step), after: store() }
}

function onGo(step) {
  return hasProgram('go') ? step : { refusal: 'the S3 store is built with Go 1.21 or newer, which is missing', ...step }
}

/** A step of Bun in a kernel with an NFS client, as root: this one if it has a client, otherwise a guest. */
function inKernel(step) {
  if (!isRoot) {
    const command = process.env.npm_lifecycle_event ?? name
    return { ...step, refusal: `mounting needs root; run this: sudo npm run ${command}` }
  }
  if (hasNfsClient()) return step
  // A guest that hangs ends itself before it is ended as a job, so that what it said is shown.
  const env = { GUEST_MEMORY_MB: `${GUEST_MEGABYTES}`, GUEST_SECONDS: '1500' }
  return { ...step, program: 'bash', args: [join('test', 'guest', 'run'), step.program, ...step.args], env }
}

/** The files that a person named, by default all of the folder, and the options for `bun test` after them. */
function choose(given, folder, ending) {
  const end = given.findIndex(argument => argument.startsWith('-'))
  const options = end === -1 ? [] : given.slice(end)
  const named = (end === -1 ? given : given.slice(0, end)).map(file => relative(root, resolve(file)))
  const files = named.length > 0 ? named : readdirSync(folder).filter(file => file.endsWith(ending))
  const paths = named.length > 0 ? files : files.sort().map(file => join(folder, file))
  // Without the dot Bun takes a name for a pattern.
  return { files: paths.map(path => `./${path}`), options }
}

async function main() {
  const command = Object.hasOwn(commands, name ?? '') ? commands[name] : undefined
  if (command === undefined) throw new Failure(`usage: node .ci/bootstrap.mjs ${Object.keys(commands).join('|')}`)
  process.chdir(root)
  const results = install(command)
  const isOk = () => results.every(({ outcome }) => outcome !== 'failed')
  if (isOk()) results.push(...(await runInTurn(command.steps(), command)))
  if (isOk() && command.lanes !== undefined) results.push(...(await runSideBySide(command.lanes(), WIDTH)))
  if (!command.brief && (results.length > 1 || !isOk())) summarize(results)
  if (command.lanes !== undefined) process.stdout.write(`\n${closingLine(results)}\n`)
  process.exitCode = isOk() ? 0 : 1
}

/** Gives nothing if it went well, otherwise a failed step. */
function install(command) {
  const startMs = Date.now()
  try {
    installPackages()
    installPrograms(command.programs())
    return []
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    note(error.message)
    return [{ name: 'installing', outcome: 'failed', seconds: (Date.now() - startMs) / 1000, tests: [] }]
  }
}

main().catch(error => {
  process.stderr.write(`${error instanceof Failure ? error.message : error.stack}\n`)
  process.exitCode = 1
})
