import type { Field, Schema } from '../../columns/types.ts'
import { TableError } from '../errors.ts'
import type { ProtocolAction } from '../log/actions/index.ts'
import { isObject } from '../log/shapes.ts'
import { hasWriterFeature } from '../protocol.ts'
import type { Snapshot } from '../snapshot.ts'
import { identityOf, isIdentity } from './identity.ts'

/** The begin of the name of a property that is a CHECK constraint. */
export const CONSTRAINT_PREFIX = 'delta.constraints.'
const INVARIANTS = 'delta.invariants'
const GENERATED = 'delta.generationExpression'

/** A condition that has to be TRUE for each row; NULL is not enough. */
export interface Check {
  /** With its kind, to stand in a sentence. */
  readonly name: string
  readonly sql: string
}

/** A column whose values follow from those of others. */
export interface Generated {
  readonly name: string
  readonly sql: string
}

/** The rules of a table that new rows have to keep, beside the types of its columns and NOT NULL. */
export interface Rules {
  readonly checks: readonly Check[]
  readonly generated: readonly Generated[]
  /** The names of identity columns. */
  readonly identities: readonly string[]
}

/** The part of a table that has its rules. */
export interface RuledTable {
  readonly protocol: ProtocolAction
  readonly configuration: ReadonlyMap<string, string>
  readonly schema: Schema
}

/** The part of a version that has the rules; `schema`: the columns from now on. */
export function ruledTable({ protocol, metadata, schema }: Snapshot, columns = schema): RuledTable {
  return { protocol, configuration: metadata.configuration, schema: columns }
}

/** The rules of a table; undefined if it has none. TableError `unsupported_feature` for those that are not understood. */
export function rulesOf({ protocol, configuration, schema }: RuledTable): Rules | undefined {
  const checks = [...constraints(configuration), ...schema.flatMap(field => invariants(field))]
  const generated = schema.flatMap(field => {
    const sql = generationOf(field, protocol)
    return sql === undefined ? [] : [{ name: field.name, sql }]
  })
  const identities = schema.filter(field => identityOf(field) !== undefined).map(({ name }) => name)
  if (checks.length + generated.length + identities.length === 0) return undefined
  return { checks, generated, identities }
}

/** The CHECK constraints of a table's properties (PROTOCOL.md, "CHECK Constraints"). */
function constraints(configuration: ReadonlyMap<string, string>): Check[] {
  return [...configuration].flatMap(([key, sql]) => {
    const name = constraintName(key)
    return name === undefined ? [] : [{ name: `the CHECK constraint ${name}`, sql }]
  })
}

/** The name of the constraint that a property is; undefined if it is none. */
export function constraintName(property: string): string | undefined {
  return property.toLowerCase().startsWith(CONSTRAINT_PREFIX) ? property.slice(CONSTRAINT_PREFIX.length) : undefined
}

/** The invariants of a column and of members inside it (PROTOCOL.md, "Column Invariants"). */
function invariants({ name, type, metadata }: Field): Check[] {
  const inside = type.kind === 'struct' ? type.fields.flatMap(invariants) : []
  const text = metadata[INVARIANTS]
  if (text === undefined) return inside
  return [{ name: `the invariant on column ${name}`, sql: invariantSql(name, text) }, ...inside]
}

function invariantSql(name: string, text: unknown): string {
  try {
    const rule: unknown = typeof text === 'string' ? JSON.parse(text) : undefined
    const inner = isObject(rule) ? rule['expression'] : undefined
    const sql = isObject(inner) ? inner['expression'] : undefined
    if (typeof sql === 'string') return sql
  } catch {
    // It is told below.
  }
  throw new TableError(
    'unsupported_feature',
    `the table has an invariant on column ${name} that is not understood (${String(text)}): no rows can be written`,
  )
}

/**
 * The expression of a generated column; undefined for others. Writers that know nothing of them left expressions in tables
 * without the feature, which mean nothing there (PROTOCOL.md, "Generated Columns").
 */
export function generationOf({ metadata }: Field, protocol: ProtocolAction): string | undefined {
  const sql = metadata[GENERATED]
  return typeof sql === 'string' && hasWriterFeature(protocol, 'generatedColumns') ? sql : undefined
}

/** The columns as rows may come with them: NULL where the table may give the value, also if it must not be NULL then. */
export function asWritten(schema: Schema): Schema {
  const isOpen = (field: Field): boolean => !field.nullable && (isIdentity(field) || GENERATED in field.metadata)
  return schema.some(isOpen) ? schema.map(field => (isOpen(field) ? { ...field, nullable: true } : field)) : schema
}

/** True if both tables ask the same of new rows. */
export function haveSameRules(a: RuledTable, b: RuledTable): boolean {
  return Bun.deepEquals(rulesOf(a), rulesOf(b))
}
