import { ParquetError } from '../../columns/errors.ts'
import type { RenderedText } from '../../columns/text/rendered.ts'
import { firstIndex, lowerBound } from '../../core/search.ts'
import type { LiveFile } from '../../table/snapshot.ts'
import type { Table } from '../../table/table.ts'
import { RowPlaces } from './rows.ts'
import { type PieceSize, pieceKey, type Segments, type TextKind } from './segments.ts'

/** The deleted rows of one piece: numbers within the piece, and their byte ranges in its text. */
interface Holes {
  readonly rows: Uint32Array
  /** [start, end, start, end, ...] in the piece's text, ascending. */
  readonly ranges: Uint32Array
  /** Bytes of the holes in front of hole i; one more than there are holes. */
  readonly before: Uint32Array
}

const NO_HOLES: Holes = { rows: new Uint32Array(0), ranges: new Uint32Array(0), before: new Uint32Array(1) }

/**
 * The text of one live file: its pieces without the rows that its deletion vector takes away. Offsets are of that live
 * text, within one piece; row numbers are physical, within the file.
 */
export class FileText {
  readonly file: LiveFile
  /** Bytes of the live rows. */
  readonly size: number
  readonly #table: Table
  readonly #segments: Segments
  readonly #kind: TextKind
  /** The size was found by way of the pieces. */
  readonly #measured: boolean
  #pieces: Promise<readonly PieceSize[]> | undefined
  /** The key of the first piece, which most files have alone; and whether that had the size that the record says. */
  #firstKey: string | undefined
  #isChecked = false
  readonly #holes = new Map<number, Promise<Holes>>()

  private constructor(
    table: Table,
    segments: Segments,
    kind: TextKind,
    file: LiveFile,
    size: number,
    measured: boolean,
  ) {
    this.#measured = measured
    this.#table = table
    this.#segments = segments
    this.#kind = kind
    this.file = file
    this.size = size
  }

  /** Without opening the file, where its add action tells the size of its text. */
  static recorded(table: Table, segments: Segments, kind: TextKind, file: LiveFile): FileText | undefined {
    if (file.vector !== undefined) return undefined
    const size = segments.recordedSize(kind, file)
    return size === undefined ? undefined : new FileText(table, segments, kind, file, size, false)
  }

  /**
   * Measures what must be measured: pieces with deleted rows, and all of a file by another writer. `former`: the text of the
   * same file with another vector; what it knows of pieces in which the same rows are deleted is taken over.
   */
  static async measured(
    table: Table,
    segments: Segments,
    kind: TextKind,
    file: LiveFile,
    former?: FileText,
  ): Promise<FileText> {
    if (file.vector !== undefined && file.vector.cardinality === file.rows)
      return new FileText(table, segments, kind, file, 0, true)
    const probe = new FileText(table, segments, kind, file, 0, true)
    const pieces = await probe.pieces()
    let size = 0
    for (const [i, piece] of pieces.entries()) {
      if (former?.file.path === file.path) await probe.#takeHoles(i, piece, former)
      const holes = await probe.#holesOf(i)
      size += piece.bytes - holes.before.at(-1)!
    }
    const text = new FileText(table, segments, kind, file, size, true)
    text.#pieces = probe.#pieces
    for (const [i, holes] of probe.#holes) text.#holes.set(i, holes)
    return text
  }

  async #takeHoles(piece: number, { firstRow, rows }: PieceSize, former: FileText): Promise<void> {
    const holes = former.#holes.get(piece)
    if (holes === undefined || this.file.vector === undefined) return
    const known = (await holes).rows
    const deleted = await this.deletedRows()
    const from = lowerBound(deleted, firstRow)
    const to = lowerBound(deleted, firstRow + rows)
    if (known.length !== to - from) return
    for (let i = 0; i < known.length; i++) if (known[i] !== deleted[from + i]! - firstRow) return
    this.#holes.set(piece, holes)
  }

  /** The physical numbers of the deleted rows, ascending. */
  deletedRows(): Promise<Uint32Array> {
    return this.#table.deletedRows(this.file)
  }

