import { csvHeader } from '../../columns/text/csv.ts'
import type { LiveFile, Snapshot } from '../../table/snapshot.ts'
import type { Table } from '../../table/table.ts'
import { FileText } from './file-text.ts'
import { inOrder, type Placement, place, type RowRange } from './placement.ts'
import { type Segments, type TextFormat, type TextKind, textKind } from './segments.ts'
import { joined, type Text } from './text.ts'

export type { TextFormat } from './segments.ts'

/** Files by other writers that are opened at the same time, to be measured. */
const OPENING_MAX = 4
/** A READ this near to the end of the one before goes on with it: clients send several at once, out of order. */
const SEQUENTIAL_BYTES = 4 << 20

const OPEN_BRACKET = 0x5b
const encoder = new TextEncoder()
const ARRAY_END = encoder.encode(']\n')
const EMPTY_ARRAY = encoder.encode('[]\n')
const NOTHING = new Uint8Array(0)

/** A byte range, row-aligned. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** What stands at one file's own place: its rows, and those that order hints put among them. */
export interface Section extends ByteRange {
  /** The file whose place it is. */
  readonly file: LiveFile
  /** All files that have rows in it, and `file`. */
  readonly files: ReadonlySet<LiveFile>
}

/** A physical row of a data file, or the place in front of all rows. */
export type RowPlace = 'start' | { readonly path: string; readonly row: number }

/** Rows that stand next to each other both in the view and in one piece of one file. */
interface Leaf {
  readonly file: number
  readonly piece: number
  readonly rowStart: number
  readonly rowEnd: number
  /** Offset in the live text of the piece. */
  readonly start: number
  readonly size: number
}

/** Some rows of one node with what hangs on them; cut into leaves when somebody reads there. */
interface Block {
  readonly root: RowRange
  readonly size: number
  leaves: Promise<readonly Leaf[]> | undefined
}

/** Node 0 stands in front of all files, node i + 1 for file i. */
interface Rope {
  readonly placement: Placement
  /** Where each node begins; one more than there are nodes. */
  readonly starts: Float64Array
  readonly blocks: Map<number, Promise<readonly Block[]>>
}

/** A leaf and the part of it that a range covers, as offsets in the live text of its piece. */
interface Stretch {
  readonly leaf: Leaf
  readonly from: number
  readonly to: number
}

/**
 * The text of a table at one version: the header, then the live rows of each file in view order, edited rows at their
 * places. Offsets are bytes; nothing is rendered before it is read.
 */
export class TableText implements Text {
  readonly snapshot: Snapshot
  readonly format: TextFormat
  /** The header line of CSV; empty in the other formats. */
  readonly headerBytes: Uint8Array
  readonly size: number
  readonly #segments: Segments
  readonly #files: readonly FileText[]
  readonly #bodySize: number
  #rope: Promise<Rope> | undefined
  #readEnd = 0

  constructor(snapshot: Snapshot, format: TextFormat, segments: Segments, files: readonly FileText[]) {
    this.snapshot = snapshot
    this.format = format
    this.#segments = segments
    this.#files = files
    this.headerBytes = format === 'csv' ? csvHeader(snapshot.schema) : NOTHING
    this.#bodySize = files.reduce((sum, { size }) => sum + size, 0)
    const brackets = this.#bodySize === 0 ? EMPTY_ARRAY.length : ARRAY_END.length
    this.size = this.headerBytes.length + this.#bodySize + (format === 'json' ? brackets : 0)
  }

