import type { ByteCache } from '../../cache/byte-cache.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import type { Table } from '../../table/table.ts'
import type { Segments } from '../text/segments.ts'

const COMMITS_SHOWN = 10

/** The numbers of `.stats`, as JSON. Rejects with TableError or ParquetError where one cannot be had. */
export async function statsJson(
  table: Table,
  snapshot: Snapshot,
  segments: Segments,
  cache: ByteCache,
): Promise<string> {
  const { files, metadata, protocol, schema, partitionColumns, version } = snapshot
  let rows = 0
  for (const file of files) rows += (await segments.rows(file)) - (file.vector?.cardinality ?? 0)
  const { entries, sizeBytes, capacityBytes, hits, misses } = cache.stats()
  const commits = await table.history(COMMITS_SHOWN)
  const stats = {
    total_rows: rows,
    total_files: files.length,
    total_size_bytes: files.reduce((sum, file) => sum + file.sizeBytes, 0),
    version: Number(version),
    table_id: metadata.id,
    name: metadata.name ?? null,
    location: table.store.location,
    columns: schema.length,
    partition_columns: partitionColumns,
    deleted_rows: files.reduce((sum, file) => sum + (file.vector?.cardinality ?? 0), 0),
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
