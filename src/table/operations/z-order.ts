import { readFooter, readRowGroup } from '../../columns/parquet/read.ts'
import { storeSource } from '../../columns/parquet/source.ts'
import { isSameName, physicalName, sqlType } from '../../columns/schema.ts'
import type { Batch, Field } from '../../columns/types.ts'
import { joinBatches, takeRows } from '../../columns/vectors.ts'
import { lowerBound } from '../../core/search.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { clusteringColumns } from '../clustering.ts'
import { schemaInFiles } from '../column-mapping.ts'
import { idColumns } from '../commit/row-tracking.ts'
import { committed, type Transaction } from '../commit/transaction.ts'
import { columnsInFiles } from '../data-files/new-file.ts'
import { FILE_ROWS_MAX, type MovedRows } from '../data-files/rows-writer.ts'
import { indexedLeaves, isOrdered } from '../data-files/statistics.ts'
import { TableError } from '../errors.ts'
import type { LiveFile } from '../live-files.ts'
import { LiveRows } from '../live-rows.ts'
import { partitionFilter } from '../partition-filter.ts'
import { indexedColumns } from '../properties.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Table } from '../table.ts'
import { Curve } from '../z-order/curve.ts'
import { Sorter } from '../z-order/sorter.ts'
import { partitionKey } from './bins.ts'
import {
  ATTEMPTS_MAX,
  COMMIT_BYTES,
  type Optimized,
  type OptimizeOptions,
  optimized,
  TARGET_BYTES,
} from './optimize.ts'

/** Rows whose values show what the columns hold. */
const SAMPLE_ROWS = 1 << 16
/** Rows that are written at once; a file ends behind such. */
const BATCH_ROWS = 1 << 14
const BATCHES_IN_FILE = 8
/** With more columns, too few bits would be left for each. */
const COLUMNS_MAX = 8
/** Multiples of it are spread evenly between whole numbers, and never fall into step with what repeats in rows. */
const GOLDEN = (Math.sqrt(5) - 1) / 2

export interface ZOrderOptions extends OptimizeOptions {
  /** The names of columns, the most important one first. */
  readonly columns: readonly string[]
  /** A store of its own for rows that do not fit into memory. */
  readonly spill: ObjectStore
  /** The bytes of rows from which on they are set aside there. */
  readonly memoryBytes?: number | undefined
}

/**
 * Writes files anew (all, or those of chosen partitions) so that rows with values near to one another in some columns are in
 * the same ones, and statistics let readers leave out files whichever of the columns they ask for (Spark's OPTIMIZE ...
 * ZORDER BY): commits that change no row, and its place in the views alone. Files are about `targetBytes` large. A
 * partition is one commit, small ones together. TableError `bad_schema` for columns by which this cannot be,
 * `unsupported_feature`, `conflict`, `constraint`; StorageError.
 */
export async function zOrder(table: Table, options: ZOrderOptions): Promise<Optimized> {
  const { where, signal } = options
  const done = { commits: 0, removedFiles: 0, addedFiles: 0 }
  const first = await table.refresh()
  const zOrderBy = curveColumns(first, options.columns).map(({ name }) => name)
  columnsInFiles(first.schema, first.partitionColumns)
  const isChosen = where === undefined ? () => true : partitionFilter(first, where)
  const partitions = byPartition(first.files.filter(isChosen))
  const told = progressOf([...partitions.values()].flat(), options)
  for (const keys of together(partitions)) {
    for (let conflicts = 0; ; ) {
      signal?.throwIfAborted()
      const base = await table.refresh()
      const there = byPartition(base.files)
      const chosen = keys.flatMap(key => there.get(key) ?? [])
      if (chosen.length === 0) break
      await using transaction = table.begin(base, { signal })
      for (const key of keys) {
        const files = there.get(key)
        if (files !== undefined) await write(table, transaction, files, { ...options, told })
      }
      transaction.removeFiles(...chosen)
      const result = await transaction.commit(optimized(chosen, transaction.added, { where, zOrderBy }))
      if (result.kind === 'conflict' && ++conflicts < ATTEMPTS_MAX) continue
      committed(result)
      done.commits++
      done.removedFiles += chosen.length
      done.addedFiles += transaction.added.length
      break
    }
  }
  return done
}

/** The columns of these names. TableError `bad_schema` says of one why no file would be left out by it. */
function curveColumns(snapshot: Snapshot, names: readonly string[]): Field[] {
  const { schema, partitionColumns, metadata } = snapshot
  const clustered = clusteringColumns(snapshot).map(path => path.join('.'))
  if (clustered.length > 0)
    throw refused(`the table is clustered (by ${clustered.join(', ')}), and keeps to that; optimize it without columns`)
  if (names.length === 0 || names.length > COLUMNS_MAX)
    throw refused(`it takes 1 to ${COLUMNS_MAX} columns, and ${names.length} are given`)
  const leaves = indexedLeaves(columnsInFiles(schema, partitionColumns), indexedColumns(metadata.configuration))
  const found = names.map(name => {
    const field = schema.find(other => isSameName(other.name, name))
    if (field === undefined)
      throw refused(`the table has no column ${name}; its columns are ${schema.map(other => other.name).join(', ')}`)
    if (partitionColumns.includes(field.name))
      throw refused(`${field.name} is a partition column: all rows of a file have the same value in it already`)
    if (field.type.kind === 'void' || !isOrdered(field.type))
      throw refused(
        `of the column ${field.name} (${sqlType(field.type)}) there are no bounds by which files are skipped`,
      )
    if (!leaves.some(({ path }) => path[0] === physicalName(field)))
      throw refused(
        `the table keeps no statistics of the column ${field.name}, so that no file would be skipped; name it in the property delta.dataSkippingStatsColumns, or raise delta.dataSkippingNumIndexedCols`,
      )
    return field
  })
  const twice = found.find((field, i) => found.indexOf(field) < i)
  if (twice !== undefined) throw refused(`the column ${twice.name} is named twice`)
  return found
}

