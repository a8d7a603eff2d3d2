import type { ByteCache } from '../../cache/byte-cache.ts'
import { type LiveFile, LiveFiles, type Snapshot } from '../../table/snapshot.ts'
import type { Table } from '../../table/table.ts'
import type { Segments } from '../text/segments.ts'
import { generated } from './generated.ts'

const COMMITS_SHOWN = 10

/** `.stats`: of the table when no save is under way. */
export const statsView = generated(({ table, segments, cache, settledSnapshot }) => ({
  produce: async () => new TextEncoder().encode(await statsJson(table, await settledSnapshot(), segments, cache)),
}))

interface Totals {
  readonly of: LiveFiles
  readonly rows: number
  readonly sizeBytes: number
  readonly deletedRows: number
}

const NOTHING: Totals = { of: LiveFiles.of([]), rows: 0, sizeBytes: 0, deletedRows: 0 }
/** Of the version that was looked at last: the next one's are those and what changed. */
const known = new WeakMap<Table, Totals>()

async function totalsOf(table: Table, { live }: Snapshot, segments: Segments): Promise<Totals> {
  const last = known.get(table) ?? NOTHING
  // A file that is gone may be gone from the disk, too: nobody can ask it for its rows any more.
  const isKnown = live.changesSince(last.of).every(({ before }) => before === undefined || before.rows !== undefined)
  const before = isKnown ? last : NOTHING
  let { rows, sizeBytes, deletedRows } = before
  const count = async (file: LiveFile | undefined, sign: 1 | -1): Promise<void> => {
    if (file === undefined) return
    const deleted = file.vector?.cardinality ?? 0
    rows += sign * ((await segments.rows(file)) - deleted)
    sizeBytes += sign * file.sizeBytes
    deletedRows += sign * deleted
  }
  for (const change of live.changesSince(before.of)) {
    await count(change.before, -1)
    await count(change.after, 1)
  }
  const totals = { of: live, rows, sizeBytes, deletedRows }
  known.set(table, totals)
  return totals
}

/** The numbers of `.stats`, as JSON. Rejects with TableError or ParquetError where one cannot be had. */
async function statsJson(table: Table, snapshot: Snapshot, segments: Segments, cache: ByteCache): Promise<string> {
  const { live, metadata, protocol, schema, partitionColumns, version } = snapshot
  const totals = await totalsOf(table, snapshot, segments)
  const { entries, sizeBytes, capacityBytes, hits, misses } = cache.stats()
  const commits = await table.history(COMMITS_SHOWN)
  const stats = {
    total_rows: totals.rows,
    total_files: live.size,
    total_size_bytes: totals.sizeBytes,
    version: Number(version),
    table_id: metadata.id,
    name: metadata.name ?? null,
    location: table.store.location,
    columns: schema.length,
    partition_columns: partitionColumns,
    deleted_rows: totals.deletedRows,
    protocol: {
      min_reader_version: protocol.minReaderVersion,
      min_writer_version: protocol.minWriterVersion,
      reader_features: protocol.readerFeatures ?? [],
      writer_features: protocol.writerFeatures ?? [],
    },
    last_modified: new Date(snapshot.timestampMs).toISOString(),
    cache: { entries, size_bytes: sizeBytes, capacity_bytes: capacityBytes, hits, misses },
    last_commits: commits.map(commit => ({
      version: Number(commit.version),
      timestamp: new Date(commit.timestampMs).toISOString(),
      operation: commit.operation,
      metrics: commit.metrics,
    })),
  }
  return `${JSON.stringify(stats, undefined, 2)}\n`
}
