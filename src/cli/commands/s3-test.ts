import { parseLocation, s3Text } from '../../storage/location.ts'
import { checkStore, type StepResult } from '../../storage/s3/check.ts'
import { s3Store } from '../../storage/s3/store.ts'
import { command, UsageError } from '../command.ts'
import { EXIT } from '../exit.ts'
import { print } from '../output.ts'
import { storeArgs, useStore } from '../store-args.ts'

export default command({
  name: 's3-test',
  summary: 'Check step by step whether a store on S3 does what a table needs',
  examples: [
    'posixlake s3-test s3://my-bucket/check',
    'posixlake s3-test s3://posixlake-test/check --endpoint http://127.0.0.1:9000',
  ],
  args: {
    place: { type: 'positional', required: true, description: 's3://bucket/prefix; what is made there is taken away' },
    ...storeArgs,
  },
  run: async args => {
    const location = parseLocation(args.place)
    if (location.kind !== 's3') throw new UsageError(`s3-test takes s3://bucket/prefix, not ${args.place}`)
    useStore(args.place, args)
    const { bucket, prefix } = location
    const store = s3Store({ bucket, prefix, location: s3Text(location) })
    const results: StepResult[] = []
    for await (const result of checkStore(store)) {
      results.push(result)
      await print(line(result))
    }
    const isOk = results.every(({ outcome }) => outcome === 'ok')
    await print(isOk ? `${store.location} can hold tables.\n` : `${store.location} cannot hold tables like this.\n`)
    return isOk ? EXIT.done : EXIT.failed
  },
})

const SHOWN = { ok: 'ok', failed: 'FAILED', skipped: '-' } as const

function line({ name, outcome, detail }: StepResult): string {
  return `${SHOWN[outcome].padEnd(6)}  ${name}${detail === undefined ? '' : `: ${detail}`}\n`
}
