import { byteBounds, longBounds, numberBounds } from '../../columns/bounds.ts'
import { type Footer, readFooter, readRowGroup } from '../../columns/parquet/read.ts'
import { storeSource } from '../../columns/parquet/source.ts'
import { physicalName } from '../../columns/schema.ts'
import type { Batch, Cell, Field, Schema, Vector } from '../../columns/types.ts'
import { cellAt, isNullAt, isUtf8, takeRows } from '../../columns/vectors.ts'
import { messageOf } from '../../core/errors.ts'
import { schemaInFiles } from '../column-mapping.ts'
import { type ColumnRange, compare, rangeOfValue } from '../column-ranges.ts'
import { keptRows } from '../data-files/kept-rows.ts'
import type { LiveFile } from '../live-files.ts'
import { readCommit } from '../log/load.ts'
import { SnapshotBuilder } from '../log/replay.ts'
import { listLog } from '../log/segment.ts'
import { LoggedStatistics } from '../logged-statistics.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Table } from '../table.ts'

export interface CheckOptions {
  /** Files are looked for, and their footers and vectors read; their rows are not. */
  readonly quick?: boolean | undefined
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((doneBytes: number, totalBytes: number) => void) | undefined
}

/**
 * Looks whether a table is whole, and gives a sentence for each thing that is wrong: commits that are missing or cannot be
 * read, a checkpoint that says something else than they do; data files and vectors that are gone, cut off or damaged, that
 * have other sizes or numbers of rows than the log says; and rows that the statistics of their file (of columns that are no
 * structs) rule out, so that queries would miss them. Changes nothing. Rejects with StorageError where the store does not
 * answer.
 */
export async function* checkTable(table: Table, options: CheckOptions = {}): AsyncGenerator<string> {
  const snapshot = await table.refresh()
  yield* checkLog(table, snapshot)
  const totalBytes = snapshot.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  let doneBytes = 0
  for (const file of snapshot.files) {
    options.signal?.throwIfAborted()
    options.progress?.(doneBytes, totalBytes)
    for (const wrong of await faultsOf(table, snapshot, file, options)) yield `${file.path}: ${wrong}`
    doneBytes += file.sizeBytes
  }
}

// --- the log ---------------------------------------------------------------------------------------------------------

async function* checkLog(table: Table, snapshot: Snapshot): AsyncGenerator<string> {
  const { store } = table
  const { commits, checkpoints } = await listLog(store, undefined)
  let whole = commits[0]?.version === 0n
  let before: bigint | undefined
  const builder = new SnapshotBuilder(store.location, undefined)
  const checkpoint = checkpoints.findLast(({ version }) => version <= snapshot.version)?.version
  for (const { version, path, modifiedMs } of commits) {
    if (version > snapshot.version) break
    if (before !== undefined && version !== before + 1n) {
      whole = false
      yield version === before + 2n
        ? `${path}: the commit before it, of version ${before + 1n}, is missing`
        : `${path}: the commits of versions ${before + 1n} to ${version - 1n} before it are missing`
    }
    before = version
    try {
      const commit = await readCommit(store, version)
      if (commit !== undefined && whole) builder.apply(commit.actions, modifiedMs)
    } catch (error) {
      whole = false
      yield messageOf(error)
    }
    if (!whole || version !== checkpoint) continue
    const said = differenceOf(await table.at(version).catch(() => undefined), builder.finish(version))
    if (said !== undefined) yield `the checkpoint of version ${version} does not say what the commits say: ${said}`
  }
}

/** Returns the difference of a version by its checkpoint from that by its commits; undefined if there is none. */
function differenceOf(checkpoint: Snapshot | undefined, commits: Snapshot): string | undefined {
  if (checkpoint === undefined) return 'it cannot be read'
  const [missing] = commits.live.notIn(checkpoint.live)
  if (missing !== undefined) return `the file ${missing.path} is not in it`
  const [extra] = checkpoint.live.notIn(commits.live)
  if (extra !== undefined) return `the file ${extra.path} is only in it`
  const isSame = checkpoint.metadata.action.schemaString === commits.metadata.action.schemaString
  return isSame ? undefined : 'the columns are others'
}

// --- data files ------------------------------------------------------------------------------------------------------

