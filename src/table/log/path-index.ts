import type { TextColumn } from './action-column.ts'

/** A column of paths of which some rows have one. */
export interface PathColumn {
  readonly paths: TextColumn
  /** The rows that have one, ascending. */
  readonly rows: Int32Array
}

/** Kinds of bytes of a path that is nothing but itself, however it is read: see `isPlainPath`. */
const [LETTER, DOT, SLASH, OTHER] = [0, 1, 3, 4]
const KINDS = new Uint8Array(256).fill(OTHER)
for (const letter of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_=-')
  KINDS[letter.charCodeAt(0)] = LETTER
KINDS['.'.charCodeAt(0)] = DOT
KINDS['/'.charCodeAt(0)] = SLASH

/** Nobody who chooses paths can choose where they fall: it is elsewhere in each process. */
const SEED = crypto.getRandomValues(new Int32Array(1))[0]!

/** The places of paths in columns, found by their bytes: no text is made of them. */
export class PathIndex {
  readonly #columns: readonly PathColumn[]
  /** The number of the first path of each column. */
  readonly #firsts: readonly number[]
  readonly #hashes: Int32Array
  /** The numbers of paths, plus one, by hash; as long as a power of two. */
  readonly #slots: Int32Array

  private constructor(columns: readonly PathColumn[]) {
    this.#columns = columns
    let size = 0
    this.#firsts = columns.map(({ rows }) => {
      size += rows.length
      return size - rows.length
    })
    this.#hashes = new Int32Array(size)
    this.#slots = new Int32Array(2 ** Math.ceil(Math.log2(Math.max(1, size) * 2)))
  }

  /** undefined if a path is not plain, or stands there twice. */
  static of(columns: readonly PathColumn[]): PathIndex | undefined {
    const index = new PathIndex(columns)
    return columns.every((column, i) => index.#add(column, index.#firsts[i]!)) ? index : undefined
  }

  #add({ paths: { bytes, starts, ends, index }, rows }: PathColumn, first: number): boolean {
    const view = viewOf(bytes)
    for (let i = 0; i < rows.length; i++) {
      const value = index === undefined ? rows[i]! : index[rows[i]!]!
      if (value < 0 || !isPlain(bytes, starts[value]!, ends[value]!)) return false
      const hash = hashOf(view, starts[value]!, ends[value]!)
      const slot = this.#slotOf(hash, bytes, starts[value]!, ends[value]!)
      if (this.#slots[slot] !== 0) return false
      this.#hashes[first + i] = hash
      this.#slots[slot] = first + i + 1
    }
    return true
  }

  /** The slot of a path, or the one that is free for it. */
  #slotOf(hash: number, bytes: Uint8Array, start: number, end: number): number {
    const slots = this.#slots
    const mask = slots.length - 1
    let slot = hash & mask
    for (; slots[slot] !== 0; slot = (slot + 1) & mask)
      if (this.#hashes[slots[slot]! - 1] === hash && this.#isAt(slots[slot]! - 1, bytes, start, end)) break
    return slot
  }

  #isAt(number: number, bytes: Uint8Array, start: number, end: number): boolean {
    const { column, row } = this.placeOf(number)
    const { paths } = this.#columns[column]!
    const value = paths.index === undefined ? row : paths.index[row]!
    const at = paths.starts[value]!
    if (paths.ends[value]! - at !== end - start) return false
    for (let i = 0; i < end - start; i++) if (paths.bytes[at + i] !== bytes[start + i]) return false
    return true
  }

  /** The number of the column that a path stands in, and its row there. */
  placeOf(number: number): { readonly column: number; readonly row: number } {
    let column = this.#firsts.length - 1
    while (this.#firsts[column]! > number) column--
    return { column, row: this.#columns[column]!.rows[number - this.#firsts[column]!]! }
  }

  /** The number of a path: so many stand before it in the columns. */
  find(path: string): number | undefined {
    const bytes = Buffer.from(path)
    const slot = this.#slotOf(hashOf(viewOf(bytes), 0, bytes.length), bytes, 0, bytes.length)
    return this.#slots[slot] === 0 ? undefined : this.#slots[slot]! - 1
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function isPlain(bytes: Uint8Array, start: number, end: number): boolean {
  let wrong = 0
  let last: number = SLASH
  for (let i = start; i < end; i++) {
    const kind = KINDS[bytes[i]!]!
    // Behind a slash, as at the beginning, there is neither a dot nor a slash.
    wrong |= kind & (OTHER | (last >> 1))
    last = kind
  }
  return wrong === 0 && last !== SLASH
}

/** Words of four bytes, and those that are left. */
function hashOf(view: DataView, start: number, end: number): number {
  let hash = SEED ^ (end - start)
  let i = start
  for (; i + 4 <= end; i += 4) {
    hash = Math.imul(hash ^ view.getInt32(i, true), 0x9e3779b1)
    hash ^= hash >>> 15
  }
  for (; i < end; i++) hash = Math.imul(hash ^ view.getUint8(i), 0x9e3779b1)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  return hash ^ (hash >>> 13)
}