  /** The files' texts, for the next version. */
  get files(): readonly FileText[] {
    return this.#files
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = []
    const header = this.headerBytes.length
    if (start < header) parts.push(this.headerBytes.subarray(start, Math.min(end, header)))
    const from = Math.max(0, start - header)
    const to = Math.min(this.#bodySize, end - header)
    if (from < to) await this.#readBody(from, to, parts)
    if (this.format === 'json') this.#bracket(start, end, parts)
    return joined(parts)
  }

  /** The start of the row that holds the byte at `offset`. */
  async rowStart(offset: number): Promise<number> {
    const at = offset - this.headerBytes.length
    for await (const { leaf, from } of this.#stretches(at, at + 1)) {
      const text = this.#files[leaf.file]!
      return offset - from + (await text.offsetOf(leaf.piece, await text.rowAt(leaf.piece, from)))
    }
    return 0
  }

  /** The live rows behind row-aligned byte ranges: physical numbers, ascending, by file. */
  async rowsAt(ranges: readonly ByteRange[]): Promise<{ file: LiveFile; rows: Uint32Array }[]> {
    const found = new Map<number, Uint32Array[]>()
    const add = (file: number, rows: Uint32Array): void => {
      const known = found.get(file)
      if (known === undefined) found.set(file, [rows])
      else known.push(rows)
    }
    const header = this.headerBytes.length
    for (const range of ranges) {
      const start = range.start - header
      const end = range.end - header
      if (start <= 0 && end >= this.#bodySize) {
        for (const [i, text] of this.#files.entries()) add(i, await text.liveRows(0, await text.rows()))
        continue
      }
      for await (const { leaf, from, to } of this.#stretches(start, end)) {
        const text = this.#files[leaf.file]!
        const whole = from === leaf.start && to === leaf.start + leaf.size
        const first = whole ? leaf.rowStart : await text.rowAt(leaf.piece, from)
        const last = whole ? leaf.rowEnd : (await text.rowAt(leaf.piece, to - 1)) + 1
        add(leaf.file, await text.liveRows(first, last))
      }
    }
    return [...found]
      .sort(([a], [b]) => a - b)
      .map(([i, lists]) => ({ file: this.#files[i]!.file, rows: merged(lists) }))
      .filter(({ rows }) => rows.length > 0)
  }

  /** The rows that end at these offsets (ascending): the header's end is the start. */
  async anchorsAt(offsets: readonly number[]): Promise<RowPlace[]> {
    const places: RowPlace[] = []
    for (const offset of offsets) {
      const at = offset - this.headerBytes.length
      if (at <= 0) {
        places.push('start')
        continue
      }
      for await (const { leaf, to } of this.#stretches(at - 1, at)) {
        const text = this.#files[leaf.file]!
        places.push({ path: text.file.path, row: await text.rowAt(leaf.piece, to - 1) })
      }
    }
    return places
  }

  /** The text cut by the files' places; what stands in front of all files belongs to the first section. */
  async sections(): Promise<Section[]> {
    const rope = await this.#ropeOf()
    const header = this.headerBytes.length
    return this.#files.map((text, i) => {
      const guests = [...rope.placement.guests(i), ...(i === 0 ? rope.placement.guests(-1) : [])]
      return {
        start: header + (i === 0 ? 0 : rope.starts[i + 1]!),
        end: header + rope.starts[i + 2]!,
        file: text.file,
        files: new Set([text.file, ...guests.map(guest => this.#files[guest]!.file)]),
      }
    })
  }

  async #readBody(from: number, to: number, parts: Uint8Array[]): Promise<void> {
    const goesOn = from > 0 && Math.abs(from - this.#readEnd) <= SEQUENTIAL_BYTES
    this.#readEnd = to
    let missing = to - from
    for await (const { leaf, from: start, to: end } of this.#stretches(from, to)) {
      if (goesOn && missing === to - from) await this.#readAhead(leaf)
      await this.#files[leaf.file]!.read(leaf.piece, start, end, parts)
      missing -= end - start
    }
    if (missing > 0) throw new Error(`the text of version ${this.snapshot.version} lacks ${missing} bytes at ${from}`)
  }

  /** Has the pieces behind the one being read rendered, by all threads. */
  async #readAhead(leaf: Leaf): Promise<void> {
    let wanted = this.#segments.parallel
    let piece = leaf.piece + 1
    for (let file = leaf.file; file < this.#files.length && wanted > 0; file++, piece = 0) {
      const text = this.#files[file]!
      if (text.size === 0) continue
      const { length } = await text.pieces()
      for (; piece < length && wanted > 0; piece++, wanted--) text.prefetch(piece)
    }
  }

  /** JSON: the comma in front of the first row is the opening bracket, and the closing one comes behind the last. */
  #bracket(start: number, end: number, parts: Uint8Array[]): void {
    if (this.#bodySize === 0) {
      parts.push(EMPTY_ARRAY.subarray(start, end))
      return
    }
    const [first] = parts
    if (start === 0 && first !== undefined && first.length > 0) {
      const copy = first.slice()
      copy[0] = OPEN_BRACKET
      parts[0] = copy
    }
    if (end > this.#bodySize) {
      parts.push(ARRAY_END.subarray(Math.max(0, start - this.#bodySize), end - this.#bodySize))
    }
  }

  /** What the body offsets [from, to) are made of, in order. */
  async *#stretches(from: number, to: number): AsyncGenerator<Stretch> {
    const rope = await this.#ropeOf()
    for (let node = lastAtOrBelow(rope.starts, from); node + 1 < rope.starts.length; node++) {
      let at = rope.starts[node]!
      if (at >= to) return
      if (rope.starts[node + 1]! <= from) continue
      for (const block of await this.#blocksOf(rope, node)) {
        const start = at
        at += block.size
        if (at <= from) continue
        if (start >= to) return
        yield* cut(await this.#leavesOf(rope, block), start, from, to)
      }
    }
  }

  #ropeOf(): Promise<Rope> {
    if (this.#rope === undefined) {
      this.#rope = this.#makeRope()
      this.#rope.catch(() => {
        this.#rope = undefined
      })
    }
    return this.#rope
  }

  async #makeRope(): Promise<Rope> {
    const placement = await place(this.#files, this.#segments)
    const starts = new Float64Array(this.#files.length + 2)
    starts[1] = placement.startBytes
    for (let i = 0; i < this.#files.length; i++) starts[i + 2] = starts[i + 1]! + placement.bytesAt(i)
    return { placement, starts, blocks: new Map() }
  }

  #blocksOf(rope: Rope, node: number): Promise<readonly Block[]> {
    let blocks = rope.blocks.get(node)
    if (blocks === undefined) {
      blocks = node === 0 ? Promise.resolve(startBlocks(rope.placement)) : this.#fileBlocks(rope.placement, node - 1)
      rope.blocks.set(node, blocks)
      blocks.catch(() => rope.blocks.delete(node))
    }
    return blocks
  }

  async #fileBlocks(placement: Placement, file: number): Promise<readonly Block[]> {
    const text = this.#files[file]!
    const pieces = await text.pieces()
    const own = placement.ownRows(file) ?? [{ file, start: 0, end: await text.rows() }]
    const anchors = placement.anchors(file)
    const blocks: Block[] = []
    let next = 0
    for (const range of own) {
      for (const piece of pieces) {
        const start = Math.max(range.start, piece.firstRow)
        const end = Math.min(range.end, piece.firstRow + piece.rows)
        if (start >= end) continue
        let size = await text.sizeOf(start, end)
        while (next < anchors.length && anchors[next]!.row < start) next++
        for (; next < anchors.length && anchors[next]!.row < end; next++) {
          for (const { bytes } of anchors[next]!.attached) size += bytes
        }
        if (size > 0) blocks.push({ root: { file, start, end }, size, leaves: undefined })
      }
    }
    return blocks
  }

  #leavesOf(rope: Rope, block: Block): Promise<readonly Leaf[]> {
    if (block.leaves === undefined) {
      block.leaves = this.#findLeaves(rope.placement, block.root)
      block.leaves.catch(() => {
        block.leaves = undefined
      })
    }
    return block.leaves
  }

  async #findLeaves(placement: Placement, root: RowRange): Promise<readonly Leaf[]> {
    const leaves: Leaf[] = []
    for (const { file, start, end } of inOrder(placement, root)) {
      const text = this.#files[file]!
      for (const [i, piece] of (await text.pieces()).entries()) {
        const rowStart = Math.max(start, piece.firstRow)
        const rowEnd = Math.min(end, piece.firstRow + piece.rows)
        if (rowStart >= rowEnd) continue
        const from = await text.offsetOf(i, rowStart)
        const size = (await text.offsetOf(i, rowEnd)) - from
        if (size > 0) leaves.push({ file, piece: i, rowStart, rowEnd, start: from, size })
      }
    }
    return leaves
  }
}

function startBlocks(placement: Placement): readonly Block[] {
  return placement.start.map(attached => ({ root: attached, size: attached.bytes, leaves: undefined }))
}

function* cut(leaves: readonly Leaf[], start: number, from: number, to: number): Generator<Stretch> {
  let at = start
  for (const leaf of leaves) {
    if (at >= to) return
    const first = Math.max(0, from - at)
    const last = Math.min(leaf.size, to - at)
    if (first < last) yield { leaf, from: leaf.start + first, to: leaf.start + last }
    at += leaf.size
  }
}

/** The last index whose value is not above `value`. */
function lastAtOrBelow(values: Float64Array, value: number): number {
  let low = 0
  let high = values.length - 1
  while (low < high) {
    const middle = (low + high + 1) >>> 1
    if (values[middle]! <= value) low = middle
    else high = middle - 1
  }
  return low
}

function merged(lists: readonly Uint32Array[]): Uint32Array {
  const [only] = lists
  if (lists.length === 1 && only !== undefined) return only
  const rows = new Uint32Array(lists.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const list of lists) {
    rows.set(list, at)
    at += list.length
  }
  return rows.sort()
}

/**
 * The text of a table version. What `previous` (another version's text in the same format) knows of files is taken over,
 * so a new version costs its own files. Rejects with ParquetError or StorageError if a file has to be opened and cannot be.
 */
export async function openText(
  table: Table,
  snapshot: Snapshot,
  segments: Segments,
  format: TextFormat,
  previous?: TableText,
): Promise<TableText> {
  const kind = textKind(snapshot, format)
  const known = knownFiles(kind, format, previous)
  const files: FileText[] = []
  const unmeasured: number[] = []
  for (const [i, file] of snapshot.files.entries()) {
    const text = known(file, i) ?? FileText.recorded(table, segments, kind, file)
    if (text === undefined) unmeasured.push(i)
    else files[i] = text
  }
  const measureSome = async (): Promise<void> => {
    for (let i = unmeasured.shift(); i !== undefined; i = unmeasured.shift()) {
      files[i] = await FileText.measured(table, segments, kind, snapshot.files[i]!)
    }
  }
  await Promise.all(Array.from({ length: OPENING_MAX }, measureSome))
  return new TableText(snapshot, format, segments, files)
}

function knownFiles(
  kind: TextKind,
  format: TextFormat,
  previous: TableText | undefined,
): (file: LiveFile, index: number) => FileText | undefined {
  if (previous === undefined || previous.format !== format) return () => undefined
  if (textKind(previous.snapshot, format).fingerprint !== kind.fingerprint) return () => undefined
  let byKey: Map<string, FileText> | undefined
  return (file, index) => {
    const sameplace = previous.files[index]
    if (sameplace?.file.key === file.key) return sameplace
    byKey ??= new Map(previous.files.map(text => [text.file.key, text]))
    return byKey.get(file.key)
  }
}
