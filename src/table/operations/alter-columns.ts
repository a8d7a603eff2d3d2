import { fieldToJson, physicalName, schemaFault, schemaToJson } from '../../columns/schema.ts'
import type { DataType, Field, Schema } from '../../columns/types.ts'
import { clusteringColumns } from '../clustering.ts'
import { type ColumnPath, changedAt, type FieldPlace, pathText } from '../column-path.ts'
import type { CommitResult, Transaction } from '../commit/transaction.ts'
import { TableError } from '../errors.ts'
import { columnPaths, columnPathsText, isTrue, STATISTICS_COLUMNS } from '../properties.ts'
import { hasColumnMapping } from '../protocol.ts'
import { ruledTable, rulesOf } from '../rules/rules.ts'
import type { Snapshot } from '../snapshot.ts'
import { widened } from '../type-widening.ts'
import { checkPartitioning } from './create.ts'

/**
 * Gives a column, or a field inside one, another name. Its files have it under the one that they have, so that no row is
 * written anew. TableError `bad_schema`, `unsupported_feature`.
 */
export async function renameColumn(transaction: Transaction, path: ColumnPath, name: string): Promise<CommitResult> {
  const { base } = transaction
  let found: FieldPlace | undefined
  const schema = changedAt(base.schema, path, place => {
    found = place
    return { ...place.field, name }
  })
  const { field, fields, steps } = found!
  checkIsField(steps, fields)
  checkMapped(base, `RENAME COLUMN ${pathText(fields)}`)
  if (field.name === name) return { kind: 'unchanged', version: base.version, snapshot: base }
  checkUnused(base, found!, 'renamed')
  const isColumn = fields.length === 1
  const partitionColumns = base.partitionColumns.map(column => (isColumn && column === field.name ? name : column))
  const to = [...fields.slice(0, -1), { ...field, name }]
  changeColumns(transaction, schema, partitionColumns, { from: fields, to })
  return transaction.commit({
    name: 'RENAME COLUMN',
    parameters: { oldColumnPath: pathText(fields), newColumnPath: pathText(to) },
  })
}

/**
 * Takes columns, or fields inside them, away: their values stay in the files and are never shown again. `ifExists`: passes
 * over those that are not there. TableError `bad_schema`, `unsupported_feature`.
 */
export async function dropColumns(
  transaction: Transaction,
  paths: readonly ColumnPath[],
  ifExists: boolean,
): Promise<CommitResult> {
  const { base } = transaction
  let { schema } = base
  const dropped: FieldPlace[] = []
  for (const path of paths) {
    try {
      schema = changedAt(schema, path, place => {
        dropped.push(place)
        return undefined
      })
    } catch (error) {
      if (!ifExists || !(error instanceof TableError)) throw error
    }
  }
  if (dropped.length === 0) return { kind: 'unchanged', version: base.version, snapshot: base }
  checkMapped(base, `DROP COLUMN ${pathText(dropped[0]!.fields)}`)
  for (const place of dropped) {
    checkIsField(place.steps, place.fields)
    checkDroppable(base, place)
  }
  if (schema.length === 0) throw new TableError('bad_schema', 'a table has one column at least; these are all of them')
  changeColumns(transaction, schema, base.partitionColumns, ...dropped.map(({ fields }) => ({ from: fields })))
  return transaction.commit({
    name: 'DROP COLUMNS',
    parameters: { columns: JSON.stringify(dropped.map(({ fields }) => pathText(fields))) },
  })
}

/**
 * Gives a column, or what is inside it, a wider type (PROTOCOL.md, "Type Widening"): files that are there keep the narrow
 * one. TableError `bad_schema`, `unsupported_feature`.
 */
export async function widenColumn(transaction: Transaction, path: ColumnPath, type: DataType): Promise<CommitResult> {
  const { base } = transaction
  const shown = path.join('.')
  let place: FieldPlace | undefined
  let changed: Field | undefined
  const schema = changedAt(base.schema, path, found => {
    place = found
    changed = widened(found.field, found.steps, type, shown)
    return changed
  })
  if (changed === place!.field) return { kind: 'unchanged', version: base.version, snapshot: base }
  if (!isTrue(base.metadata.configuration.get('delta.enableTypeWidening')))
    throw new TableError(
      'unsupported_feature',
      `the type of ${shown} can be changed once the table has type widening, which its readers must know: ALTER TABLE data SET TBLPROPERTIES ('delta.enableTypeWidening' = 'true')`,
    )
  checkUnused(base, place!, 'changed')
  changeColumns(transaction, schema, base.partitionColumns)
  return transaction.commit({
    name: 'CHANGE COLUMN',
    parameters: { column: JSON.stringify(fieldToJson(changed!)) },
  })
}

