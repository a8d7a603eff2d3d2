import { fstatSync } from 'node:fs'
import { csv, type TextFormat, textFormat, textFormats } from '../../columns/text/formats/index.ts'
import { LakeError } from '../../core/errors.ts'
import { firstBytes, openText, type TableText } from '../../fs/text/layout.ts'
import { Segments } from '../../fs/text/segments.ts'
import { fewParts } from '../../fs/text/text.ts'
import { openLake } from '../../lake.ts'
import { asMissingFile } from '../../table/missing-files.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import type { Table } from '../../table/table.ts'
import { command } from '../command.ts'
import { note, print } from '../output.ts'
import { Progress } from '../progress.ts'
import { storeArgs, useStore } from '../store-args.ts'
import { settle } from '../table-of.ts'
import { snapshotOf, versionArgs } from '../version-args.ts'

/** More than a pipe holds: whoever only wants the first lines (head) is gone before more is rendered. */
const FIRST_PIECE_BYTES = 192 << 10
const PIECE_BYTES = 4 << 20
const STDOUT = 1
const FORMATS = textFormats.map(({ name }) => name)

function isMissing(error: unknown): boolean {
  return error instanceof LakeError && error.code === 'not_found'
}

/** Shows some first bytes at once to whoever reads a pipe, and may want a few lines only. Gives their number. */
async function showFirst(snapshot: Snapshot, segments: Segments, format: TextFormat): Promise<number> {
  // A file takes all.
  if (fstatSync(STDOUT).isFile()) {
    segments.readOn()
    return 0
  }
  const first = await firstBytes(snapshot, segments, format, FIRST_PIECE_BYTES)
  if (first === undefined) return 0
  await print(first)
  segments.readOn()
  return first.length
}

async function openMeasured(
  table: Table,
  snapshot: Snapshot,
  segments: Segments,
  format: TextFormat,
): Promise<TableText> {
  const progress = new Progress('measuring')
  const timer = setInterval(() => {
    const measuring = segments.measuring
    if (measuring !== undefined) progress.update(measuring.doneBytes, measuring.totalBytes)
  }, 100)
  return openText(table, snapshot, segments, format).finally(() => {
    clearInterval(timer)
    progress.end()
  })
}

async function showRest(text: TableText, segments: Segments, shown: number): Promise<void> {
  let at = shown
  if (at === 0) {
    at = Math.min(text.size, FIRST_PIECE_BYTES)
    await print(await text.read(0, at))
    segments.readOn()
  }
  let writing = Promise.resolve()
  for (; at < text.size; at += PIECE_BYTES) {
    const parts = text.parts(at, Math.min(text.size, at + PIECE_BYTES))
    // The system takes a piece while the next one is looked for.
    await Promise.allSettled([parts, writing])
    await writing
    writing = printAll(await parts)
  }
  await writing
}

async function printAll(parts: readonly Uint8Array[]): Promise<void> {
  for (const part of fewParts(parts)) await print(part)
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
    const lake = await openLake(args.table, { log: note })
    try {
      const snapshot = await snapshotOf(lake.table, args)
      const segments = new Segments({ cache: lake.cache, pool: lake.pool, store: lake.table.store, report: note })
      const format = textFormat(args.format)
      try {
        const shown = await showFirst(snapshot, segments, format)
        await showRest(await openMeasured(lake.table, snapshot, segments, format), segments, shown)
      } catch (error) {
        throw isMissing(error) ? await asMissingFile(lake.table.store, snapshot, error) : error
      }
    } finally {
      await lake.close()
    }
    return undefined
  },
})
