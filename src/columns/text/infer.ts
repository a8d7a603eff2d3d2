import type { DataType, Field, Schema, Vector } from '../types.ts'
import { cellAt, isNullAt, isUtf8 } from '../vectors.ts'
import { type ParseOptions, parseCsv } from './csv-parse.ts'
import { parseScalar } from './scalars.ts'

/** From the narrowest: a column gets the first type that takes all its values. */
const CANDIDATES: readonly DataType[] = [
  { kind: 'boolean' },
  { kind: 'long' },
  { kind: 'double' },
  { kind: 'date' },
  { kind: 'timestamp' },
  { kind: 'string' },
]

const LONG = CANDIDATES.findIndex(({ kind }) => kind === 'long')

/** Whole numbers of up to this many digits are exact in a double. */
const DOUBLE_DIGITS_MIN = 15
/** No double is told from its neighbours by more digits than these: whoever writes more means another number. */
const DOUBLE_DIGITS_MAX = 17

/** Finds the types of CSV columns from their values, fed piece by piece. */
export class SchemaInference {
  readonly #fields: readonly Field[]
  /** The index in CANDIDATES of the narrowest type that still fits; -1 while only NULLs were seen. */
  readonly #fits: number[]
  /** Whether a whole number was seen that a double would round. */
  readonly #wide: boolean[]

  constructor(names: readonly string[]) {
    this.#fields = names.map(name => ({ name, type: { kind: 'string' }, nullable: true, metadata: {} }))
    this.#fits = names.map(() => -1)
    this.#wide = names.map(() => false)
  }

  /** Looks at complete rows. TextError if they are not CSV of these columns. */
  feed(bytes: Uint8Array, options: ParseOptions = {}): void {
    const batch = parseCsv(bytes, this.#fields, options)
    for (const [column, vector] of batch.vectors.entries()) {
      for (let row = 0; row < batch.rows && this.#fits[column] !== CANDIDATES.length - 1; row++) {
        if (isNullAt(vector, row) || (this.#fits[column] === LONG && isShortInteger(vector, row))) continue
        this.#see(column, cellAt(vector, row) as string)
      }
    }
  }

  /** A column without a value is a string. */
  result(): Schema {
    return this.#fields.map((field, i) => ({ ...field, type: CANDIDATES[this.#fits[i]!] ?? { kind: 'string' } }))
  }

  #see(column: number, text: string): void {
    const known = this.#fits[column]!
    if (isRoundedByDouble(text)) this.#wide[column] = true
    if (known >= 0 && fits(text, known)) return
    for (let next = 0; next < CANDIDATES.length; next++) {
      if (!fits(text, next)) continue
      this.#fits[column] = known < 0 ? next : common(known, next, this.#wide[column]!)
      return
    }
  }
}

/** Whether a value is a whole number that a double keeps too, so that nothing new is learnt of a column of such. */
function isShortInteger({ values }: Vector, row: number): boolean {
  if (!isUtf8(values)) return false
  const { bytes, starts, ends } = values
  const end = ends[row]!
  const start = bytes[starts[row]!] === 0x2d ? starts[row]! + 1 : starts[row]!
  if (end === start || end - start > DOUBLE_DIGITS_MIN || (bytes[start] === 0x30 && end - start > 1)) return false
  for (let i = start; i < end; i++) if (bytes[i]! < 0x30 || bytes[i]! > 0x39) return false
  return true
}

/** A number, such as a long key or an exact decimal, that a double would change. With an exponent it is a float from the start. */
function isRoundedByDouble(text: string): boolean {
  if (text.length <= DOUBLE_DIGITS_MIN) return false
  const [, whole, fraction = ''] = /^-?(\d+)(?:\.(\d+))?$/.exec(text) ?? []
  if (whole === undefined) return false
  if (whole.length > DOUBLE_DIGITS_MIN && String(Number(whole)) !== whole) return true
  return fraction !== '' && (whole + fraction).replace(/^0+|0+$/g, '').length > DOUBLE_DIGITS_MAX
}

/** The narrowest type that takes the values of both; `wide`: some whole number among them is none that a double keeps. */
function common(a: number, b: number, wide: boolean): number {
  if (a === b) return a
  const [low, high] = [Math.min(a, b), Math.max(a, b)]
  const kinds = `${CANDIDATES[low]!.kind} ${CANDIDATES[high]!.kind}`
  return (kinds === 'long double' && !wide) || kinds === 'date timestamp' ? high : CANDIDATES.length - 1
}

function fits(text: string, candidate: number): boolean {
  const type = CANDIDATES[candidate]!
  if (type.kind === 'string') return true
  // 007 is a name, not a number; a sign, a blank or an exponent-free float of any size keeps its text.
  if (
    (type.kind === 'long' || type.kind === 'double') &&
    !/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$|^-?(?:NaN|Infinity)$/.test(text)
  )
    return false
  if (type.kind === 'boolean' && text !== 'true' && text !== 'false') return false
  if (text !== text.trim() || (type.kind === 'double' && isRoundedByDouble(text))) return false
  try {
    parseScalar(text, type)
    return true
  } catch {
    return false
  }
}

/** The schema of CSV rows, all of them given. */
export function inferSchema(bytes: Uint8Array, names: readonly string[], options: ParseOptions = {}): Schema {
  const inference = new SchemaInference(names)
  inference.feed(bytes, options)
  return inference.result()
}
