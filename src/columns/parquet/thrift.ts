/** Bytes, and a place in them. */
export interface ThriftReader {
  readonly view: DataView
  offset: number
}

type Fields = Record<string, unknown>

/** The types of fields in Thrift's compact protocol. */
const [STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, STRUCT] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12]
/** Numbers of so many bits are exact as a double's, whatever the next group adds. */
const EXACT_BITS = 42
/** Names are made once: most structs have few fields. */
const NAMES = Array.from({ length: 32 }, (_, id) => `field_${id}`)

/**
 * Reads a struct as an object of `field_N`, and leaves the reader behind it. Numbers of 64 bits are bigints where a number would not
 * be exact. Throws Error if it is damaged or cut off. A footer has thousands of them, and so has a column chunk of pages.
 */
export function readStruct(reader: ThriftReader): Fields {
  const fields: Fields = {}
  const { view } = reader
  for (let id = 0; ; ) {
    if (reader.offset >= view.byteLength) throw new Error('a structure is cut off')
    const byte = view.getUint8(reader.offset++)
    const type = byte & 0x0f
    if (type === STOP) return fields
    const delta = byte >> 4
    id = delta > 0 ? id + delta : readInt(reader)
    fields[NAMES[id] ?? `field_${id}`] = readValue(reader, type)
  }
}

function readValue(reader: ThriftReader, type: number): unknown {
  const { view } = reader
  switch (type) {
    case TRUE:
      return true
    case FALSE:
      return false
    case BYTE:
      return view.getInt8(reader.offset++)
    case I16:
    case I32:
      return readInt(reader)
    case I64:
      return readLong(reader)
    case DOUBLE:
      reader.offset += 8
      return view.getFloat64(reader.offset - 8, true)
    case BINARY:
      return readBinary(reader)
    case LIST:
      return readList(reader)
    case STRUCT:
      return readStruct(reader)
    default:
      throw new Error(`a structure has a field of the type ${type}`)
  }
}

function readBinary(reader: ThriftReader): Uint8Array {
  const { view } = reader
  const length = readVarInt(reader)
  const start = reader.offset
  if (length < 0 || start + length > view.byteLength) throw new Error('a text is cut off')
  reader.offset += length
  return new Uint8Array(view.buffer, view.byteOffset + start, length)
}

function readList(reader: ThriftReader): unknown[] {
  const byte = reader.view.getUint8(reader.offset++)
  const type = byte & 0x0f
  const length = byte >> 4 === 15 ? readVarInt(reader) : byte >> 4
  // Each item has a byte at least.
  if (length < 0 || length > reader.view.byteLength - reader.offset) throw new Error('a list is cut off')
  const items: unknown[] = []
  for (let i = 0; i < length; i++)
    items.push(type === TRUE || type === FALSE ? readValue(reader, BYTE) === 1 : readValue(reader, type))
  return items
}

function readVarInt(reader: ThriftReader): number {
  let number = 0
  for (let shift = 0; ; shift += 7) {
    const byte = reader.view.getUint8(reader.offset++)
    number |= (byte & 0x7f) << shift
    if (byte < 0x80) return number
  }
}

function readInt(reader: ThriftReader): number {
  const number = readVarInt(reader)
  return (number >>> 1) ^ -(number & 1)
}

function readLong(reader: ThriftReader): number | bigint {
  const start = reader.offset
  let number = 0
  let place = 1
  for (let bits = 0; bits <= EXACT_BITS; bits += 7) {
    const byte = reader.view.getUint8(reader.offset++)
    number += (byte & 0x7f) * place
    if (byte < 0x80) return number % 2 === 0 ? number / 2 : -(number + 1) / 2
    place *= 0x80
  }
  reader.offset = start
  let long = 0n
  for (let shift = 0n; ; shift += 7n) {
    const byte = reader.view.getUint8(reader.offset++)
    long |= BigInt(byte & 0x7f) << shift
    if (byte < 0x80) return (long >> 1n) ^ -(long & 1n)
  }
}
