// Runs jobs as `npm test` does, for ci.test.ts. Usage: lanes.mjs WIDTH LANES, where LANES is JSON of running.mjs's steps.
import { closingLine, summarize } from '../../.ci/reporting.mjs'
import { runSideBySide } from '../../.ci/running.mjs'

const [, , width, lanes] = process.argv
const results = await runSideBySide(JSON.parse(lanes), Number(width))
summarize(results)
process.stdout.write(`${closingLine(results)}\n`)
