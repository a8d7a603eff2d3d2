import { findChild } from '../columns/parquet/match.ts'
import type { SchemaNode } from '../columns/parquet/metadata.ts'
import type { ChunkStatistics, RawFooter } from '../columns/parquet/raw-footer.ts'
import type { Footer } from '../columns/parquet/read.ts'
import { isSameName, physicalName } from '../columns/schema.ts'
import type { Field, Schema } from '../columns/types.ts'
import { schemaInFiles } from './column-mapping.ts'
import { type ColumnRange, compare, type Ordered, type Reach, rangeOfValue, reachOf, UNKNOWN } from './column-ranges.ts'
import { rangeOfBounds } from './footer-ranges.ts'
import type { LiveFile } from './live-files.ts'
import { LoggedStatistics, type Statistics, type StatisticsColumn } from './logged-statistics.ts'
import type { ColumnPath, Comparison, RowFilter } from './row-filter.ts'
import type { Snapshot } from './snapshot.ts'

/**
 * The files of a version that can have rows under a filter: the others are ruled out by their partition values and their
 * statistics (PROTOCOL.md, "Per-file Statistics"). What is missing, damaged or not understood rules nothing out. Statistics
 * are of all rows of a file: that some are deleted makes bounds wide, and no less true.
 */
export function filesFor({ files, schema, partitionColumns }: Snapshot, filter: RowFilter): readonly LiveFile[] {
  if (filter.kind === 'any') return files
  const columns = new Columns(schema, partitionColumns)
  return files.filter(file => mayMatch(filter, file, new LoggedStatistics(file), columns))
}

/**
 * The row groups of a file that can have rows under a filter, by their numbers: the others are ruled out by what the file's
 * footer says of their columns, as `filesFor` rules out files. `raw`: the same footer.
 */
export function rowGroupsFor(
  snapshot: Snapshot,
  file: LiveFile,
  { footer, raw }: { readonly footer: Footer; readonly raw: RawFooter },
  filter: RowFilter,
): readonly number[] {
  const all = footer.rowGroups.map((_, i) => i)
  if (filter.kind === 'any') return all
  const columns = new Columns(snapshot.schema, snapshot.partitionColumns)
  const leafOf = leavesByColumn(schemaInFiles(snapshot), footer)
  return all.filter(group => mayMatch(filter, file, new GroupStatistics(footer, raw, group, leafOf), columns))
}

/** A column that a filter speaks of. */
interface Column extends StatisticsColumn {
  readonly isPartition: boolean
}

/** Finds columns by their names. */
class Columns {
  readonly #schema: Schema
  readonly #partitionColumns: readonly string[]
  readonly #found = new Map<ColumnPath, Column | undefined>()

  constructor(schema: Schema, partitionColumns: readonly string[]) {
    this.#schema = schema
    this.#partitionColumns = partitionColumns
  }

  get(path: ColumnPath): Column | undefined {
    if (!this.#found.has(path)) this.#found.set(path, this.#find(path))
    return this.#found.get(path)
  }

  #find(names: ColumnPath): Column | undefined {
    let fields = this.#schema
    let found: Field | undefined
    const path: string[] = []
    for (const name of names) {
      const same = fields.filter(field => isSameName(field.name, name))
      found = same[0]
      if (found === undefined || same.length > 1) return undefined
      path.push(physicalName(found))
      fields = found.type.kind === 'struct' ? found.type.fields : []
    }
    return found && { type: found.type, path, isPartition: path.length === 1 && this.#isPartition(found) }
  }

  #isPartition({ name }: Field): boolean {
    return this.#partitionColumns.includes(name)
  }
}

type LeafOf = (column: StatisticsColumn) => SchemaNode | undefined

/** The statistics of a row group in a footer. Columns inside of others, and damaged statistics, are not known of. */
class GroupStatistics implements Statistics {
  readonly #footer: Footer
  readonly #raw: RawFooter
  readonly #group: number
  readonly #leafOf: LeafOf

  constructor(footer: Footer, raw: RawFooter, group: number, leafOf: LeafOf) {
    this.#footer = footer
    this.#raw = raw
    this.#group = group
    this.#leafOf = leafOf
  }

  isAllNull(column: StatisticsColumn): boolean {
    const known = this.#of(column)
    return known !== undefined && known.entries > 0 && known.nulls === known.entries
  }

