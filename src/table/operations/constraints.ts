import { isSameName } from '../../columns/schema.ts'
import type { Operation } from '../commit/change.ts'
import type { CommitResult, Transaction } from '../commit/transaction.ts'
import { TableError } from '../errors.ts'
import { LiveRows } from '../live-rows.ts'
import { RowRules } from '../rules/row-rules.ts'
import { CONSTRAINT_PREFIX, constraintName } from '../rules/rules.ts'
import type { Table } from '../table.ts'

export interface AddConstraint {
  readonly name: string
  /** In Spark's SQL. */
  readonly condition: string
  readonly nowMs: number
  readonly signal?: AbortSignal | undefined
}

/**
 * Adds a CHECK constraint, once all rows that are there keep it. TableError `constraint` names the first that does not,
 * `unsupported_feature` a condition that is not worked out, `bad_property` a name that is taken.
 */
export async function addConstraint(
  table: Table,
  transaction: Transaction,
  { name, condition, nowMs, signal }: AddConstraint,
): Promise<CommitResult> {
  const { base } = transaction
  const { metadata, schema } = base
  if (propertyOf(transaction, name) !== undefined)
    throw new TableError('bad_property', `the table has a constraint ${name} already; drop it first`)
  const check = { name: `the CHECK constraint ${name.toLowerCase()}`, sql: condition }
  const rules = new RowRules({ checks: [check], generated: [], identities: [] }, schema, schema, nowMs)
  for await (const batch of new LiveRows(table, base).ofAll(base.files)) {
    signal?.throwIfAborted()
    rules.checked(batch)
  }
  // Rows that others add meanwhile have not been seen.
  transaction.readWholeTable()
  const property = `${CONSTRAINT_PREFIX}${name.toLowerCase()}`
  const configuration = { ...Object.fromEntries(metadata.configuration), [property]: condition }
  transaction.changeMetadata({ ...metadata.action, configuration })
  return transaction.commit(changed('ADD CONSTRAINT', name, condition))
}

/** Takes a CHECK constraint away. TableError `bad_property` if there is none, unless that is as good. */
export async function dropConstraint(transaction: Transaction, name: string, ifExists: boolean): Promise<CommitResult> {
  const { base } = transaction
  const { metadata, version } = base
  const property = propertyOf(transaction, name)
  if (property === undefined && ifExists) return { kind: 'unchanged', version, snapshot: base }
  if (property === undefined)
    throw new TableError(
      'bad_property',
      `the table has no constraint ${name}; DROP CONSTRAINT IF EXISTS passes over it`,
    )
  const configuration = Object.fromEntries([...metadata.configuration].filter(([key]) => key !== property))
  transaction.changeMetadata({ ...metadata.action, configuration })
  return transaction.commit(changed('DROP CONSTRAINT', name, metadata.configuration.get(property)!))
}

/** The property that is the constraint of a name, in any case. */
function propertyOf({ base }: Transaction, name: string): string | undefined {
  return [...base.metadata.configuration.keys()].find(key => isSameName(constraintName(key) ?? '', name))
}

function changed(operation: string, name: string, expr: string): Operation {
  return { name: operation, parameters: { name, expr } }
}
