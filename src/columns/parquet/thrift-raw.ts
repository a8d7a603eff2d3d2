/** A field of a struct of Thrift's compact protocol, its value as it is in the bytes. Flags have their value in the type. */
export interface RawField {
  readonly id: number
  readonly type: number
  readonly value: Uint8Array
}

/** Types of the compact protocol (thrift-compact-protocol.md). */
export const THRIFT = {
  ...{ stop: 0, true: 1, false: 2, byte: 3, i16: 4, i32: 5, i64: 6 },
  ...{ double: 7, binary: 8, list: 9, set: 10, map: 11, struct: 12, uuid: 13 },
} as const

const LONG_LIST = 15
const ID_DELTA_MAX = 15
const VARINT_BYTES_MAX = 10

/** Walks over values without making anything of them. Throws Error where they are damaged. */
class Walker {
  readonly bytes: Uint8Array
  at: number

  constructor(bytes: Uint8Array, at = 0) {
    this.bytes = bytes
    this.at = at
  }

  byte(): number {
    const byte = this.bytes[this.at++]
    if (byte === undefined) throw new Error('a structure is cut off')
    return byte
  }

  varint(): bigint {
    let value = 0n
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      const byte = this.byte()
      value |= BigInt(byte & 0x7f) << BigInt(7 * i)
      if (byte < 0x80) return value
    }
    throw new Error('a number is damaged')
  }

  /** The same as `varint`, where no value is wanted. */
  #skipVarint(): void {
    for (let i = 0; i < VARINT_BYTES_MAX; i++) if (this.byte() < 0x80) return
    throw new Error('a number is damaged')
  }

  /** A length that is no more than the bytes that are left. */
  count(): number {
    const first = this.byte()
    // Nearly all lengths are short, and numbers of any size are slow.
    if (first >= 0x80) this.at--
    const count = first < 0x80 ? first : Number(this.varint())
    if (count > this.bytes.length - this.at) throw new Error('a length is damaged')
    return count
  }

  listHead(): { readonly type: number; readonly count: number } {
    const head = this.byte()
    const short = head >> 4
    return { type: head & 0x0f, count: short === LONG_LIST ? this.count() : short }
  }

  fieldHead(previous: number): { readonly type: number; readonly id: number } | undefined {
    const head = this.byte()
    const type = head & 0x0f
    if (type === THRIFT.stop) return undefined
    const delta = head >> 4
    return { type, id: delta === 0 ? Number(unzigzag(this.varint())) : previous + delta }
  }

  /** `isItem`: of a list, where flags are bytes. */
  skip(type: number, isItem = false): void {
    switch (type) {
      case THRIFT.true:
      case THRIFT.false:
        if (isItem) this.byte()
        return
      case THRIFT.byte:
        this.byte()
        return
      case THRIFT.i16:
      case THRIFT.i32:
      case THRIFT.i64:
        this.#skipVarint()
        return
      case THRIFT.double:
        this.#pass(8)
        return
      case THRIFT.binary:
        this.#pass(this.count())
        return
      case THRIFT.list:
      case THRIFT.set: {
        const { type: inner, count } = this.listHead()
        for (let i = 0; i < count; i++) this.skip(inner, true)
        return
      }
      case THRIFT.struct:
        for (let field = this.fieldHead(0); field !== undefined; field = this.fieldHead(field.id)) this.skip(field.type)
        return
      default:
        throw new Error(`a structure has a value of type ${type}, which Parquet has no use for`)
    }
  }

  #pass(count: number): void {
    this.at += count
    if (this.at > this.bytes.length) throw new Error('a structure is cut off')
  }
}

/** The fields of a struct, in their order. Throws Error where it is damaged. */
export function fieldsOf(struct: Uint8Array): RawField[] {
  const walker = new Walker(struct)
  const fields: RawField[] = []
  for (let head = walker.fieldHead(0); head !== undefined; head = walker.fieldHead(head.id)) {
    const start = walker.at
    walker.skip(head.type)
    fields.push({ ...head, value: struct.subarray(start, walker.at) })
  }
  return fields
}

/** The items of a list, as they are in the bytes. Throws Error where it is damaged. */
export function itemsOf(list: Uint8Array): Uint8Array[] {
  const walker = new Walker(list)
  const { type, count } = walker.listHead()
  return Array.from({ length: count }, () => {
    const start = walker.at
    walker.skip(type, true)
    return list.subarray(start, walker.at)
  })
}

/** The bytes of a text or of a binary value. Throws Error where they are damaged. */
export function binaryOf(value: Uint8Array): Uint8Array {
  const walker = new Walker(value)
  const count = walker.count()
  return value.subarray(walker.at, walker.at + count)
}

/** A whole number. Throws Error where it is damaged. */
export function integerOf(value: Uint8Array): bigint {
  return unzigzag(new Walker(value).varint())
}

/** A struct of these fields; their ids have to ascend. */
export function structBytes(fields: readonly RawField[]): Uint8Array {
  const parts: Uint8Array[] = []
  let previous = 0
  for (const { id, type, value } of fields) {
    const delta = id - previous
    if (delta > 0 && delta <= ID_DELTA_MAX) parts.push(Uint8Array.of((delta << 4) | type))
    else parts.push(Uint8Array.of(type), varintBytes(zigzag(BigInt(id))))
    parts.push(value)
    previous = id
  }
  parts.push(Uint8Array.of(THRIFT.stop))
  return Buffer.concat(parts)
}

/** A list of structs. */
export function structsBytes(items: readonly Uint8Array[]): Uint8Array {
  const head =
    items.length < LONG_LIST
      ? [Uint8Array.of((items.length << 4) | THRIFT.struct)]
      : [Uint8Array.of((LONG_LIST << 4) | THRIFT.struct), varintBytes(BigInt(items.length))]
  return Buffer.concat([...head, ...items])
}

export function integerBytes(value: bigint): Uint8Array {
  return varintBytes(zigzag(value))
}

export function textBytes(text: string): Uint8Array {
  const bytes = Buffer.from(text)
  return Buffer.concat([varintBytes(BigInt(bytes.length)), bytes])
}

function varintBytes(value: bigint): Uint8Array {
  const bytes: number[] = []
  let rest = value
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80)
  bytes.push(Number(rest))
  return Uint8Array.from(bytes)
}

function zigzag(value: bigint): bigint {
  return BigInt.asUintN(64, (value << 1n) ^ (value >> 63n))
}

function unzigzag(value: bigint): bigint {
  return (value >> 1n) ^ -(value & 1n)
}
