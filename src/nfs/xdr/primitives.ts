import { totalLength } from '../../core/search.ts'
import { type Codec, type Decoded, XdrError } from './codec.ts'

/** Codecs for XDR's types, named as in RFC 4506. Limits are arguments: no codec reads a length that it does not bound. */

// The index signature takes any codec, because methods are compared bivariantly; each keeps its own type in `Decoded`.
type Fields = Readonly<Record<string, Codec<unknown>>>
type StructOf<F extends Fields> = { readonly [K in keyof F]: Decoded<F[K]> }

export const nothing: Codec<undefined> = {
  decode: () => undefined,
  encode: () => {},
}

export const uint32: Codec<number> = {
  decode: reader => reader.uint32(),
  encode: (writer, value) => writer.uint32(value),
}

export const uint64: Codec<bigint> = {
  decode: reader => reader.uint64(),
  encode: (writer, value) => writer.uint64(value),
}

/** Refuses anything but 0 and 1 (RFC 4506, 4.4). */
export const bool: Codec<boolean> = {
  decode: reader => {
    const value = reader.uint32()
    if (value > 1) throw new XdrError('bad_value', `A boolean is 0 or 1, not ${value}.`)
    return value === 1
  },
  encode: (writer, value) => writer.uint32(value ? 1 : 0),
}

/** Variable-length opaque data of at most `lengthMax` bytes (RFC 4506, 4.10). Decodes to a view on the message. */
export function opaque(lengthMax: number): Codec<Uint8Array> {
  return {
    decode: reader => {
      const length = reader.uint32()
      checkLength(length, lengthMax)
      return reader.opaque(length)
    },
    encode: (writer, value) => {
      checkLength(value.length, lengthMax)
      writer.uint32(value.length)
      writer.opaque(value)
    },
  }
}

/** The same, which may be encoded in parts; it is decoded to one. */
export function opaqueParts(lengthMax: number): Codec<readonly Uint8Array[]> {
  const whole = opaque(lengthMax)
  return {
    decode: reader => [whole.decode(reader)],
    encode: (writer, parts) => {
      const length = totalLength(parts)
      checkLength(length, lengthMax)
      writer.uint32(length)
      writer.opaque(...parts)
    },
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const utf8Encoder = new TextEncoder()

/** The text of UTF-8 bytes, or undefined if they are not UTF-8. */
export function utf8Text(bytes: Uint8Array): string | undefined {
  try {
    return strictUtf8.decode(bytes)
  } catch {
    return undefined
  }
}

export function utf8Bytes(text: string): Uint8Array {
  return utf8Encoder.encode(text)
}

/** A string of at most `lengthMax` bytes of UTF-8 (RFC 4506, 4.11). */
export function string(lengthMax: number): Codec<string> {
  const bytes = opaque(lengthMax)
  return {
    decode: reader => {
      const text = utf8Text(bytes.decode(reader))
      if (text === undefined) throw new XdrError('bad_value', 'A string is not valid UTF-8.')
      return text
    },
    encode: (writer, value) => bytes.encode(writer, utf8Bytes(value)),
  }
}

/** An enumeration, decoded to its name; a number that has no name is refused (RFC 4506, 4.3). */
export function enumeration<N extends string>(numbers: Readonly<Record<N, number>>): Codec<N> {
  const names = new Map<number, N>()
  for (const name of Object.keys(numbers) as N[]) names.set(numbers[name], name)
  return {
    decode: reader => {
      const value = reader.uint32()
      const name = names.get(value)
      if (name === undefined) {
        throw new XdrError('bad_value', `${value} is not one of ${[...names.values()].join(', ')}.`)
      }
      return name
    },
    encode: (writer, name) => writer.uint32(numbers[name]),
  }
}

/** Fields one after the other (RFC 4506, 4.14). */
export function struct<F extends Fields>(fields: F): Codec<StructOf<F>> {
  const entries = Object.entries(fields)
  return {
    decode: reader => {
      const value: Record<string, unknown> = {}
      for (const [name, codec] of entries) value[name] = codec.decode(reader)
      return value as StructOf<F>
    },
    encode: (writer, value) => {
      for (const [name, codec] of entries) codec.encode(writer, value[name])
    },
  }
}

type UnionOf<F extends Fields> = {
  [K in keyof F & string]: { readonly kind: K; readonly value: Decoded<F[K]> }
}[keyof F & string]

/** A union discriminated by an enumeration (RFC 4506, 4.15), decoded to `{kind, value}`. */
export function union<F extends Fields>(discriminant: Codec<keyof F & string>, arms: F): Codec<UnionOf<F>> {
  return {
    decode: reader => {
      const kind = discriminant.decode(reader)
      return { kind, value: arms[kind]?.decode(reader) } as UnionOf<F>
    },
    encode: (writer, value) => {
      discriminant.encode(writer, value.kind)
      arms[value.kind]?.encode(writer, value.value)
    },
  }
}

/** Optional data (RFC 4506, 4.19); also the protocol's own unions over "attributes_follow" and the like. */
export function optional<T>(codec: Codec<T>): Codec<T | undefined> {
  return {
    decode: reader => (bool.decode(reader) ? codec.decode(reader) : undefined),
    encode: (writer, value) => {
      bool.encode(writer, value !== undefined)
      if (value !== undefined) codec.encode(writer, value)
    },
  }
}

/** A variable-length array of at most `countMax` (RFC 4506, 4.13). */
export function array<T>(codec: Codec<T>, countMax: number): Codec<readonly T[]> {
  return {
    decode: reader => {
      const count = reader.uint32()
      checkLength(count, countMax)
      return Array.from({ length: count }, () => codec.decode(reader))
    },
    encode: (writer, values) => {
      checkLength(values.length, countMax)
      writer.uint32(values.length)
      for (const value of values) codec.encode(writer, value)
    },
  }
}

/** A linked list: each element behind a TRUE, a FALSE behind the last (RFC 4506, 4.19), at most `countMax`. */
export function list<T>(codec: Codec<T>, countMax: number): Codec<readonly T[]> {
  return {
    decode: reader => {
      const values: T[] = []
      while (bool.decode(reader)) {
        checkLength(values.length + 1, countMax)
        values.push(codec.decode(reader))
      }
      return values
    },
    encode: (writer, values) => {
      for (const value of values) {
        bool.encode(writer, true)
        codec.encode(writer, value)
      }
      bool.encode(writer, false)
    },
  }
}

function checkLength(length: number, lengthMax: number): void {
  if (length > lengthMax)
    throw new XdrError('too_long', `A length of ${length} is more than the limit of ${lengthMax}.`)
}
