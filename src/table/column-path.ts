import type { DataType, Field, Schema } from '../columns/types.ts'
import { fieldNamed } from './column-mapping.ts'
import { TableError } from './errors.ts'

/**
 * The names that lead to a column, or to what is inside it: fields of structs, `element` of an array, `key` and `value` of
 * a map.
 */
export type ColumnPath = readonly string[]

/** A column, or a field inside one, and what is meant of it. */
export interface FieldPlace {
  readonly field: Field
  /** The fields beside it, itself included. */
  readonly siblings: Schema
  /** The names of the fields that lead to it, itself included, from the top. */
  readonly fields: readonly Field[]
  /** The steps into its arrays and maps; none if the field itself is meant. */
  readonly steps: ColumnPath
}

/**
 * A schema with another field at a path, or without it (undefined). Names are found in any case. TableError `bad_schema`
 * where the path leads to nothing.
 */
export function changedAt(
  schema: Schema,
  path: ColumnPath,
  change: (place: FieldPlace) => Field | undefined,
  above: readonly Field[] = [],
): Schema {
  const [name = '', ...rest] = path
  const field = fieldNamed(schema, name)
  if (field === undefined) throw nothingThere(schema, name, above)
  const fields = [...above, field]
  let inner = field.type
  let depth = 0
  while (depth < rest.length && inner.kind !== 'struct') {
    inner = stepInto(inner, rest[depth]!) ?? unknownStep(rest[depth]!, fields)
    depth++
  }
  const steps = rest.slice(0, depth)
  const changed = (): Field | undefined => {
    if (depth === rest.length) return change({ field, siblings: schema, fields, steps })
    if (inner.kind !== 'struct') throw new Error('a path ends where no struct is')
    const within = changedAt(inner.fields, rest.slice(depth), change, fields)
    return { ...field, type: withInside(field.type, steps, () => ({ kind: 'struct', fields: within })) }
  }
  const next = changed()
  return schema.flatMap(other => (other !== field ? [other] : next === undefined ? [] : [next]))
}

/** A type whose arrays and maps have something else at the end of some steps. */
export function withInside(type: DataType, steps: ColumnPath, change: (inner: DataType) => DataType): DataType {
  const [step, ...rest] = steps
  if (step === undefined) return change(type)
  if (type.kind === 'array') return { ...type, element: withInside(type.element, rest, change) }
  if (type.kind !== 'map') throw new Error(`a ${type.kind} has no ${step}`)
  return step.toLowerCase() === 'key'
    ? { ...type, key: withInside(type.key, rest, change) }
    : { ...type, value: withInside(type.value, rest, change) }
}

function stepInto(type: DataType, step: string): DataType | undefined {
  const name = step.toLowerCase()
  if (type.kind === 'array') return name === 'element' ? type.element : undefined
  if (type.kind !== 'map') return undefined
  return name === 'key' ? type.key : name === 'value' ? type.value : undefined
}

function nothingThere(schema: Schema, name: string, above: readonly Field[]): TableError {
  const names = schema.map(other => other.name).join(', ')
  return new TableError(
    'bad_schema',
    above.length === 0
      ? `there is no column ${name}; the table has ${names}`
      : `there is no field ${name} inside ${pathText(above)}, which has ${names}`,
  )
}

function unknownStep(step: string, fields: readonly Field[]): never {
  const { kind } = fields.at(-1)!.type
  const has =
    kind === 'array' ? 'an array, which has element' : kind === 'map' ? 'a map, which has key and value' : 'no struct'
  throw new TableError('bad_schema', `there is no field ${step} inside ${pathText(fields)}: that is ${has}`)
}

/** The names of fields, with points between them. */
export function pathText(fields: readonly Field[]): string {
  return fields.map(({ name }) => name).join('.')
}
