import { fstatSync } from 'node:fs'
import { csv, textFormat, textFormats } from '../../columns/text/formats/index.ts'
import { LakeError } from '../../core/errors.ts'
import { openText } from '../../fs/text/layout.ts'
import { Segments } from '../../fs/text/segments.ts'
import { openLake } from '../../lake.ts'
import { asMissingFile } from '../../table/missing-files.ts'
import { command } from '../command.ts'
import { note, print } from '../output.ts'
import { Progress } from '../progress.ts'
import { storeArgs, useStore } from '../store-args.ts'
import { settle } from '../table-of.ts'
import { snapshotOf, versionArgs } from '../version-args.ts'

/** More than a pipe holds: whoever only wants the first lines (head) is gone before more is rendered. */
const FIRST_PIECE_BYTES = 192 << 10
const PIECE_BYTES = 1 << 20
const STDOUT = 1
const FORMATS = textFormats.map(({ name }) => name)

function isMissing(error: unknown): boolean {
  return error instanceof LakeError && error.code === 'not_found'
}

export default command({
  name: 'cat',
  summary: 'Print a table, as its mount shows it',
  examples: [
    'posixlake cat ./people',
    'posixlake cat ./people --format jsonl | jq .name',
    'posixlake cat ./people --version 3',
  ],
  args: {
    table: { type: 'positional', required: true, description: 'The table: a directory or s3://bucket/prefix' },
    format: { type: 'enum', options: FORMATS, default: csv.name, description: FORMATS.join(', ') },
    ...versionArgs,
    ...storeArgs,
  },
  run: async args => {
    useStore(args.table, args)
    await settle(args.table)
    // Who reads a pipe may want a few lines only; a file takes all.
    const lake = await openLake(args.table, { log: note, startThreads: fstatSync(STDOUT).isFile() })
    try {
      const snapshot = await snapshotOf(lake.table, args)
      const segments = new Segments({ cache: lake.cache, pool: lake.pool, store: lake.table.store, report: note })
      const progress = new Progress('measuring')
      const timer = setInterval(() => {
        const measuring = segments.measuring
        if (measuring !== undefined) progress.update(measuring.doneBytes, measuring.totalBytes)
      }, 100)
      try {
        const text = await openText(lake.table, snapshot, segments, textFormat(args.format)).finally(() => {
          clearInterval(timer)
          progress.end()
        })
        const first = Math.min(text.size, FIRST_PIECE_BYTES)
        await print(await text.read(0, first))
        if (first < text.size) lake.pool.start()
        for (let at = first; at < text.size; at += PIECE_BYTES)
          await print(await text.read(at, Math.min(text.size, at + PIECE_BYTES)))
      } catch (error) {
        throw isMissing(error) ? await asMissingFile(lake.table.store, snapshot, error) : error
      }
    } finally {
      await lake.close()
    }
    return undefined
  },
})
