import { LakeError } from '../../core/errors.ts'
import { totalLength } from '../../core/search.ts'

export type XdrErrorCode = 'truncated' | 'too_long' | 'bad_value' | 'trailing_bytes'

/** Bytes that are not the XDR they should be (RFC 4506). The RPC layer answers GARBAGE_ARGS. */
export class XdrError extends LakeError<XdrErrorCode> {}

/** One XDR type: how it is read, how it is written, and, by its type parameter, what it is in TypeScript. */
export interface Codec<T> {
  decode(reader: XdrReader): T
  encode(writer: XdrWriter, value: T): void
}

export type Decoded<C> = C extends Codec<infer T> ? T : never

/** Opaque data from this size on are not copied into a reply: the reply refers to them. */
const REFERENCE_BYTES_MIN = 8 * 1024
const WRITER_INITIAL_BYTES = 512

/** The bytes that pad `length` to XDR's unit of four (RFC 4506, section 3). */
export function paddingOf(length: number): number {
  return -length & 3
}

/** Reads XDR from one message. Every length is compared with what is left before anything is made of it. */
export class XdrReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #position = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get remaining(): number {
    return this.#bytes.length - this.#position
  }

  uint32(): number {
    return this.#view.getUint32(this.#advance(4))
  }

  int32(): number {
    return this.#view.getInt32(this.#advance(4))
  }

  uint64(): bigint {
    return this.#view.getBigUint64(this.#advance(8))
  }

  /** `length` bytes and their padding; a view on the message, not a copy. */
  opaque(length: number): Uint8Array {
    const start = this.#advance(length + paddingOf(length))
    return this.#bytes.subarray(start, start + length)
  }

  /** All that is left; a view, not a copy. */
  rest(): Uint8Array {
    return this.#bytes.subarray(this.#position)
  }

  /** Refuses a message that goes on where it should have ended. */
  end(): void {
    if (this.remaining !== 0) {
      throw new XdrError('trailing_bytes', `The message has ${this.remaining} bytes more than its type.`)
    }
  }

  #advance(length: number): number {
    const start = this.#position
    if (length > this.#bytes.length - start) {
      throw new XdrError('truncated', `The message ends ${length - this.remaining} bytes too early, at byte ${start}.`)
    }
    this.#position = start + length
    return start
  }
}

/**
 * Writes XDR into a growing buffer. Large opaque data are taken by reference, so the result is a list of pieces that
 * make up the message when sent one after the other.
 */
export class XdrWriter {
  readonly #pieces: Uint8Array[] = []
  #buffer: Uint8Array
  #view: DataView
  #start = 0
  #end = 0
  #piecesBytes = 0

  constructor(initialBytes: number = WRITER_INITIAL_BYTES) {
    this.#buffer = new Uint8Array(initialBytes)
    this.#view = new DataView(this.#buffer.buffer)
  }

  /** Bytes written so far, those taken by reference included. */
  get length(): number {
    return this.#piecesBytes + this.#end - this.#start
  }

  uint32(value: number): void {
    const at = this.#reserve(4)
    this.#view.setUint32(at, value)
  }

  uint64(value: bigint): void {
    const at = this.#reserve(8)
    this.#view.setBigUint64(at, value)
  }

  /** Bytes without a length, padded to four. */
  opaque(...parts: readonly Uint8Array[]): void {
    let length = 0
    for (const part of parts) {
      this.#put(part)
      length += part.length
    }
    this.#reserve(paddingOf(length))
  }

  #put(bytes: Uint8Array): void {
    if (bytes.length < REFERENCE_BYTES_MIN) {
      const at = this.#reserve(bytes.length)
      this.#buffer.set(bytes, at)
      return
    }
    this.#cut()
    this.#pieces.push(bytes)
    this.#piecesBytes += bytes.length
  }

  /** The message; the writer must not be used after this. */
  finish(): Uint8Array[] {
    this.#cut()
    return this.#pieces
  }

  #cut(): void {
    if (this.#end === this.#start) return
    this.#pieces.push(this.#buffer.subarray(this.#start, this.#end))
    this.#piecesBytes += this.#end - this.#start
    this.#start = this.#end
  }

  #reserve(length: number): number {
    if (this.#end + length > this.#buffer.length) this.#grow(length)
    const at = this.#end
    this.#end += length
    return at
  }

  #grow(length: number): void {
    const used = this.#end - this.#start
    const grown = new Uint8Array(Math.max(2 * (used + length), WRITER_INITIAL_BYTES))
    grown.set(this.#buffer.subarray(this.#start, this.#end))
    this.#buffer = grown
    this.#view = new DataView(grown.buffer)
    this.#start = 0
    this.#end = used
  }
}

/** Reads one value that takes up the whole of `bytes`. */
export function decode<T>(codec: Codec<T>, bytes: Uint8Array): T {
  const reader = new XdrReader(bytes)
  const value = codec.decode(reader)
  reader.end()
  return value
}

/** Writes one value into one run of bytes. */
export function encode<T>(codec: Codec<T>, value: T): Uint8Array {
  const writer = new XdrWriter()
  codec.encode(writer, value)
  return joined(writer.finish())
}

/** The pieces as one run of bytes (no copy where there is only one). */
export function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const [first] = pieces
  if (pieces.length === 1 && first !== undefined) return first
  const whole = new Uint8Array(totalLength(pieces))
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.length
  }
  return whole
}
