import { fieldToJson, schemaToJson } from '../../columns/schema.ts'
import type { Field, Schema } from '../../columns/types.ts'
import { fieldNamed, MAPPING_MODE, mapColumns } from '../column-mapping.ts'
import type { Operation } from '../commit/change.ts'
import { withIdColumns } from '../commit/row-tracking.ts'
import type { CommitResult, Transaction } from '../commit/transaction.ts'
import { TableError } from '../errors.ts'
import type { MetadataAction } from '../log/actions/index.ts'
import { hasColumnMapping } from '../protocol.ts'
import type { Snapshot } from '../snapshot.ts'
import { checkProperty } from '../table-properties.ts'

/** Gives a table columns behind those that it has; they are NULL in the rows that are there. TableError `bad_schema`. */
export async function addColumns(transaction: Transaction, columns: Schema): Promise<CommitResult> {
  const required = columns.find(({ nullable }) => !nullable)
  if (required !== undefined && transaction.base.files.length > 0)
    throw new TableError(
      'constraint',
      `the column ${required.name} cannot be NOT NULL: the rows that are there have no value for it; add it without, fill it, then ALTER COLUMN ${required.name} SET NOT NULL`,
    )
  transaction.changeSchema([...transaction.base.schema, ...columns])
  return transaction.commit(columnsAdded(columns))
}

/** Lets a column be NULL, or no longer. Who asks for the latter has seen that it is not in any row. TableError `bad_schema`. */
export async function changeNullability(
  transaction: Transaction,
  name: string,
  nullable: boolean,
): Promise<CommitResult> {
  const field = columnOf(transaction.base, name)
  if (field.nullable === nullable) return { kind: 'unchanged', ...versionOf(transaction.base) }
  const changed = { ...field, nullable }
  // Rows that others add meanwhile have not been seen.
  if (!nullable) transaction.readWholeTable()
  transaction.changeSchema(transaction.base.schema.map(other => (other === field ? changed : other)))
  return transaction.commit(columnChanged(changed))
}

/** The column of a name, in any case. TableError `bad_schema`. */
export function columnOf({ schema }: Snapshot, name: string): Field {
  const field = fieldNamed(schema, name)
  if (field !== undefined) return field
  const names = schema.map(other => other.name).join(', ')
  throw new TableError('bad_schema', `there is no column ${name}; the table has ${names}`)
}

/**
 * Sets properties of a table (undefined: takes them away). TableError `bad_property` for one that Delta does not know, or
 * that posixlake would not heed.
 */
export async function changeProperties(
  transaction: Transaction,
  changes: ReadonlyMap<string, string | undefined>,
): Promise<CommitResult> {
  const { metadata } = transaction.base
  const configuration = new Map(metadata.configuration)
  for (const [name, value] of changes) {
    if (value === undefined) {
      checkUnset(name)
      configuration.delete(name)
    } else {
      checkProperty(name, value)
      configuration.set(name, value)
    }
  }
  if (Bun.deepEquals(configuration, new Map(metadata.configuration)))
    return { kind: 'unchanged', ...versionOf(transaction.base) }
  transaction.changeMetadata(withConfiguration(transaction.base, withIdColumns(configuration)))
  return transaction.commit(propertiesChanged(changes))
}

/** TableError `bad_property` for a property without which files cannot be read any more. */
function checkUnset(name: string): void {
  if (/^delta\.rowTracking\./i.test(name))
    throw new TableError(
      'bad_property',
      `the property ${name} stays: files have the ids of rows in the column that it names`,
    )
}

/** The metadata of a table under other properties. TableError `bad_property` for what its columns cannot follow. */
function withConfiguration(
  { metadata, schema, protocol }: Snapshot,
  changed: ReadonlyMap<string, string>,
): MetadataAction {
  const configuration = Object.fromEntries(changed)
  const mode = changed.get(MAPPING_MODE) ?? 'none'
  if (!hasColumnMapping(protocol, metadata.configuration)) {
    if (mode === 'none') return { ...metadata.action, configuration }
    const mapped = mapColumns(schema, changed, { id: metadata.id, hasFiles: true })
    return { ...metadata.action, schemaString: schemaToJson(mapped.schema), configuration: mapped.configuration }
  }
  const former = metadata.configuration.get(MAPPING_MODE)
  if (mode !== former)
    throw new TableError(
      'bad_property',
      `the columns of the table are mapped by ${former}, and stay so: files that are there have the names and ids of columns that way`,
    )
  return { ...metadata.action, configuration }
}

function versionOf(snapshot: Snapshot): { readonly version: bigint; readonly snapshot: Snapshot } {
  return { version: snapshot.version, snapshot }
}

function columnsAdded(columns: Schema): Operation {
  return {
    name: 'ADD COLUMNS',
    parameters: { columns: JSON.stringify(columns.map(field => ({ column: fieldToJson(field) }))) },
  }
}

function columnChanged(field: Field): Operation {
  return { name: 'CHANGE COLUMN', parameters: { column: JSON.stringify(fieldToJson(field)) } }
}

function propertiesChanged(changes: ReadonlyMap<string, string | undefined>): Operation {
  const set = [...changes].filter(([, value]) => value !== undefined)
  if (set.length > 0)
    return { name: 'SET TBLPROPERTIES', parameters: { properties: JSON.stringify(Object.fromEntries(set)) } }
  return { name: 'UNSET TBLPROPERTIES', parameters: { properties: JSON.stringify([...changes.keys()]) } }
}
