/** A value to be written as a variant: what JSON has, bytes as they are (`raw`), or with the widths of another writer. */
export type Value =
  | null
  | boolean
  | string
  | bigint
  | readonly Value[]
  | { readonly raw: readonly number[] }
  | { readonly members: readonly (readonly [string, Value])[] }

/** A variant as VariantEncoding.md has it. */
export interface Variant {
  readonly metadata: Uint8Array
  readonly value: Uint8Array
}

export interface EncodeOptions {
  /** Of offsets, 1 to 4 bytes. */
  readonly width?: number
  /** Four bytes for how many items there are. */
  readonly large?: boolean
}

/** Little-endian. */
export function littleEndian(value: bigint | number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Number((BigInt.asUintN(128, BigInt(value)) >> BigInt(8 * i)) & 255n))
}

/** Writes a value as a variant. */
export function encodeVariant(value: Value, options: EncodeOptions = {}): Variant {
  const keys: string[] = []
  const body = encodeValue(value, keys, options)
  return { metadata: encodeKeys(keys, options), value: Uint8Array.from(body) }
}

/** A dictionary of keys. */
export function encodeKeys(keys: readonly string[], { width = 2 }: EncodeOptions = {}): Uint8Array {
  const texts = keys.map(key => [...new TextEncoder().encode(key)])
  const offsets = offsetsOf(texts).flatMap(offset => littleEndian(offset, width))
  return Uint8Array.from([1 | ((width - 1) << 6), ...littleEndian(keys.length, width), ...offsets, ...texts.flat()])
}

function offsetsOf(parts: readonly (readonly number[])[]): number[] {
  const offsets = [0]
  for (const part of parts) offsets.push(offsets.at(-1)! + part.length)
  return offsets
}

/** The bytes of a value; `keys` takes the keys of its objects. */
export function encodeValue(value: Value, keys: string[], options: EncodeOptions = {}): number[] {
  const { width = 3, large = false } = options
  if (value === null) return [0]
  if (typeof value === 'boolean') return [(value ? 1 : 2) << 2]
  if (typeof value === 'bigint') return [6 << 2, ...littleEndian(value, 8)]
  if (typeof value === 'string') {
    const bytes = [...new TextEncoder().encode(value)]
    return bytes.length < 64
      ? [1 | (bytes.length << 2), ...bytes]
      : [16 << 2, ...littleEndian(bytes.length, 4), ...bytes]
  }
  if ('raw' in value) return [...value.raw]
  const items = 'members' in value ? value.members.map(([, item]) => item) : value
  const parts = items.map(item => encodeValue(item, keys, options))
  const offsets = offsetsOf(parts).flatMap(offset => littleEndian(offset, width))
  const count = littleEndian(items.length, large ? 4 : 1)
  if (!('members' in value)) return [3 | ((width - 1 + (large ? 4 : 0)) << 2), ...count, ...offsets, ...parts.flat()]
  const ids = value.members.flatMap(([key]) => {
    if (!keys.includes(key)) keys.push(key)
    return littleEndian(keys.indexOf(key), 2)
  })
  return [2 | ((width - 1 + (1 << 2) + (large ? 16 : 0)) << 2), ...count, ...ids, ...offsets, ...parts.flat()]
}
