// What the project's commands say: headings, the output of what ran side by side, and the summary at the end.
import { existsSync, readFileSync } from 'node:fs'

/** Tests that take longer are named in the summary. */
const SLOW_SECONDS = 30
/** So much of the output is shown again for each failure. */
const REASON_LINES = 20
const REASON_COLUMNS = 160
/** Where much fails, the first few say why. */
const REASONS_MAX = 5

/** An error that a person can do something about: its sentence is all that is shown of it. */
export class Failure extends Error {}

export function note(sentence) {
  process.stderr.write(`\u2014\u2014 ${sentence}\n`)
}

/** The tests of a report in JUnit's XML, by Bun; undefined if there is none. */
export function readReport(file) {
  if (!existsSync(file)) return undefined
  const text = readFileSync(file, 'utf8')
  const tests = []
  for (const [, attributes, child = ''] of text.matchAll(/<testcase ((?:[^>"]|"[^"]*")*?)(?:\/>|>\s*<(\w+))/g)) {
    const value = name => plain(new RegExp(`\\b${name}="([^"]*)"`).exec(attributes)?.[1] ?? '')
    const outcome = child === 'skipped' ? 'skipped' : child === '' ? 'passed' : 'failed'
    tests.push({ name: value('name'), file: value('file'), seconds: Number(value('time')), outcome })
  }
  return tests
}

function plain(xml) {
  const signs = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }
  return xml.replace(/&(lt|gt|quot|apos|amp);/g, (_, name) => signs[name])
}

/** What Bun says of each test that failed stands before the test's name; of what failed otherwise the end is shown. */
export function reasonsIn(output) {
  const lines = output.trimEnd().split('\n')
  const ends = lines.flatMap((line, i) => (line.startsWith('(fail)') ? [i + 1] : []))
  return (ends.length > 0 ? ends : [lines.length]).map(end =>
    lines
      .slice(Math.max(0, end - REASON_LINES), end)
      .map(line => line.slice(0, REASON_COLUMNS))
      .join('\n'),
  )
}

/** Shows what ran, and what needs a look. `results` are those of running.mjs. */
export function summarize(results) {
  const lines = ['']
  for (const { name, outcome, seconds } of results) {
    const shown = outcome === 'failed' ? 'FAILED' : outcome
    lines.push(`${shown.padEnd(7)}  ${seconds.toFixed(1).padStart(6)} s  ${name}`)
  }
  const tests = results.flatMap(result => result.tests)
  for (const { name, file } of tests.filter(({ outcome }) => outcome === 'failed'))
    lines.push(`failed:  ${file}: ${name}`)
  for (const { name, file } of tests.filter(({ outcome }) => outcome === 'skipped'))
    lines.push(`skipped: ${file}: ${name}`)
  for (const { name, file, seconds } of tests.filter(test => test.seconds > SLOW_SECONDS))
    lines.push(`slow:    ${file}: ${name} (${seconds.toFixed(0)} s)`)
  // Last, as some keep only the end of what is printed.
  for (const reason of results
    .flatMap(({ reasons = [] }) => reasons)
    .filter(Boolean)
    .slice(0, REASONS_MAX))
    lines.push('', reason)
  process.stderr.write(`${lines.join('\n')}\n`)
}

/** The last line of a run with tests, which other programs read. What failed without a failed test counts as one. */
export function closingLine(results) {
  const tests = results.flatMap(result => result.tests)
  const number = wanted => tests.filter(({ outcome }) => outcome === wanted).length
  const other = results.filter(
    ({ outcome, tests }) => outcome === 'failed' && !tests.some(test => test.outcome === 'failed'),
  )
  const skipped = number('skipped') > 0 ? `, ${number('skipped')} skipped` : ''
  return `${number('passed')} passed, ${number('failed') + other.length} failed${skipped}`
}