async function faultsOf(
  table: Table,
  snapshot: Snapshot,
  file: LiveFile,
  { quick, signal }: CheckOptions,
): Promise<string[]> {
  const found = await table.store.stat(file.path)
  if (found === undefined) return ['the file is gone']
  if (found.sizeBytes !== file.sizeBytes)
    return [`the file has ${found.sizeBytes} bytes, the log says ${file.sizeBytes}`]
  try {
    const footer = await readFooter(storeSource(table.store, file.path, file.sizeBytes))
    const faults: string[] = []
    if (file.rows !== undefined && file.rows !== footer.rows)
      faults.push(`the file has ${footer.rows} rows, its statistics say ${file.rows}`)
    const deleted = await table.deletedRows(file)
    if (file.vector !== undefined && deleted.length !== file.vector.cardinality)
      faults.push(`its vector has ${deleted.length} rows, the log says ${file.vector.cardinality}`)
    if (quick !== true) faults.push(...(await faultsOfRows({ table, snapshot, file, footer, deleted, signal })))
    return faults
  } catch (error) {
    if (signal?.aborted === true) throw error
    const message = messageOf(error)
    return [message.startsWith(`${file.path}: `) ? message.slice(file.path.length + 2) : message]
  }
}

interface FileRows {
  readonly table: Table
  readonly snapshot: Snapshot
  readonly file: LiveFile
  readonly footer: Footer
  readonly deleted: Uint32Array
  readonly signal: AbortSignal | undefined
}

/** Reads every row that is not deleted, and compares each column with its statistics. */
async function faultsOfRows({ table, snapshot, file, footer, deleted, signal }: FileRows): Promise<string[]> {
  const { partitionColumns } = snapshot
  const source = storeSource(table.store, file.path, file.sizeBytes)
  const readSchema = readable(schemaInFiles(snapshot), partitionColumns)
  const columns = readable(snapshot.schema, partitionColumns).map(field => new CheckedColumn(field, file))
  for (const { group, rows, kept } of keptRows(footer, deleted)) {
    signal?.throwIfAborted()
    const all = await readRowGroup(source, footer, group, readSchema)
    const batch: Batch = kept.length === rows ? all : takeRows(all, kept)
    for (const [i, column] of columns.entries()) column.see(batch.vectors[i]!)
  }
  return columns.flatMap(column => column.faults(file.vector !== undefined))
}

/** The columns that a file has, those that posixlake does not write included. */
function readable(schema: Schema, partitionColumns: readonly string[]): Schema {
  return schema.filter(({ name, type }) => type.kind !== 'void' && !partitionColumns.includes(name))
}

/** A column of a file, of which all values are compared with what the statistics say. */
class CheckedColumn {
  readonly #field: Field
  readonly #range: ColumnRange
  readonly #nullCount: number | undefined
  #nulls = 0
  #outside: string | undefined

  constructor(field: Field, file: LiveFile) {
    this.#field = field
    const statistics = new LoggedStatistics(file)
    const column = { type: field.type, path: [physicalName(field)] }
    this.#range = statistics.range(column)
    this.#nullCount = statistics.nullCount(column)
  }

  see(vector: Vector): void {
    for (let row = 0; row < vector.length; row++) if (isNullAt(vector, row)) this.#nulls++
    for (const cell of extremes(vector)) {
      const { type, name } = this.#field
      const value = rangeOfValue(cell, type).least
      const { least, most, openAbove } = this.#range
      if (value === undefined) continue
      const isBelow = least !== undefined && compare(value, least) < 0
      const isCut = openAbove !== undefined && typeof value === 'string' && value.startsWith(openAbove)
      const isAbove = most !== undefined && !isCut && compare(value, most) > 0
      if (isBelow || isAbove)
        this.#outside ??= `column ${name}: a value is ${isBelow ? 'below the least' : 'above the greatest'} that its statistics name, so that queries may miss it`
    }
  }

  /** `isDeletedFrom`: the statistics are of more rows than are left. */
  faults(isDeletedFrom: boolean): string[] {
    const { name } = this.#field
    const faults = this.#outside === undefined ? [] : [this.#outside]
    if (this.#nullCount !== undefined && !isDeletedFrom && this.#nulls !== this.#nullCount)
      faults.push(`column ${name}: ${this.#nulls} rows are NULL, its statistics say ${this.#nullCount}`)
    return faults
  }
}

/** The least and the greatest value of a column; NaN is neither. */
function extremes(vector: Vector): Exclude<Cell, null>[] {
  const { values, nulls, type } = vector
  if (['struct', 'array', 'map', 'binary', 'variant'].includes(type.kind)) return []
  const at = (places: { readonly min: number; readonly max: number } | undefined): Cell[] =>
    places === undefined ? [] : [cellAt(vector, places.min), cellAt(vector, places.max)]
  let found: Cell[]
  if (isUtf8(values)) found = at(byteBounds(values, nulls))
  else if (values instanceof BigInt64Array) found = Object.values(longBounds(values, nulls) ?? {})
  else if (values instanceof Int32Array || values instanceof Float64Array)
    found = Object.values(numberBounds(values, nulls) ?? {})
  else found = [...values]
  return found.filter(cell => cell !== null)
}
