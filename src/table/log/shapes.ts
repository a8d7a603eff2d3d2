/** A check of a value of the log: undefined if it is right, else the fault, as a sentence that begins with `where`. */
export type Shape = (value: unknown, where: string) => string | undefined

/** The time values that a Date can hold, in milliseconds. */
const TIME_MAX = 8_640_000_000_000_000
const SHOWN_MAX = 80

export const text: Shape = (value, where) => (typeof value === 'string' ? undefined : wrong(value, where, 'a text'))

export const flag: Shape = (value, where) =>
  typeof value === 'boolean' ? undefined : wrong(value, where, 'true or false')

/** A whole number that is not negative. */
export const count: Shape = (value, where) =>
  Number.isSafeInteger(value) && (value as number) >= 0
    ? undefined
    : wrong(value, where, 'a whole number that is not negative')

/** A whole number of 32 bits that is not negative. */
export const smallCount: Shape = (value, where) =>
  count(value, where) ?? ((value as number) < 2 ** 31 ? undefined : wrong(value, where, 'a number of 32 bits'))

/** Any 64-bit number; those beyond a double's digits are kept as they were read. */
export const integer: Shape = (value, where) =>
  Number.isSafeInteger(value) || (isRawNumber(value) && isLong(JSON.stringify(value)))
    ? undefined
    : wrong(value, where, 'a whole number of 64 bits')

/** Milliseconds since the epoch. */
export const time: Shape = (value, where) =>
  Number.isSafeInteger(value) && Math.abs(value as number) <= TIME_MAX
    ? undefined
    : wrong(value, where, 'a time in milliseconds')

/** Something that may be missing, or null. */
export function optional(shape: Shape): Shape {
  return (value, where) => (value === undefined || value === null ? undefined : shape(value, where))
}

export function oneOf(...names: readonly string[]): Shape {
  return (value, where) =>
    names.includes(value as string) ? undefined : wrong(value, where, names.map(name => `"${name}"`).join(' or '))
}

export function listOf(shape: Shape): Shape {
  return (value, where) => {
    if (!Array.isArray(value)) return wrong(value, where, 'a list')
    for (const [i, item] of value.entries()) {
      const complaint = shape(item, `${where}[${i}]`)
      if (complaint !== undefined) return complaint
    }
    return undefined
  }
}

/** An object of names that anybody may choose. */
export function mapOf(shape: Shape): Shape {
  return (value, where) => {
    if (!isObject(value)) return wrong(value, where, 'an object')
    for (const name in value) {
      // The place is put into words only where something is wrong.
      if (shape(value[name], where) !== undefined) return shape(value[name], `${where}.${shown(name)}`)
    }
    return undefined
  }
}

/** An object with these members, and any others. */
export function struct(members: Readonly<Record<string, Shape>>): Shape {
  const list = Object.entries(members)
  return (value, where) => {
    if (!isObject(value)) return wrong(value, where, 'an object')
    for (let i = 0; i < list.length; i++) {
      const [name, shape] = list[i]!
      if (shape(value[name], where) !== undefined) return shape(value[name], `${where}.${name}`)
    }
    return undefined
  }
}

/** A text from the log in a message: what is damaged may be of any length. */
export function shown(text: string, max: number = SHOWN_MAX): string {
  return text.length <= max ? text : `${text.slice(0, max)}... (${text.length} characters)`
}

/** True if a value is what JSON calls an object. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isRawNumber(value)
}

/** True if a value is a number that is kept as it was read. */
export function isRawNumber(value: unknown): boolean {
  return (JSON as typeof JSON & { isRawJSON(value: unknown): boolean }).isRawJSON(value)
}

function isLong(digits: string): boolean {
  return /^-?\d{1,19}$/.test(digits) && BigInt.asIntN(64, BigInt(digits)) === BigInt(digits)
}

function wrong(value: unknown, where: string, expected: string): string {
  if (value === undefined || value === null) return `${where} is missing`
  return `${where} is ${named(value)}, and not ${expected}`
}

function named(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && !isRawNumber(value)) return 'an object'
  return shown(JSON.stringify(value))
}