  pieces(): Promise<readonly PieceSize[]> {
    if (this.#pieces === undefined) {
      this.#pieces = this.#findPieces()
      this.#pieces.catch(() => {
        this.#pieces = undefined
      })
    }
    return this.#pieces
  }

  async #findPieces(): Promise<readonly PieceSize[]> {
    const pieces = await this.#segments.sizes(this.#kind, this.file)
    const size = pieces.reduce((sum, { bytes }) => sum + bytes, 0)
    if (this.#measured || size === this.size) return pieces
    this.#segments.measureAgain(this.file)
    throw new ParquetError(
      'corrupt',
      `${this.file.path}: the records of the text's size differ (${this.size} and ${size} bytes); it will be measured when the file is opened again`,
    )
  }

  rows(): Promise<number> {
    return this.#segments.rows(this.file)
  }

  /** The live rows among [start, end), ascending. */
  async liveRows(start: number, end: number): Promise<Uint32Array> {
    const deleted = await this.deletedRows()
    const live = new Uint32Array(end - start)
    let count = 0
    let next = lowerBound(deleted, start)
    for (let row = start; row < end; row++) {
      if (deleted[next] === row) next++
      else live[count++] = row
    }
    return live.subarray(0, count)
  }

  /** Returns the offset of row `row` in the live text of piece `piece`; of a deleted one, that of the next live row. */
  async offsetOf(piece: number, row: number): Promise<number> {
    const { firstRow, rows, bytes } = (await this.pieces())[piece]!
    if (row <= firstRow) return 0
    if (row >= firstRow + rows) return bytes - (await this.#holesOf(piece)).before.at(-1)!
    return (await this.offsetsIn(piece))(row)
  }

  /** Finds the offsets of rows of piece `piece`, or of the one behind, as `offsetOf` does, without a wait for each. */
  async offsetsIn(piece: number): Promise<(row: number) => number> {
    const { firstRow } = (await this.pieces())[piece]!
    const holes = await this.#holesOf(piece)
    const places = await this.#places(piece)
    return row => {
      const at = places.offsetOf(row - firstRow)
      return at - removedBefore(holes, at)
    }
  }

  /** The row that holds the byte at `offset` of the live text of piece `piece`. */
  async rowAt(piece: number, offset: number): Promise<number> {
    const size = (await this.pieces())[piece]!
    const at = physicalOffset(await this.#holesOf(piece), offset)
    return size.firstRow + (await this.#places(piece)).rowAt(at)
  }

  /** Bytes of the live rows among [start, end). */
  async liveBytes(start: number, end: number): Promise<number> {
    let size = 0
    for (const [i, { firstRow, rows }] of (await this.pieces()).entries()) {
      if (end <= firstRow || start >= firstRow + rows) continue
      size +=
        (await this.offsetOf(i, Math.min(end, firstRow + rows))) - (await this.offsetOf(i, Math.max(start, firstRow)))
    }
    return size
  }

  /** Puts the bytes [start, end) of the live text of piece `piece` to `parts`. Resolves at once if they are at hand: then it is undefined. */
  read(piece: number, start: number, end: number, parts: Uint8Array[]): Promise<void> | undefined {
    if (this.file.vector !== undefined || piece !== 0) return this.#read(piece, start, end, parts)
    this.#firstKey ??= pieceKey(this.#kind, this.file, 0)
    const rendered = this.#isChecked ? this.#segments.pieceAtHand(this.#firstKey) : undefined
    if (rendered === undefined || rendered.bytes.length < end) return this.#read(piece, start, end, parts)
    parts.push(rendered.bytes.subarray(start, end))
    return undefined
  }

  async #read(piece: number, start: number, end: number, parts: Uint8Array[]): Promise<void> {
    const { bytes } = await this.#rendered(piece)
    if (piece === 0) this.#isChecked = true
    const holes = await this.#holesOf(piece)
    let at = physicalOffset(holes, start)
    let left = end - start
    let hole = firstHoleBehind(holes, at)
    while (left > 0) {
      const stop = holes.ranges[2 * hole] ?? bytes.length
      const take = Math.min(left, stop - at)
      if (take > 0) parts.push(bytes.subarray(at, at + take))
      left -= take
      if (left > 0 && hole * 2 >= holes.ranges.length)
        throw new Error(`${this.file.path}: the text of row group ${piece} ends too early`)
      at = holes.ranges[2 * hole + 1]!
      hole++
    }
  }

  /** Has a piece rendered, if it is not at hand. */
  prefetch(piece: number): void {
    void this.#segments.piece(this.#kind, this.file, piece).catch(() => undefined)
  }

  async #rendered(piece: number): Promise<RenderedText> {
    const rendered = await this.#segments.piece(this.#kind, this.file, piece)
    const expected = (await this.pieces())[piece]
    if (expected === undefined || rendered.bytes.length !== expected.bytes || rendered.rows !== expected.rows) {
      this.#segments.measureAgain(this.file)
      throw new ParquetError(
        'corrupt',
        `${this.file.path}: the text of row group ${piece} has ${rendered.bytes.length} bytes, the file's record says ${expected?.bytes}; it will be measured when the table is opened again`,
      )
    }
    return rendered
  }

  async #places(piece: number): Promise<RowPlaces> {
    return new RowPlaces(await this.#rendered(piece), this.#kind.format.cut)
  }

  #holesOf(piece: number): Promise<Holes> {
    if (this.file.vector === undefined) return Promise.resolve(NO_HOLES)
    let holes = this.#holes.get(piece)
    if (holes === undefined) {
      holes = this.#findHoles(piece)
      this.#holes.set(piece, holes)
      holes.catch(() => this.#holes.delete(piece))
    }
    return holes
  }

  async #findHoles(piece: number): Promise<Holes> {
    const { firstRow, rows: rowCount, bytes } = (await this.pieces())[piece]!
    const deleted = await this.deletedRows()
    const from = lowerBound(deleted, firstRow)
    const to = lowerBound(deleted, firstRow + rowCount)
    if (from === to) return NO_HOLES
    const rows = deleted.slice(from, to).map(row => row - firstRow)
    const ranges = rows.length === rowCount ? Uint32Array.of(0, bytes) : (await this.#places(piece)).rangesOf(rows)
    const before = new Uint32Array(ranges.length / 2 + 1)
    for (let i = 0; i < ranges.length; i += 2) before[i / 2 + 1] = before[i / 2]! + ranges[i + 1]! - ranges[i]!
    return { rows, ranges, before }
  }
}

/** The first hole that ends behind `at`, an offset in the piece's whole text. */
function firstHoleBehind({ ranges }: Holes, at: number): number {
  return firstIndex(ranges.length / 2, i => ranges[2 * i + 1]! > at)
}

/** Bytes of holes in front of an offset in the piece's whole text. */
function removedBefore(holes: Holes, at: number): number {
  const hole = firstHoleBehind(holes, at)
  const start = holes.ranges[2 * hole]
  return holes.before[hole]! + (start !== undefined && start < at ? at - start : 0)
}

/** Returns the offset in the piece's whole text of the live byte `offset`. */
function physicalOffset({ ranges, before }: Holes, offset: number): number {
  // The first hole in front of which there are more than `offset` live bytes.
  const hole = firstIndex(ranges.length / 2, i => ranges[2 * i]! - before[i]! > offset)
  return offset + before[hole]!
}
