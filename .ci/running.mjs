// Runs the steps of a command: some one after the other, the jobs of its lanes side by side. A step is
//   { name, program, args }  what is started, in the root of the clone, and optionally
//   env                      environment that is not set
//   report                   where it writes its tests (a step that tests must write them)
//   background               it may wait for those that measure time
//   after                    a step of the same lane that must have ended
//   refusal                  why it cannot run here: it is skipped, which on CI is a failure
// and its result { name, outcome: 'ok' | 'failed' | 'skipped', seconds, tests, reasons? }; `reasons` are pieces of the output.
import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs'
import { setPriority } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { note, readReport, reasonsIn } from './reporting.mjs'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))
export const isCi = process.env.CI !== undefined

/** Where reports of tests and the output of jobs are kept. */
const FOLDER = join('node_modules', '.reports')
/** A job that hangs is a failure, and the others are shown. */
const JOB_MS_MAX = 30 * 60_000

const children = new Set()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    for (const child of children) child.kill('SIGTERM')
    process.exit(1)
  })
}

/** A file for a step's report or output, named after it. */
export function fileFor(name, ending) {
  mkdirSync(join(root, FOLDER), { recursive: true })
  return join(FOLDER, `${name.replace(/[^\w.-]+/g, '-')}.${ending}`)
}

/** Runs steps one after the other until one fails; their output is shown as it comes. */
export async function runInTurn(steps, { brief = false } = {}) {
  const results = []
  for (const step of steps) {
    if (!brief) note(step.name)
    results.push(await runStep(step, 'inherit'))
    if (results.at(-1).outcome === 'failed') break
  }
  return results
}

/**
 * Runs the jobs of all lanes, `width` at a time: the first worker begins with the first lane, the second with the second,
 * and who has finished a lane helps with the others. The output of a job is shown whole when it ends.
 */
export async function runSideBySide(lanes, width) {
  const jobs = lanes.flat()
  if (jobs.length === 1) return await runInTurn(jobs)
  const queues = lanes.map(lane => [...lane])
  const ended = new Map()
  const results = []
  const work = async first => {
    for (;;) {
      const queue = [...queues.slice(first), ...queues.slice(0, first)].find(({ length }) => length > 0)
      if (queue === undefined) return
      const job = queue.shift()
      const running = runAndShow(job, ended.get(job.after))
      ended.set(job, running)
      results.push(await running)
    }
  }
  await Promise.all(Array.from({ length: width }, (_, i) => work(i % lanes.length)))
  return results.sort((a, b) => position(jobs, a) - position(jobs, b))
}

function position(jobs, result) {
  return jobs.findIndex(({ name }) => name === result.name)
}

async function runAndShow(job, before) {
  await before
  note(`${job.name}: started`)
  const file = fileFor(job.name, 'log')
  const output = openSync(join(root, file), 'w')
  const result = await runStep(job, output)
  closeSync(output)
  note(`${job.name}: ${result.outcome} after ${result.seconds.toFixed(1)} s`)
  const said = readFileSync(join(root, file))
  process.stderr.write(said)
  rmSync(join(root, file))
  return result.outcome === 'failed' ? { ...result, reasons: reasonsIn(said.toString()) } : result
}

async function runStep(step, output) {
  const startMs = Date.now()
  const result = (outcome, tests = []) => ({
    name: step.name,
    outcome,
    seconds: (Date.now() - startMs) / 1000,
    tests,
  })
  if (step.refusal !== undefined) {
    note(`${step.name}: ${step.refusal}`)
    return result(isCi || step.needed ? 'failed' : 'skipped')
  }
  if (step.report !== undefined) rmSync(resolve(root, step.report), { force: true })
  const status = await start(step, output)
  if (step.report === undefined) return result(status === 0 ? 'ok' : 'failed')
  const tests = readReport(resolve(root, step.report)) ?? []
  const skips = tests.some(({ outcome }) => outcome === 'skipped')
  if (skips && isCi) note(`${step.name}: tests were skipped, which CI does not allow`)
  if (tests.length === 0) note(`${step.name}: it ended with status ${status} and reported no test`)
  return result(status === 0 && tests.length > 0 && !(skips && isCi) ? 'ok' : 'failed', tests)
}

/** Starts a step's program; resolves to its exit status. */
function start({ name, program, args, env = {}, background = false }, output) {
  return new Promise(resolve => {
    const child = spawn(program, args, {
      cwd: root,
      // What a person set goes before.
      env: { ...env, ...process.env },
      stdio: ['ignore', output, output === 'inherit' ? 'inherit' : output],
    })
    children.add(child)
    const timer = setTimeout(() => {
      note(`${name}: stopped, because it was not done after ${JOB_MS_MAX / 60_000} minutes`)
      child.kill('SIGTERM')
      setTimeout(() => child.kill('SIGKILL'), 10_000).unref()
    }, JOB_MS_MAX)
    const end = status => {
      clearTimeout(timer)
      children.delete(child)
      resolve(status)
    }
    child.on('error', error => {
      note(`${program}: ${error.message}`)
      end(1)
    })
    child.on('exit', (status, signal) => {
      if (signal !== null) note(`${name}: ended by ${signal}`)
      end(status ?? 1)
    })
    if (background && child.pid !== undefined) {
      try {
        setPriority(child.pid, 5)
      } catch {
        // It is gone already, or this system has no priorities.
      }
    }
  })
}
