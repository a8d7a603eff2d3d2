import { physicalName, sqlType } from '../../columns/schema.ts'
import { sqlName, sqlText } from '../../columns/sql-names.ts'
import type { DataType, Field, Schema } from '../../columns/types.ts'
import type { Snapshot } from '../../table/snapshot.ts'
import { generated } from './generated.ts'

/** Properties that the table's writers keep for themselves: a new table gets its own. */
const INTERNAL_PROPERTIES = [
  'delta.columnMapping.maxColumnId',
  'delta.rowTracking.materializedRowIdColumnName',
  'delta.rowTracking.materializedRowCommitVersionColumnName',
  'delta.inCommitTimestampEnablementVersion',
  'delta.inCommitTimestampEnablementTimestamp',
]
const DEFAULTS_FEATURE = 'allowColumnDefaults'

/** `schema.sql`. */
export const schemaSqlView = generated(({ refresh }) => ({
  produce: async () => new TextEncoder().encode(schemaSql(await refresh())),
}))

/** The table as a CREATE TABLE statement of Spark SQL. */
export function schemaSql(snapshot: Snapshot): string {
  const { schema, partitionColumns, metadata } = snapshot
  const name = sqlName(metadata.name ?? 'data')
  if (schema.length === 0)
    return `-- ${name.replaceAll(/\s/g, ' ')} has no columns yet: the first save of data/data.csv with a header line gives them.\n`
  const clauses = [
    `CREATE TABLE ${name} (\n${schema.map(field => `  ${columnSql(field)}`).join(',\n')}\n) USING DELTA`,
    listed('PARTITIONED BY', partitionColumns.map(sqlName)),
    listed('CLUSTER BY', clusteringColumns(snapshot)),
    metadata.description === undefined ? '' : `COMMENT ${sqlText(metadata.description)}`,
    listed('TBLPROPERTIES', properties(snapshot)),
  ]
  return `${clauses.filter(clause => clause !== '').join('\n')};\n`
}

function listed(clause: string, items: readonly string[]): string {
  return items.length === 0 ? '' : `${clause} (${items.join(', ')})`
}

function columnSql(field: Field): string {
  const parts = [sqlName(field.name), typeOf(field), notNull(field), valueClause(field), comment(field)]
  return parts.filter(part => part !== '').join(' ')
}

/** A field of a struct. */
function memberSql(field: Field): string {
  const parts = [`${sqlName(field.name)}:`, typeOf(field), notNull(field), comment(field)]
  return parts.filter(part => part !== '').join(' ')
}

/** CHAR and VARCHAR are strings to Delta, with the type that was declared beside them. */
function typeOf({ type, metadata }: Field): string {
  const declared = metadata['__CHAR_VARCHAR_TYPE_STRING']
  if (type.kind === 'string' && typeof declared === 'string' && /^(?:var)?char\(\d+\)$/i.test(declared))
    return declared.toUpperCase()
  return typeSql(type)
}

function typeSql(type: DataType): string {
  return sqlType(type, memberSql)
}

function notNull({ nullable }: Field): string {
  return nullable ? '' : 'NOT NULL'
}

function comment({ metadata: { comment: text } }: Field): string {
  return typeof text === 'string' ? `COMMENT ${sqlText(text)}` : ''
}

/** Returns the clause for values that a row leaves out (PROTOCOL.md, "Generated", "Default" and "Identity Columns"). */
function valueClause({ metadata }: Field): string {
  const generated = metadata['delta.generationExpression']
  if (typeof generated === 'string') return `GENERATED ALWAYS AS (${generated})`
  const start = metadata['delta.identity.start']
  if (start !== undefined) {
    const how = metadata['delta.identity.allowExplicitInsert'] === true ? 'BY DEFAULT' : 'ALWAYS'
    const step = metadata['delta.identity.step'] ?? 1
    // Large numbers are no numbers of JavaScript.
    return `GENERATED ${how} AS IDENTITY (START WITH ${JSON.stringify(start)} INCREMENT BY ${JSON.stringify(step)})`
  }
  const value = defaultOf(metadata)
  return value === undefined ? '' : `DEFAULT ${value}`
}

function defaultOf(metadata: Field['metadata']): string | undefined {
  const value = metadata['CURRENT_DEFAULT']
  return typeof value === 'string' ? value : undefined
}

function properties({ metadata: { configuration }, schema }: Snapshot): string[] {
  const shown = new Map([...configuration].filter(([key]) => !INTERNAL_PROPERTIES.includes(key)))
  // Delta refuses DEFAULT in a CREATE TABLE that does not name the feature.
  if (schema.some(({ metadata }) => defaultOf(metadata) !== undefined))
    shown.set(`delta.feature.${DEFAULTS_FEATURE}`, 'supported')
  return [...shown].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, value]) => `${sqlText(key)} = ${sqlText(value)}`)
}

/** PROTOCOL.md, "Clustered Table": paths of physical names, in a domain of the metadata. */
function clusteringColumns({ state, schema }: Snapshot): string[] {
  const domain = state.domains.get('delta.clustering')
  if (domain === undefined) return []
  const { clusteringColumns: paths } = JSON.parse(domain.configuration) as { clusteringColumns?: unknown }
  if (!Array.isArray(paths)) return []
  return paths.filter(Array.isArray).map(path => logicalPath(schema, path.map(String)).map(sqlName).join('.'))
}

function logicalPath(schema: Schema, [first, ...rest]: readonly string[]): string[] {
  if (first === undefined) return []
  const field = schema.find(other => physicalName(other) === first)
  const inside = field?.type.kind === 'struct' ? field.type.fields : []
  return [field?.name ?? first, ...logicalPath(inside, rest)]
}