function refused(why: string): TableError {
  return new TableError('bad_schema', `rows cannot be put in Z order: ${why}`)
}

function byPartition(files: readonly LiveFile[]): Map<string, LiveFile[]> {
  return Map.groupBy(files, partitionKey)
}

/** Partitions that are one commit. */
function together(partitions: ReadonlyMap<string, readonly LiveFile[]>): string[][] {
  const commits: string[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const [key, files] of partitions) {
    const own = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    if (bytes + own > COMMIT_BYTES) {
      commits.push([])
      bytes = 0
    }
    commits.at(-1)!.push(key)
    bytes += own
  }
  return commits
}

/** Hears of bytes of the files: each is read, and then written in its new place. */
type Told = (bytes: number) => void

function progressOf(files: readonly LiveFile[], { progress }: OptimizeOptions): Told {
  const total = 2 * files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  let done = 0
  return bytes => {
    done = Math.min(total, done + bytes)
    progress?.(done, total)
  }
}

/** Writes the rows of all files of a partition to new ones. */
async function write(
  table: Table,
  transaction: Transaction,
  files: readonly LiveFile[],
  options: ZOrderOptions & { readonly told: Told },
): Promise<void> {
  const { targetBytes = TARGET_BYTES } = options
  const counts = await rowCounts(table, files)
  const live = counts.reduce((sum, rows, i) => sum + rows - (files[i]!.vector?.cardinality ?? 0), 0)
  const bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const physical = Math.max(
    1,
    counts.reduce((sum, rows) => sum + rows, 0),
  )
  const fileCount = Math.max(1, Math.round((bytes * (live / physical)) / targetBytes))
  const fileRows = Math.max(1, Math.min(FILE_ROWS_MAX, Math.ceil(live / fileCount)))
  const batchRows = Math.min(BATCH_ROWS, Math.ceil(fileRows / BATCHES_IN_FILE))
  const rows = sortedRows(table, transaction.base, { files, counts }, { ...options, batchRows })
  await transaction.write(rows, { inPlaceOf: files[0], fileRows })
}

interface FilesWithRows {
  readonly files: readonly LiveFile[]
  /** The rows of each, deleted ones too. */
  readonly counts: readonly number[]
}

async function rowCounts({ store }: Table, files: readonly LiveFile[]): Promise<number[]> {
  const counts: number[] = []
  for (const { rows, path, sizeBytes } of files)
    counts.push(rows ?? (await readFooter(storeSource(store, path, sizeBytes))).rows)
  return counts
}

/** The live rows of files along a curve. */
async function* sortedRows(
  table: Table,
  base: Snapshot,
  { files, counts }: FilesWithRows,
  options: ZOrderOptions & { readonly told: Told; readonly batchRows: number },
): AsyncGenerator<MovedRows> {
  const { told, batchRows, signal, spill, memoryBytes } = options
  const schema = schemaInFiles(base)
  const numbers = curveColumns(base, options.columns).map(field => base.schema.indexOf(field))
  const columnsOf = ({ rows, vectors }: Batch): Batch => ({ rows, vectors: numbers.map(at => vectors[at]!) })
  const sample = await sampleOf(
    table,
    { files, counts },
    numbers.map(at => schema[at]!),
  )
  const curve = Curve.through(sample)
  const hidden = idColumns(base)
  const rows = counts.reduce((sum, count) => sum + count, 0)
  const types = [...schema, ...hidden].map(({ type }) => type)
  await using sorter = new Sorter({ types, sample: curve.places(sample), rows, spill, memoryBytes })
  const live = new LiveRows(table, base, ({ sizeBytes }) => told(sizeBytes))
  for (const file of files) {
    for await (const { moved, hidden: ids = [] } of live.moved(file, { start: 0, end: Number.POSITIVE_INFINITY })) {
      signal?.throwIfAborted()
      await sorter.add({ rows: moved.rows, vectors: [...moved.vectors, ...ids] }, curve.places(columnsOf(moved)))
    }
  }
  const bytes = files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  for await (const batch of sorter.sorted(batchRows)) {
    signal?.throwIfAborted()
    const moved = { rows: batch.rows, vectors: batch.vectors.slice(0, schema.length) }
    yield hidden.length === 0 ? { moved } : { moved, hidden: batch.vectors.slice(schema.length) }
    told((bytes * batch.rows) / rows)
  }
}

/** Columns of rows from everywhere in files. */
async function sampleOf({ store }: Table, { files, counts }: FilesWithRows, fields: readonly Field[]): Promise<Batch> {
  const total = counts.reduce((sum, count) => sum + count, 0)
  const length = Math.min(total, SAMPLE_ROWS)
  const wanted = Float64Array.from({ length }, (_, i) => Math.floor(((i + ((i * GOLDEN) % 1)) * total) / length))
  const parts: Batch[] = []
  let before = 0
  for (const [i, { path, sizeBytes, partition }] of files.entries()) {
    const source = storeSource(store, path, sizeBytes)
    const footer = await readFooter(source)
    for (const [group, { firstRow, rows }] of footer.rowGroups.entries()) {
      const start = before + firstRow
      const picked = wanted.subarray(lowerBound(wanted, start), lowerBound(wanted, start + rows))
      if (picked.length === 0) continue
      const batch = await readRowGroup(source, footer, group, fields, partition)
      parts.push(
        takeRows(
          batch,
          picked.map(row => row - start),
        ),
      )
    }
    before += counts[i]!
  }
  return joinBatches(parts)
}
