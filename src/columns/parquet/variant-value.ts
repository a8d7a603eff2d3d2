import { cellToJson } from '../text/json.ts'
import { formatTimestamp } from '../text/scalars.ts'
import type { Cell, DataType } from '../types.ts'

/** So deep values are nested at most; each level takes a step into whoever reads the JSON. */
const DEPTH_MAX = 500
/** A few bytes can name one long key many times. */
const CHARS_MAX = 128 << 20
const VERSION = 1
const NANOS_PER_MICRO = 1000n
const UUID_BYTES = 16

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** A variant's value in its parts: JSON of the members of an object by key, or JSON of anything else. */
export type VariantParts =
  | { readonly kind: 'object'; readonly members: ReadonlyMap<string, string> }
  | { readonly kind: 'other'; readonly json: string }

/**
 * The parts of a variant's JSON, the members of an object apart (VariantEncoding.md): the keys of an object in the order of
 * their code points, numbers with all their digits, dates, times, UUIDs and binaries (base64) as strings. Throws Error for
 * what is damaged.
 */
export function variantParts(metadata: Uint8Array, value: Uint8Array): VariantParts {
  return new VariantReader(keysOf(metadata), value).read()
}

/** JSON of the parts of a variant. */
export function jsonOf(parts: VariantParts): string {
  if (parts.kind === 'other') return parts.json
  const keys = [...parts.members.keys()].sort(byCodePoints)
  return `{${keys.map(key => `${JSON.stringify(key)}:${parts.members.get(key)}`).join(',')}}`
}

