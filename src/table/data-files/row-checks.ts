import type { Batch, Cell, DataType, Schema, Vector } from '../../columns/types.ts'
import { cellAt, isNullAt } from '../../columns/vectors.ts'
import { TableError } from '../errors.ts'

/** Refuses rows that the table's columns do not take: TableError `constraint`. */
export function checkRows(batch: Batch, schema: Schema): void {
  for (const [i, field] of schema.entries()) {
    const vector = batch.vectors[i]!
    if (hasRequired(field.type)) {
      for (let row = 0; row < batch.rows; row++) checkInside(cellAt(vector, row), field.type, field.name)
    }
    if (field.type.kind === 'void') checkNothing(vector, field.name)
    if (field.nullable) continue
    for (let row = 0; row < batch.rows; row++) if (isNullAt(vector, row)) throw missing(`the column ${field.name}`)
  }
}

function checkNothing(vector: Vector, name: string): void {
  for (let row = 0; row < vector.length; row++)
    if (!isNullAt(vector, row)) throw new TableError('constraint', `the column ${name} is VOID: it takes no values`)
}

function missing(what: string): TableError {
  return new TableError('constraint', `${what} is NOT NULL, and a row has no value for it`)
}

/** True if something inside values of a type must not be NULL. */
function hasRequired(type: DataType): boolean {
  switch (type.kind) {
    case 'struct':
      return type.fields.some(field => !field.nullable || hasRequired(field.type))
    case 'array':
      return !type.containsNull || hasRequired(type.element)
    case 'map':
      return !type.valueContainsNull || hasRequired(type.key) || hasRequired(type.value)
    default:
      return false
  }
}

/** Refuses NULL where it must not be inside a value; that there is no value is for the place around it to refuse. */
function checkInside(cell: Cell, type: DataType, where: string): void {
  if (cell === null) return
  const check = (inner: Cell, innerType: DataType, nullable: boolean, path: string): void => {
    if (inner === null && !nullable) throw missing(path)
    checkInside(inner, innerType, path)
  }
  if (type.kind === 'struct') {
    for (const [i, { name, type: own, nullable }] of type.fields.entries())
      check((cell as readonly Cell[])[i] ?? null, own, nullable, `${where}.${name}`)
  } else if (type.kind === 'array') {
    for (const item of cell as readonly Cell[]) check(item, type.element, type.containsNull, `${where}.element`)
  } else if (type.kind === 'map') {
    for (const [key, value] of cell as ReadonlyArray<readonly [Cell, Cell]>) {
      check(key, type.key, false, `${where}.key`)
      check(value, type.value, type.valueContainsNull, `${where}.value`)
    }
  }
}
