import { physicalName } from '../../columns/schema.ts'
import { parseScalar, parseTimestamp, ScalarError } from '../../columns/text/scalars.ts'
import type { Cell, DataType, Field, Schema } from '../../columns/types.ts'
import { type IndexedLeaf, indexedLeaves, isOrdered } from '../data-files/statistics.ts'
import type { LiveFile } from '../live-files.ts'
import { indexedColumns } from '../properties.ts'
import type { Snapshot } from '../snapshot.ts'
import { keepNumbers } from './json.ts'
import { isObject } from './shapes.ts'

const LONG: DataType = { kind: 'long' }

/**
 * A file's statistics and partition values in the types of the columns, as checkpoints have them (PROTOCOL.md, "Checkpoint
 * Schema"): columns of `add`, and their values for a file.
 */
export interface ParsedColumns {
  readonly fields: Schema
  cells(file: LiveFile): readonly Cell[]
}

/** The columns of `add` in a snapshot's checkpoint: `stats_parsed`, and `partitionValues_parsed` if it has partitions. */
export function parsedColumns({ schema, partitionColumns, metadata }: Snapshot): ParsedColumns {
  const inFiles = schema.filter(({ name, type }) => type.kind !== 'void' && !partitionColumns.includes(name))
  const leaves = indexedLeaves(inFiles, indexedColumns(metadata.configuration)).filter(({ type }) =>
    hasStatistics(type),
  )
  const bounds = structOf(leaves.filter(({ type }) => isOrdered(type)))
  const nulls = structOf(leaves.map(({ path }) => ({ path, type: LONG })))
  const statistics: DataType = {
    kind: 'struct',
    fields: [
      field('numRecords', LONG),
      ...(bounds.length === 0 ? [] : [struct('minValues', bounds), struct('maxValues', bounds)]),
      ...(nulls.length === 0 ? [] : [struct('nullCount', nulls)]),
      field('tightBounds', { kind: 'boolean' }),
    ],
  }
  const partition = partitionColumns.flatMap(name => {
    const found = schema.find(other => other.name === name)
    return found === undefined ? [] : [field(physicalName(found), found.type)]
  })
  const isPartitioned = partition.length > 0
  return {
    fields: [
      ...(isPartitioned ? [struct('partitionValues_parsed', partition)] : []),
      field('stats_parsed', statistics),
    ],
    cells: ({ add, partition: values }) => [
      ...(isPartitioned ? [partition.map(({ name }) => values.get(name) ?? null)] : []),
      cellOf(parsed(add.stats), statistics),
    ],
  }
}

function hasStatistics({ kind }: DataType): boolean {
  return kind !== 'variant' && kind !== 'void'
}

function field(name: string, type: DataType): Field {
  return { name, type, nullable: true, metadata: {} }
}

function struct(name: string, fields: Schema): Field {
  return field(name, { kind: 'struct', fields })
}

/** Leaves as structs inside each other, in their order. */
function structOf(leaves: readonly IndexedLeaf[], depth = 0): Schema {
  const names = [...new Set(leaves.map(({ path }) => path[depth]!))]
  return names.map(name => {
    const own = leaves.filter(({ path }) => path[depth] === name)
    const [only] = own
    return only!.path.length === depth + 1 ? field(name, only!.type) : struct(name, structOf(own, depth + 1))
  })
}

function parsed(stats: string | null | undefined): unknown {
  try {
    return JSON.parse(stats ?? 'null', keepNumbers as never)
  } catch {
    return undefined
  }
}

/** Statistics of a type; what is missing, or is none of the type's values, is NULL, which says nothing. */
function cellOf(json: unknown, type: DataType): Cell {
  if (type.kind === 'struct')
    return isObject(json)
      ? type.fields.map(({ name, type: own }) => cellOf(Object.hasOwn(json, name) ? json[name] : null, own))
      : null
  if (json === null || json === undefined) return null
  if (type.kind === 'boolean') return typeof json === 'boolean' ? json : null
  const text = typeof json === 'string' ? json : JSON.stringify(json)
  if (type.kind === 'string') return typeof json === 'string' ? text : null
  try {
    return type.kind === 'timestamp' || type.kind === 'timestamp_ntz'
      ? parseTimestamp(text, true)
      : parseScalar(text, type)
  } catch (error) {
    if (error instanceof ScalarError) return null
    throw error
  }
}
