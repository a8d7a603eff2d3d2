import { sqlType } from '../../columns/schema.ts'
import type { Snapshot } from '../../table/snapshot.ts'

/** The table's columns as a CREATE TABLE statement. */
export function schemaSql(snapshot: Snapshot): string {
  const { schema, partitionColumns, metadata } = snapshot
  const columns = schema.map(
    field => `  ${quoted(field.name)} ${sqlType(field.type)}${field.nullable ? '' : ' NOT NULL'}`,
  )
  const partitions =
    partitionColumns.length === 0 ? '' : `\nPARTITIONED BY (${partitionColumns.map(quoted).join(', ')})`
  const name = quoted(metadata.name ?? 'data')
  if (columns.length === 0)
    return `-- ${name} has no columns yet: the first save of data/data.csv with a header line gives them.\n`
  return `CREATE TABLE ${name} (\n${columns.join(',\n')}\n) USING DELTA${partitions};\n`
}

function quoted(name: string): string {
  return /^[a-z_][a-z0-9_]*$/i.test(name) ? name : `"${name.replaceAll('"', '""')}"`
}
