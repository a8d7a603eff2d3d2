import { LakeError } from '../../core/errors.ts'

/** The peer broke the record marking standard (RFC 5531, section 11): nothing after it can be understood. */
class RecordError extends LakeError<'too_long' | 'too_many_fragments' | 'empty_fragment'> {}

export const RECORD_MARK_BYTES = 4
const LAST_FRAGMENT = 0x8000_0000
const FRAGMENTS_MAX = 256
const FIRST_ALLOCATION_BYTES = 64 * 1024
/** A buffer is made for so many times the bytes that are there: memory that nothing is written to costs next to nothing, a copy does. */
const GROWTH = 16

/** The mark in front of a record that is sent as one fragment. */
export function recordMark(length: number): number {
  return (LAST_FRAGMENT | length) >>> 0
}

/**
 * Cuts a TCP stream into records. A record that lies in one received chunk is a view on it; others are put together
 * with one copy, in a buffer that grows with what has arrived, not with what was announced.
 */
export class RecordReader {
  readonly #recordBytesMax: number
  readonly #chunks: Uint8Array[] = []
  #chunkOffset = 0
  #available = 0
  #record = new Uint8Array(0)
  #recordLength = 0
  #fragments = 0
  #fragmentLeft = 0
  #last = false

  constructor(recordBytesMax: number) {
    this.#recordBytesMax = recordBytesMax
  }

  /** True if a record has begun and not ended. */
  get partial(): boolean {
    return this.#available > 0 || this.#fragments > 0
  }

  push(chunk: Uint8Array): void {
    if (chunk.length === 0) return
    this.#chunks.push(chunk)
    this.#available += chunk.length
  }

  /** The next complete record, or undefined if more bytes are needed. Throws RecordError: the connection is then useless. */
  next(): Uint8Array | undefined {
    while (true) {
      if (this.#fragmentLeft === 0) {
        if (this.#last) return this.#finishRecord()
        if (this.#available < RECORD_MARK_BYTES) return undefined
        this.#startFragment(this.#takeMark())
        if (this.#last && this.#fragments === 1) {
          const whole = this.#takeWhole()
          if (whole !== undefined) return whole
        }
        continue
      }
      if (this.#available === 0) return undefined
      this.#copyAvailable()
    }
  }

  #startFragment(mark: number): void {
    const length = mark & ~LAST_FRAGMENT
    this.#last = mark >= LAST_FRAGMENT
    this.#fragments++
    if (this.#recordLength + length > this.#recordBytesMax) {
      throw new RecordError('too_long', `A record is longer than ${this.#recordBytesMax} bytes.`)
    }
    if (length === 0 && !this.#last) throw new RecordError('empty_fragment', 'A fragment in a record is empty.')
    if (this.#fragments > FRAGMENTS_MAX) {
      throw new RecordError('too_many_fragments', `A record has more than ${FRAGMENTS_MAX} fragments.`)
    }
    this.#fragmentLeft = length
  }

  #takeMark(): number {
    let mark = 0
    for (let i = 0; i < RECORD_MARK_BYTES; i++) mark = mark * 256 + this.#takeByte()
    return mark
  }

  #takeByte(): number {
    const byte = this.#chunks[0]?.[this.#chunkOffset] ?? 0
    this.#consume(1)
    return byte
  }

  /** The record as a view, if all of it is in the first chunk. */
  #takeWhole(): Uint8Array | undefined {
    const chunk = this.#chunks[0]
    const length = this.#fragmentLeft
    if (chunk === undefined || chunk.length - this.#chunkOffset < length) return undefined
    const record = chunk.subarray(this.#chunkOffset, this.#chunkOffset + length)
    this.#consume(length)
    this.#reset()
    return record
  }

  #copyAvailable(): void {
    const chunk = this.#chunks[0]
    if (chunk === undefined) return
    const length = Math.min(this.#fragmentLeft, chunk.length - this.#chunkOffset)
    this.#reserve(length)
    this.#record.set(chunk.subarray(this.#chunkOffset, this.#chunkOffset + length), this.#recordLength)
    this.#recordLength += length
    this.#fragmentLeft -= length
    this.#consume(length)
  }

  #reserve(length: number): void {
    const needed = this.#recordLength + length
    if (needed <= this.#record.length) return
    // A peer that announces much and sends little must not make us allocate much.
    const announced = this.#recordLength + this.#fragmentLeft
    const capacity = Math.max(needed, Math.min(announced, Math.max(FIRST_ALLOCATION_BYTES, GROWTH * needed)))
    const grown = new Uint8Array(Buffer.allocUnsafeSlow(capacity).buffer)
    grown.set(this.#record.subarray(0, this.#recordLength))
    this.#record = grown
  }

  #consume(length: number): void {
    this.#chunkOffset += length
    this.#available -= length
    if (this.#chunkOffset === this.#chunks[0]?.length) {
      this.#chunks.shift()
      this.#chunkOffset = 0
    }
  }

  #finishRecord(): Uint8Array {
    const record = this.#record.subarray(0, this.#recordLength)
    this.#reset()
    return record
  }

  #reset(): void {
    this.#record = new Uint8Array(0)
    this.#recordLength = 0
    this.#fragments = 0
    this.#fragmentLeft = 0
    this.#last = false
  }
}
