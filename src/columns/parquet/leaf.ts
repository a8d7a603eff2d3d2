import type { Annotation, SchemaNode, TimeUnit } from './metadata.ts'

/**
 * The meaning of the bytes of a leaf column: its physical and its logical type as one. All that is said of types in files,
 * which Delta type they are and as which they can be read, goes by this.
 */
export type LeafForm =
  | { readonly kind: 'integer'; readonly bits: number; readonly isSigned: boolean }
  | { readonly kind: 'decimal'; readonly precision: number; readonly scale: number }
  | { readonly kind: 'timestamp'; readonly unit: TimeUnit | 'INT96'; readonly isUtc: boolean }
  | { readonly kind: 'time'; readonly unit: TimeUnit }
  | { readonly kind: 'boolean' | 'float' | 'double' | 'float16' | 'date' | 'string' | 'binary' | 'uuid' | 'interval' }
  /** Well-known binary: the bytes are of use without the type. */
  | { readonly kind: 'geometry'; readonly name: 'GEOMETRY' | 'GEOGRAPHY' }
  /** A column that never had a value, and so has no type. */
  | { readonly kind: 'null' }
  | { readonly kind: 'unknown'; readonly name: string }

/** Returns the form of a leaf. An annotation that its physical type cannot have makes it `unknown`. */
export function formOf(node: SchemaNode): LeafForm {
  const { physical = '', annotation } = node
  if (annotation === undefined) return physicalForm(physical)
  return annotatedForm(node, physical, annotation) ?? { kind: 'unknown', name: `${physical} (${nameOf(annotation)})` }
}

function physicalForm(physical: string): LeafForm {
  switch (physical) {
    case 'BOOLEAN':
      return { kind: 'boolean' }
    case 'INT32':
      return { kind: 'integer', bits: 32, isSigned: true }
    case 'INT64':
      return { kind: 'integer', bits: 64, isSigned: true }
    case 'INT96':
      return { kind: 'timestamp', unit: 'INT96', isUtc: true }
    case 'FLOAT':
      return { kind: 'float' }
    case 'DOUBLE':
      return { kind: 'double' }
    case 'BYTE_ARRAY':
    case 'FIXED_LEN_BYTE_ARRAY':
      return { kind: 'binary' }
    default:
      return { kind: 'unknown', name: physical }
  }
}

function annotatedForm(node: SchemaNode, physical: string, annotation: Annotation): LeafForm | undefined {
  const isFixed = physical === 'FIXED_LEN_BYTE_ARRAY'
  const isBytes = isFixed || physical === 'BYTE_ARRAY'
  const isInteger = physical === 'INT32' || physical === 'INT64'
  switch (annotation.kind) {
    case 'NULL':
      return { kind: 'null' }
    case 'STRING':
      return isBytes ? { kind: 'string' } : undefined
    case 'BSON':
      return isBytes ? { kind: 'binary' } : undefined
    case 'GEOMETRY':
    case 'GEOGRAPHY':
      return isBytes ? { kind: 'geometry', name: annotation.kind } : undefined
    case 'UUID':
      return isFixed && node.typeLength === 16 ? { kind: 'uuid' } : undefined
    case 'FLOAT16':
      return isFixed && node.typeLength === 2 ? { kind: 'float16' } : undefined
    case 'INTERVAL':
      return isFixed && node.typeLength === 12 ? { kind: 'interval' } : undefined
    case 'DATE':
      return physical === 'INT32' ? { kind: 'date' } : undefined
    case 'DECIMAL': {
      const { precision, scale } = annotation
      return isBytes || isInteger ? { kind: 'decimal', precision, scale } : undefined
    }
    case 'INTEGER': {
      const { bits, isSigned } = annotation
      const fits = physical === 'INT64' ? bits === 64 : physical === 'INT32' && [8, 16, 32].includes(bits)
      return fits ? { kind: 'integer', bits, isSigned } : undefined
    }
    case 'TIME':
      return physical === (annotation.unit === 'MILLIS' ? 'INT32' : 'INT64')
        ? { kind: 'time', unit: annotation.unit }
        : undefined
    case 'TIMESTAMP':
      return physical === 'INT64' ? { kind: 'timestamp', unit: annotation.unit, isUtc: annotation.isUtc } : undefined
    default:
      return undefined
  }
}

function nameOf(annotation: Annotation): string {
  if (annotation.kind === 'UNKNOWN') return `a logical type that is not known, number ${annotation.number}`
  return annotation.kind === 'INTEGER' ? `${annotation.isSigned ? '' : 'U'}INT_${annotation.bits}` : annotation.kind
}

/** A form as the format calls it, for messages. */
export function describeForm(form: LeafForm): string {
  switch (form.kind) {
    case 'integer':
      return `${form.isSigned ? '' : 'U'}INT_${form.bits}`
    case 'decimal':
      return `DECIMAL(${form.precision},${form.scale})`
    case 'timestamp':
      return form.unit === 'INT96' ? 'INT96' : `TIMESTAMP in ${form.unit}`
    case 'time':
      return `TIME in ${form.unit}`
    case 'geometry':
    case 'unknown':
      return form.name
    case 'null':
      return 'UNKNOWN'
    default:
      return form.kind.toUpperCase()
  }
}
