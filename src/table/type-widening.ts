import { sqlType, typeToDelta } from '../columns/schema.ts'
import type { DataType, Field } from '../columns/types.ts'
import { type ColumnPath, withInside } from './column-path.ts'
import { TableError } from './errors.ts'

const TYPE_CHANGES = 'delta.typeChanges'

/** Integers, from the narrowest, and the digits that a decimal has in front of its point to hold all of them. */
const INTEGERS: ReadonlyMap<string, number> = new Map([
  ['byte', 3],
  ['short', 5],
  ['integer', 10],
  ['long', 20],
])
/** Files have bytes and shorts as integers of 32 bits, which count as such (PROTOCOL.md, "Supported Type Changes"). */
const INTEGER_DIGITS = 10

/** True if a type may become another one without a file being written anew (PROTOCOL.md, "Supported Type Changes"). */
export function isWidening(from: DataType, to: DataType): boolean {
  const digits = INTEGERS.get(from.kind)
  if (digits !== undefined) {
    const wider = INTEGERS.get(to.kind)
    if (wider !== undefined) return wider > digits
    if (to.kind === 'double') return from.kind !== 'long'
    return to.kind === 'decimal' && to.precision - to.scale >= Math.max(digits, INTEGER_DIGITS)
  }
  switch (from.kind) {
    case 'float':
      return to.kind === 'double'
    case 'date':
      return to.kind === 'timestamp_ntz'
    case 'decimal': {
      if (to.kind !== 'decimal') return false
      const scale = to.scale - from.scale
      const precision = to.precision - from.precision
      return scale >= 0 && precision >= scale && precision > 0
    }
    default:
      return false
  }
}

/**
 * A field whose type is wider at the end of some steps into its arrays and maps, with a record of the change (PROTOCOL.md,
 * "Type Change Metadata"); the same object where the type is that already. TableError `bad_schema`.
 */
export function widened(field: Field, steps: ColumnPath, to: DataType, shown: string): Field {
  let from: DataType | undefined
  const type = withInside(field.type, steps, inner => {
    from = inner
    return to
  })
  if (from === undefined || Bun.deepEquals(from, to)) return field
  if (!isWidening(from, to))
    throw new TableError(
      'bad_schema',
      `the column ${shown} cannot become ${sqlType(to)}: it is ${sqlType(from)}, which ${wideningsOf(from)}`,
    )
  const former = field.metadata[TYPE_CHANGES]
  const change = {
    fromType: typeToDelta(from),
    toType: typeToDelta(to),
    ...(steps.length === 0 ? {} : { fieldPath: steps.map(step => step.toLowerCase()).join('.') }),
  }
  return { ...field, type, metadata: { ...field.metadata, [TYPE_CHANGES]: [...changesOf(former), change] } }
}

function changesOf(former: unknown): readonly unknown[] {
  return Array.isArray(former) ? (former as unknown[]) : []
}

/** The types that a type may become, as the end of a sentence. */
function wideningsOf({ kind }: DataType): string {
  const digits = INTEGERS.get(kind)
  if (digits !== undefined) {
    const integers = [...INTEGERS.keys()].slice([...INTEGERS.keys()].indexOf(kind) + 1) as DataType['kind'][]
    const names = integers.map(integer => sqlType({ kind: integer } as DataType))
    const decimal = `a DECIMAL with ${Math.max(digits, INTEGER_DIGITS)} digits or more in front of its point`
    return `may become ${[...names, ...(kind === 'long' ? [] : ['DOUBLE']), decimal].join(', ').replace(/, (?=[^,]*$)/, ' or ')}`
  }
  switch (kind) {
    case 'float':
      return 'may become DOUBLE'
    case 'date':
      return 'may become TIMESTAMP_NTZ'
    case 'decimal':
      return 'may become a DECIMAL with more digits, in front of its point and behind it no fewer than it has'
    default:
      return 'has no wider type'
  }
}

/** True if files may have a column, or something inside it, in a narrower type. */
export function isWidened({ type, metadata }: Field): boolean {
  if (metadata[TYPE_CHANGES] !== undefined) return true
  const inside = (within: DataType): boolean => {
    switch (within.kind) {
      case 'struct':
        return within.fields.some(isWidened)
      case 'array':
        return inside(within.element)
      case 'map':
        return inside(within.key) || inside(within.value)
      default:
        return false
    }
  }
  return inside(type)
}