function byCodePoints(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

/** The texts of a dictionary of keys. */
function keysOf(metadata: Uint8Array): (id: number) => string {
  const bytes = new Bytes(metadata, 'its metadata')
  const header = bytes.unsigned(0, 1)
  if ((header & 15) !== VERSION) throw new Error(`its metadata has version ${header & 15}, and ${VERSION} is known`)
  const width = (header >> 6) + 1
  const count = bytes.unsigned(1, width)
  const offsets = 1 + width
  const texts = offsets + (count + 1) * width
  return id => {
    if (id >= count) throw new Error(`it names key ${id}, and its metadata has ${count}`)
    const start = texts + bytes.unsigned(offsets + id * width, width)
    return bytes.text(start, texts + bytes.unsigned(offsets + (id + 1) * width, width))
  }
}

/** Bytes in which nothing is read that is not there. */
class Bytes {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #name: string

  constructor(bytes: Uint8Array, name: string) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#name = name
  }

  get length(): number {
    return this.#bytes.length
  }

  /** A number of one to four bytes, little-endian. */
  unsigned(at: number, width: number): number {
    this.#check(at, at + width)
    let value = 0
    for (let i = width - 1; i >= 0; i--) value = value * 256 + this.#bytes[at + i]!
    return value
  }

  view(at: number, width: number): DataView {
    this.#check(at, at + width)
    return new DataView(this.#view.buffer, this.#view.byteOffset + at, width)
  }

  slice(start: number, end: number): Uint8Array {
    this.#check(start, end)
    return this.#bytes.subarray(start, end)
  }

  text(start: number, end: number): string {
    try {
      return strict.decode(this.slice(start, end))
    } catch (cause) {
      if (!(cause instanceof TypeError)) throw cause
      throw new Error(`a text of ${this.#name} is not UTF-8`, { cause })
    }
  }

  #check(start: number, end: number): void {
    if (start > end) throw new Error(`the offsets of ${this.#name} do not rise`)
    if (end > this.#bytes.length) throw new Error(`${this.#name} is cut off at byte ${this.#bytes.length}`)
  }
}

/** The places of the items of an object or an array. */
interface Container {
  readonly count: number
  /** The first of the ids of an object's keys. */
  readonly ids: number
  readonly idWidth: number
  readonly offsets: number
  readonly offsetWidth: number
  readonly values: number
}

class VariantReader {
  readonly #keyOf: (id: number) => string
  readonly #bytes: Bytes
  /** Each value has a byte of its own: where more are found, they lie in each other. */
  #values = 0
  #chars = 0

  constructor(keyOf: (id: number) => string, value: Uint8Array) {
    this.#keyOf = keyOf
    this.#bytes = new Bytes(value, 'its value')
  }

  read(): VariantParts {
    return (this.#bytes.unsigned(0, 1) & 3) === 2
      ? { kind: 'object', members: this.#object(0, 0) }
      : { kind: 'other', json: this.#json(0, 0) }
  }

  #json(at: number, depth: number): string {
    if (depth > DEPTH_MAX) throw new Error(`it is nested more than ${DEPTH_MAX} deep`)
    if (++this.#values > this.#bytes.length) throw new Error('its values lie in each other')
    const first = this.#bytes.unsigned(at, 1)
    const header = first >> 2
    switch (first & 3) {
      case 0:
        return this.#counted(this.#primitive(header, at + 1))
      case 1:
        return this.#counted(JSON.stringify(this.#bytes.text(at + 1, at + 1 + header)))
      case 2:
        return jsonOf({ kind: 'object', members: this.#object(at, depth) })
      default:
        return this.#array(at, depth)
    }
  }

  /** Counts the characters of what grows, so that it is refused before it is too large for a string. */
  #counted(json: string): string {
    this.#chars += json.length
    if (this.#chars > CHARS_MAX) throw new Error(`its JSON is longer than ${CHARS_MAX >> 20} MiB`)
    return json
  }

  #object(at: number, depth: number): ReadonlyMap<string, string> {
    const header = this.#bytes.unsigned(at, 1) >> 2
    const items = this.#container(at, (header & 16) !== 0, (header & 3) + 1, ((header >> 2) & 3) + 1)
    const members = new Map<string, string>()
    for (let i = 0; i < items.count; i++) {
      const key = this.#keyOf(this.#bytes.unsigned(items.ids + i * items.idWidth, items.idWidth))
      if (members.has(key)) throw new Error(`an object has the key ${JSON.stringify(key.slice(0, 80))} twice`)
      this.#counted(key)
      members.set(key, this.#json(this.#itemAt(items, i), depth + 1))
    }
    return members
  }

  #array(at: number, depth: number): string {
    const header = this.#bytes.unsigned(at, 1) >> 2
    const items = this.#container(at, (header & 4) !== 0, (header & 3) + 1, 0)
    const json = Array.from({ length: items.count }, (_, i) => this.#json(this.#itemAt(items, i), depth + 1))
    return `[${json.join(',')}]`
  }

  #container(at: number, isLarge: boolean, offsetWidth: number, idWidth: number): Container {
    const countWidth = isLarge ? 4 : 1
    const count = this.#bytes.unsigned(at + 1, countWidth)
    const ids = at + 1 + countWidth
    const offsets = ids + count * idWidth
    const values = offsets + (count + 1) * offsetWidth
    if (values > this.#bytes.length) throw new Error(`its value is cut off: ${count} items are announced`)
    return { count, ids, idWidth, offsets, offsetWidth, values }
  }

  #itemAt({ offsets, offsetWidth, values }: Container, i: number): number {
    return values + this.#bytes.unsigned(offsets + i * offsetWidth, offsetWidth)
  }

  #primitive(type: number, at: number): string {
    if (type === 0) return 'null'
    const kind = PRIMITIVES[type]
    if (kind === undefined) throw new Error(`it has a value of type ${type}, which is not known`)
    const size = typeof kind.size === 'number' ? kind.size : 4 + this.#bytes.unsigned(at, 4)
    return kind.json(this.#bytes.view(at, size))
  }
}

/** A primitive type: how many bytes its values have (or that they announce it in the first four), and their JSON. */
interface Primitive {
  readonly size: number | 'announced'
  json(view: DataView): string
}

function as(type: DataType, size: number, cell: (view: DataView) => Cell): Primitive {
  return { size, json: view => cellToJson(cell(view), type) }
}

/** The first byte is the scale. */
function decimal(bytes: number, precision: number): Primitive {
  return {
    size: 1 + bytes,
    json: view => {
      const scale = view.getUint8(0)
      if (scale > precision) throw new Error(`a decimal has a scale of ${scale}, and ${precision} digits at most`)
      let unscaled = 0n
      for (let i = bytes; i >= 1; i--) unscaled = (unscaled << 8n) | BigInt(view.getUint8(i))
      return cellToJson(BigInt.asIntN(bytes * 8, unscaled), { kind: 'decimal', precision, scale })
    },
  }
}

/** Nanoseconds, of which a timestamp of Delta has no more than the microseconds. */
function nanoseconds(zone: string): Primitive {
  return {
    size: 8,
    json: view => {
      const nanos = view.getBigInt64(0, true)
      const rest = ((nanos % NANOS_PER_MICRO) + NANOS_PER_MICRO) % NANOS_PER_MICRO
      const text = formatTimestamp((nanos - rest) / NANOS_PER_MICRO)
      if (rest === 0n) return JSON.stringify(`${text}${zone}`)
      const digits = String(rest).padStart(3, '0')
      return JSON.stringify(`${text.includes('.') ? text : `${text}.000000`}${digits}${zone}`)
    },
  }
}

const micros = (view: DataView): bigint => view.getBigInt64(0, true)

/** The primitive types by their numbers (VariantEncoding.md, "Encoding types"). */
const PRIMITIVES: Readonly<Record<number, Primitive>> = {
  1: as({ kind: 'boolean' }, 0, () => true),
  2: as({ kind: 'boolean' }, 0, () => false),
  3: as({ kind: 'byte' }, 1, view => view.getInt8(0)),
  4: as({ kind: 'short' }, 2, view => view.getInt16(0, true)),
  5: as({ kind: 'integer' }, 4, view => view.getInt32(0, true)),
  6: as({ kind: 'long' }, 8, micros),
  7: as({ kind: 'double' }, 8, view => view.getFloat64(0, true)),
  8: decimal(4, 9),
  9: decimal(8, 18),
  10: decimal(16, 38),
  11: as({ kind: 'date' }, 4, view => view.getInt32(0, true)),
  12: as({ kind: 'timestamp' }, 8, micros),
  13: as({ kind: 'timestamp_ntz' }, 8, micros),
  14: as({ kind: 'float' }, 4, view => view.getFloat32(0, true)),
  15: { size: 'announced', json: view => cellToJson(announced(view), { kind: 'binary' }) },
  16: { size: 'announced', json: view => JSON.stringify(textOf(announced(view))) },
  17: { size: 8, json: view => JSON.stringify(timeOfDay(micros(view))) },
  18: nanoseconds('Z'),
  19: nanoseconds(''),
  20: { size: UUID_BYTES, json: view => JSON.stringify(uuidOf(bytesOf(view).toHex())) },
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
}

function announced(view: DataView): Uint8Array {
  return bytesOf(view).subarray(4)
}

function textOf(bytes: Uint8Array): string {
  try {
    return strict.decode(bytes)
  } catch (cause) {
    throw new Error('a text of its value is not UTF-8', { cause })
  }
}

function timeOfDay(time: bigint): string {
  const [, text = ''] = formatTimestamp(time).split('T')
  if (time < 0n || time >= 86_400_000_000n) throw new Error('a time of its value is not of one day')
  return text
}

function uuidOf(hex: string): string {
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}