  hasNull(column: StatisticsColumn): boolean {
    return this.#of(column)?.nulls !== 0
  }

  range(column: StatisticsColumn): ColumnRange {
    const leaf = this.#leafOf(column)
    const known = this.#of(column)
    return leaf === undefined || known === undefined ? UNKNOWN : rangeOfBounds(column.type, leaf, known)
  }

  #of(column: StatisticsColumn): ChunkStatistics | undefined {
    const leaf = this.#leafOf(column)
    const chunk = leaf && this.#footer.rowGroups[this.#group]?.columns[leaf.leafIndex]
    if (leaf === undefined || chunk?.path.join('\0') !== leaf.path.join('\0')) return undefined
    try {
      return this.#raw.statistics(this.#group, leaf.leafIndex)
    } catch {
      return undefined
    }
  }
}

/** Finds the leaves of a file that are columns by themselves. */
function leavesByColumn(schema: Schema, { root }: Footer): LeafOf {
  return ({ path }) => {
    const field = schema.find(candidate => physicalName(candidate) === path[0])
    if (path.length > 1 || field === undefined) return undefined
    try {
      const node = findChild(root, field)
      return node?.physical === undefined || node.repetition === 'REPEATED' ? undefined : node
    } catch {
      // Two could be meant: who reads the file says so.
      return undefined
    }
  }
}

function mayMatch(filter: RowFilter, file: LiveFile, stats: Statistics, columns: Columns): boolean {
  switch (filter.kind) {
    case 'any':
      return true
    case 'and':
      return filter.parts.every(part => mayMatch(part, file, stats, columns))
    case 'or':
      return filter.parts.some(part => mayMatch(part, file, stats, columns))
    default: {
      const column = columns.get(filter.column)
      if (column === undefined) return true
      if (filter.kind === 'null') return mayBeNull(filter.isNull, column, file, stats)
      const range = rangeIn(column, file, stats)
      // No comparison with NULL is true.
      if (range === undefined) return false
      if (filter.kind === 'prefix') return column.type.kind !== 'string' || mayBegin(range, filter.text)
      const reach = reachOf(filter.value, column.type)
      return reach === undefined || mayCompare(filter.operator, range, reach)
    }
  }
}

/** The values that a column has in some rows of a file; undefined if it has NULLs only. */
function rangeIn(column: Column, file: LiveFile, stats: Statistics): ColumnRange | undefined {
  const { type, path, isPartition } = column
  if (isPartition) {
    const cell = file.partition.get(path[0]!) ?? null
    return cell === null ? undefined : rangeOfValue(cell, type)
  }
  return stats.isAllNull(column) ? undefined : stats.range(column)
}

function mayBeNull(isNull: boolean, column: Column, file: LiveFile, stats: Statistics): boolean {
  const { path, isPartition } = column
  if (isPartition) return ((file.partition.get(path[0]!) ?? null) === null) === isNull
  if (!isNull) return !stats.isAllNull(column)
  // Not all writers count a member of a struct as NULL where there is no struct.
  return path.length > 1 || stats.hasNull(column)
}

function mayCompare(operator: Comparison, range: ColumnRange, { low, high }: Reach): boolean {
  const { least, most, mayHaveNaN = false, isExact } = range
  const isAbove = (value: Ordered): boolean => most !== undefined && !isOpen(range, value) && compare(value, most) > 0
  switch (operator) {
    case '=':
      return !(least !== undefined && compare(high, least) < 0) && !isAbove(low)
    case '<':
      return least === undefined || compare(least, high) < 0
    case '<=':
      return least === undefined || compare(least, high) <= 0
    case '>':
      return mayHaveNaN || most === undefined || isOpen(range, low) || compare(most, low) > 0
    case '>=':
      return mayHaveNaN || !isAbove(low)
    case '!=': {
      if (!isExact || least === undefined || most === undefined) return true
      return compare(least, most) !== 0 || compare(low, high) !== 0 || compare(least, low) !== 0
    }
  }
}

/** True if values above the upper bound may be like this one. */
function isOpen({ openAbove }: ColumnRange, value: Ordered): boolean {
  return openAbove !== undefined && (value as string).startsWith(openAbove)
}

function mayBegin(range: ColumnRange, text: string): boolean {
  const { least, most } = range
  if (most !== undefined && !isOpen(range, text) && compare(most, text) < 0) return false
  return least === undefined || compare(least, text) <= 0 || (least as string).startsWith(text)
}