/** A column that has another name from now on, or is gone. */
interface Moved {
  readonly from: readonly Field[]
  readonly to?: readonly Field[]
}

function changeColumns(
  transaction: Transaction,
  schema: Schema,
  partitionColumns: readonly string[],
  ...moved: readonly Moved[]
): void {
  const { action } = transaction.base.metadata
  const fault = schemaFault(schema)
  if (fault !== undefined) throw new TableError('bad_schema', `the table cannot have these columns: ${fault}`)
  checkPartitioning(schema, partitionColumns)
  const { configuration } = action
  transaction.changeMetadata({
    ...action,
    schemaString: schemaToJson(schema),
    partitionColumns,
    ...(configuration ? { configuration: withStatisticsColumns(configuration, moved) } : {}),
  })
}

/** The property that names the columns with statistics goes with the columns. */
function withStatisticsColumns(
  configuration: Readonly<Record<string, string>>,
  moved: readonly Moved[],
): Readonly<Record<string, string>> {
  const { [STATISTICS_COLUMNS]: text, ...others } = configuration
  const paths = columnPaths(text)
  if (paths === undefined) return configuration
  const kept = moved.reduce(
    (all, { from, to }) =>
      all.flatMap(path => {
        const isMoved = from.every(({ name }, i) => name.toLowerCase() === path[i]?.toLowerCase())
        if (!isMoved) return [path]
        return to === undefined ? [] : [[...to.map(({ name }) => name), ...path.slice(from.length)]]
      }),
    paths,
  )
  return kept.length === 0 ? others : { ...others, [STATISTICS_COLUMNS]: columnPathsText(kept) }
}

function checkIsField(steps: ColumnPath, fields: readonly Field[]): void {
  if (steps.length > 0)
    throw new TableError(
      'bad_schema',
      `${[pathText(fields), ...steps].join('.')} has no name of its own: columns and fields of structs have one`,
    )
}

function checkMapped({ protocol, metadata }: Snapshot, what: string): void {
  if (hasColumnMapping(protocol, metadata.configuration)) return
  throw new TableError(
    'unsupported_feature',
    `${what} needs column mapping, as the files have columns under their names; it is switched on by ALTER TABLE data SET TBLPROPERTIES ('delta.columnMapping.mode' = 'name')`,
  )
}

function checkDroppable(base: Snapshot, place: FieldPlace): void {
  const { fields } = place
  const [column] = fields
  if (fields.length === 1 && base.partitionColumns.includes(column!.name))
    throw new TableError('bad_schema', `the column ${column!.name} cannot be dropped: the table is partitioned by it`)
  const physical = fields.map(physicalName)
  if (clusteringColumns(base).some(path => physical.every((name, i) => name === path[i])))
    throw new TableError('bad_schema', `the column ${pathText(fields)} cannot be dropped: the table is clustered by it`)
  checkUnused(base, place, 'dropped')
}

/** Refuses to change a column that a rule of the table names: it would no longer be true, or fail. */
function checkUnused(base: Snapshot, { fields }: FieldPlace, how: string): void {
  const [column] = fields
  // Rules of a column that goes go with it.
  const isGone = how === 'dropped' && fields.length === 1
  const rules = rulesOf(
    ruledTable(
      base,
      base.schema.filter(other => !isGone || other !== column),
    ),
  )
  const generated = rules?.generated.filter(({ name }) => name !== column!.name) ?? []
  const uses = [
    ...(rules?.checks ?? []),
    ...generated.map(({ name, sql }) => ({ name: `the generated column ${name}`, sql })),
  ]
  const user = uses.find(({ sql }) => mentions(sql, column!))
  if (user === undefined) return
  throw new TableError('bad_schema', `the column ${pathText(fields)} cannot be ${how}: ${user.name} uses it`)
}

/** True if a Spark SQL expression may name a column: any word in it that is no text is looked at. */
function mentions(expression: string, { name }: Field): boolean {
  const words = expression
    .replace(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/gs, ' ')
    .match(/`(?:[^`]|``)+`|[\p{L}\p{N}_$]+/gu)
  return (words ?? []).some(word => {
    const bare = word.startsWith('`') ? word.slice(1, -1).replaceAll('``', '`') : word
    return bare.toLowerCase() === name.toLowerCase()
  })
}
