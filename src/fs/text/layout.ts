import { schemaFingerprint } from '../../columns/schema.ts'
import type { Frame, TextFormat } from '../../columns/text/formats/index.ts'
import { type Difference, Ordered } from '../../core/ordered.ts'
import { ascending } from '../../core/search.ts'
import { inViewOrder, type LiveFile, type Snapshot } from '../../table/snapshot.ts'
import type { Table } from '../../table/table.ts'
import { ORDER_TAG } from '../../table/tags.ts'
import { FileText } from './file-text.ts'
import { ropeOf } from './placement.ts'
import {
  type Block,
  blocksOf,
  type FileNode,
  type FileTexts,
  filesAt,
  type Leaf,
  leavesOf,
  placesOf,
  type Rope,
  textOrdering,
  within,
} from './rope.ts'
import { type Segments, type TextKind, textKind } from './segments.ts'
import { joined, type Text } from './text.ts'

export { csv } from '../../columns/text/formats/index.ts'

/** Files by other writers that are opened at the same time, to be measured. */
const OPENING_MAX = 4
/** A READ this near to the end of the one before goes on with it: clients send several at once, out of order. */
const SEQUENTIAL_BYTES = 4 << 20

/** A range is found in so many parts at a time, or a few more. */
const LEAF_RANGES_MAX = 256
/** Places of files that are worked out ahead: each may have a file to open. */
const PLACES_AHEAD = 16
/** Text that is read ahead, in bytes: less than is kept at hand. */
const AHEAD_BYTES = 24 << 20

/** A byte range, row-aligned. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** The text at one file's own place: its rows, and those that order hints put among them. */
export interface Section extends ByteRange {
  /** The file whose place it is. */
  readonly file: LiveFile
  /** All files that have rows in it, and `file`. */
  readonly files: ReadonlySet<LiveFile>
}

/** A physical row of a data file, or the place in front of all rows. */
export type RowPlace = 'start' | { readonly path: string; readonly row: number }

/** A leaf and the part of it that a range covers, as offsets in the live text of its piece. */
interface LeafRange {
  readonly leaf: Leaf
  readonly from: number
  readonly to: number
}

/** Some of them, at least one. */
type LeafRanges = [LeafRange, ...LeafRange[]]

/** The rope of another version, from which this one's is made. */
interface Base {
  readonly texts: FileTexts
  readonly rope: Promise<Rope>
}

/**
 * The text of a table at one version: the header, then the live rows of each file in view order, edited rows at their
 * places. Offsets are bytes; nothing is rendered before it is read.
 */
export class TableText implements Text {
  readonly snapshot: Snapshot
  readonly format: TextFormat
  /** The bytes in front of the rows. */
  readonly headerBytes: Uint8Array
  readonly size: number
  readonly #segments: Segments
  readonly #texts: FileTexts
  #base: Base | undefined
  #rope: Promise<Rope> | undefined
  #readEnd = 0

  /** `texts`: of the snapshot's files. `previous`: another version's text in the same format, under the same columns. */
  constructor(snapshot: Snapshot, format: TextFormat, segments: Segments, texts: FileTexts, previous?: TableText) {
    this.snapshot = snapshot
    this.format = format
    this.#segments = segments
    this.#texts = texts
    this.#base = previous?.knownRope
    this.headerBytes = format.header(snapshot.schema)
    const { frame } = format
    const around = frame === undefined ? 0 : (this.#bodySize === 0 ? frame.empty : frame.end).length
    this.size = this.headerBytes.length + this.#bodySize + around
  }

  /** Tells this text from others: the first version that has it (Snapshot.textVersion). */
  get version(): bigint {
    return this.snapshot.textVersion
  }

  /** The files' texts, for the next version. */
  get texts(): FileTexts {
    return this.#texts
  }

  /** The rope of this version, or of the nearest one before it that has been worked out, for the next version. */
  get knownRope(): Base | undefined {
    return this.#rope === undefined ? this.#base : { texts: this.#texts, rope: this.#rope }
  }

  get #bodySize(): number {
    return this.#texts.sum
  }

  async read(start: number, end: number): Promise<Uint8Array> {
    return joined(await this.parts(start, end))
  }

  async peek(start: number, end: number, buffer: Uint8Array): Promise<Uint8Array> {
    return joined(await this.parts(start, end), buffer)
  }

  /** The bytes [start, end), as `read` gives them, in parts that are views of what is cached. */
  async parts(start: number, end: number): Promise<Uint8Array[]> {
    const parts: Uint8Array[] = []
    const header = this.headerBytes.length
    if (start < header) parts.push(this.headerBytes.subarray(start, Math.min(end, header)))
    const from = Math.max(0, start - header)
    const to = Math.min(this.#bodySize, end - header)
    if (from < to) await this.#readBody(from, to, parts)
    if (this.format.frame !== undefined) this.#putFrame(this.format.frame, start, end, parts)
    return parts
  }

  /** The start of the row that holds the byte at `offset`. */
  async rowStart(offset: number): Promise<number> {
    const at = offset - this.headerBytes.length
    for await (const [{ leaf, from }] of this.#leafRanges(at, at + 1)) {
      return offset - from + (await leaf.text.offsetOf(leaf.piece, await leaf.text.rowAt(leaf.piece, from)))
    }
    return 0
  }

  /** The live rows behind row-aligned byte ranges: physical numbers, ascending, by file. */
  async rowsAt(ranges: readonly ByteRange[]): Promise<{ file: LiveFile; rows: Uint32Array }[]> {
    const found = new Map<FileText, Uint32Array[]>()
    const add = (text: FileText, rows: Uint32Array): void => {
      const known = found.get(text)
      if (known === undefined) found.set(text, [rows])
      else known.push(rows)
    }
    const header = this.headerBytes.length
    for (const range of ranges) {
      const start = range.start - header
      const end = range.end - header
      if (start <= 0 && end >= this.#bodySize) {
        for (const text of this.#texts) add(text, await text.liveRows(0, await text.rows()))
        continue
      }
      for await (const ranges of this.#leafRanges(start, end)) {
        for (const { leaf, from, to } of ranges) {
          const { text, piece } = leaf
          const whole = from === leaf.from && to === leaf.from + leaf.size
          const first = whole ? leaf.start : await text.rowAt(piece, from)
          const last = whole ? leaf.end : (await text.rowAt(piece, to - 1)) + 1
          const own = this.#textOf(text.file)
          add(own, await own.liveRows(first, last))
        }
      }
    }
    return [...found]
      .sort(([a], [b]) => inViewOrder(a.file, b.file))
      .map(([text, lists]) => ({ file: text.file, rows: lists.length === 1 ? lists[0]! : ascending(lists) }))
      .filter(({ rows }) => rows.length > 0)
  }

  /** The text that a file has in this version: a leaf may be of another one, in which the same of its rows are deleted. */
  #textOf(file: LiveFile): FileText {
    const text = this.#texts.find(other => inViewOrder(file, other.file))
    if (text === undefined) throw new Error(`${file.path} has rows in the view and is not in it`)
    return text
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
      for await (const [{ leaf, to }] of this.#leafRanges(at - 1, at)) {
        places.push({ path: leaf.text.file.path, row: await leaf.text.rowAt(leaf.piece, to - 1) })
      }
    }
    return places
  }

  /**
   * Of the text, cut by the files' places, the sections that have bytes of some ranges, and all that share files with those,
   * in order. What stands in front of all files belongs to the first section. Costs what is in them.
   */
  async sectionsOf(ranges: readonly ByteRange[]): Promise<Section[]> {
    const rope = await this.#ropeOf()
    const header = this.headerBytes.length
    const found = new Map<FileNode, ReadonlySet<FileNode>>()
    const waiting = ranges.flatMap(({ start, end }) => nodesWithin(rope, start - header, end - header))
    for (let node = waiting.pop(); node !== undefined; node = waiting.pop()) {
      if (found.has(node)) continue
      const nodes = await filesAt(rope, node)
      found.set(node, nodes)
      for (const other of nodes) waiting.push(...placesOf(rope, other))
    }
    const inOrder = [...found].sort(([a], [b]) => inViewOrder(a.text.file, b.text.file))
    return inOrder.map(([node, nodes]) => {
      const { file } = node.text
      const before = rope.nodes.sumBefore(other => inViewOrder(file, other.text.file))
      const end = header + rope.startBytes + before + node.size
      const start = node === rope.nodes.at(0) ? header : end - node.size
      return { start, end, file, files: new Set([...nodes].map(({ text }) => text.file)) }
    })
  }

  async #readBody(from: number, to: number, parts: Uint8Array[]): Promise<void> {
    const goesOn = from > 0 && Math.abs(from - this.#readEnd) <= SEQUENTIAL_BYTES
    this.#readEnd = to
    let missing = to - from
    for await (const ranges of this.#leafRanges(from, to)) {
      if (goesOn && missing === to - from) await this.#readAhead(ranges[0].leaf)
      for (const { leaf, from: start, to: end } of ranges) {
        const reading = leaf.text.read(leaf.piece, start, end, parts)
        if (reading !== undefined) await reading
        missing -= end - start
      }
    }
    if (missing > 0) throw new Error(`the text of version ${this.snapshot.version} lacks ${missing} bytes at ${from}`)
  }

  /** Has the pieces behind the one being read rendered, by all threads; beyond those, no more than a bound of bytes. */
  async #readAhead(leaf: Leaf): Promise<void> {
    const { parallel } = this.#segments
    const most = this.#segments.ahead(leaf.text.file)
    let begun = 0
    let bytes = 0
    let piece = leaf.piece + 1
    for (const text of this.#texts.from(other => inViewOrder(leaf.text.file, other.file))) {
      if (text.size > 0) {
        const pieces = await text.pieces()
        for (; piece < pieces.length; piece++) {
          bytes += pieces[piece]!.bytes
          if (begun >= most || (begun >= parallel && bytes > AHEAD_BYTES)) return
          text.prefetch(piece)
          begun++
        }
      }
      if (begun >= most) return
      piece = 0
    }
  }

  /** Puts what a frame has of the range [start, end) to the rows of it. A text with a frame has no header. */
  #putFrame(frame: Frame, start: number, end: number, parts: Uint8Array[]): void {
    if (this.#bodySize === 0) {
      parts.push(frame.empty.subarray(start, end))
      return
    }
    const [first] = parts
    if (start === 0 && first !== undefined && first.length > 0) {
      const copy = first.slice()
      copy[0] = frame.open
      parts[0] = copy
    }
    if (end > this.#bodySize) {
      parts.push(frame.end.subarray(Math.max(0, start - this.#bodySize), end - this.#bodySize))
    }
  }

  /** The ranges of leaves at the body offsets [from, to), in order, many at a time: a turn costs more than a small file's text. */
  async *#leafRanges(from: number, to: number): AsyncGenerator<LeafRanges> {
    let some: LeafRange[] = []
    const rope = await this.#ropeOf()
    for (const { blocks, start } of partsOf(rope, from, to)) {
      const known = blocks instanceof Promise ? await blocks : blocks
      for (const block of within(known, from - start, to - start)) {
        const leaves = leavesOf(rope, block)
        const blockStart = start + block.at
        cut(leaves instanceof Promise ? await leaves : leaves, from - blockStart, to - blockStart, some)
      }
      if (some.length < LEAF_RANGES_MAX) continue
      if (isSome(some)) yield some
      some = []
    }
    if (isSome(some)) yield some
  }

  #ropeOf(): Promise<Rope> {
    if (this.#rope === undefined) {
      this.#rope = this.#makeRope(this.#base)
      this.#rope.then(
        () => {
          this.#base = undefined
        },
        () => {
          this.#rope = undefined
        },
      )
    }
    return this.#rope
  }

  async #makeRope(base: Base | undefined): Promise<Rope> {
    const rope = await base?.rope.catch(() => undefined)
    const known = base && rope && { texts: base.texts, rope }
    return ropeOf(this.#texts, this.snapshot.live, this.#segments, known)
  }
}

function isSome(ranges: LeafRange[]): ranges is LeafRanges {
  return ranges.length > 0
}

/** The files whose sections have a part of the body offsets [from, to). */
function nodesWithin(rope: Rope, from: number, to: number): FileNode[] {
  if (from >= to) return []
  const found = [...placesWithin(rope, from, to)].map(({ node }) => node)
  return from < rope.startBytes ? [rope.nodes.at(0)!, ...found] : found
}

/** The blocks of a place, and the body offset of the first. */
interface PlacedBlocks {
  readonly blocks: readonly Block[] | Promise<readonly Block[]>
  readonly start: number
}

/** The blocks at the start and at the places of files that have a part of the body offsets [from, to). */
function* partsOf(rope: Rope, from: number, to: number): Generator<PlacedBlocks> {
  if (from < rope.startBytes) yield { blocks: rope.startBlocks, start: 0 }
  const ahead: PlacedBlocks[] = []
  for (const { node, start } of placesWithin(rope, from, to)) {
    const blocks = blocksOf(node)
    // Whoever comes to them hears of it.
    if (blocks instanceof Promise) blocks.catch(() => undefined)
    ahead.push({ blocks, start })
    if (ahead.length > PLACES_AHEAD) yield ahead.shift()!
  }
  yield* ahead
}

/** The files whose places have a part of the body offsets [from, to), and where these start. */
function* placesWithin(
  { nodes, startBytes }: Rope,
  from: number,
  to: number,
): Generator<{ readonly node: FileNode; readonly start: number }> {
  const first = nodes.atSum(Math.max(0, from - startBytes))
  if (first === undefined) return
  let start = startBytes + first.start
  for (const node of nodes.from(other => inViewOrder(first.item.text.file, other.text.file))) {
    if (start >= to) return
    if (node.size > 0) yield { node, start }
    start += node.size
  }
}

/** Puts what the leaves have of [from, to), offsets from the first of them, to `ranges`. */
function cut(leaves: readonly Leaf[], from: number, to: number, ranges: LeafRange[]): void {
  for (const leaf of within(leaves, from, to)) {
    const first = Math.max(0, from - leaf.at)
    const last = Math.min(leaf.size, to - leaf.at)
    ranges.push({ leaf, from: leaf.from + first, to: leaf.from + last })
  }
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
  const known = previous !== undefined && isAlike(kind, format, previous) ? previous : undefined
  let texts = known?.texts ?? Ordered.of(textOrdering)
  const unmeasured: { readonly file: LiveFile; readonly former: FileText | undefined }[] = []
  const opened: FileText[] = []
  for (const { before, after } of changedFiles(snapshot, known)) {
    const former = before && texts.find(text => inViewOrder(before, text.file))
    if (former !== undefined) texts = texts.without(former)
    if (after === undefined) continue
    const text = FileText.recorded(table, segments, kind, after)
    if (text === undefined) unmeasured.push({ file: after, former })
    else opened.push(text)
  }
  const measureSome = async (): Promise<void> => {
    for (let next = unmeasured.pop(); next !== undefined; next = unmeasured.pop())
      opened.push(await FileText.measured(table, segments, kind, next.file, next.former))
  }
  await Promise.all(Array.from({ length: OPENING_MAX }, measureSome))
  texts = texts.size === 0 ? Ordered.of(textOrdering, opened) : opened.reduce((all, text) => all.with(text), texts)
  return new TableText(snapshot, format, segments, texts, known)
}

/**
 * The first bytes of a table's text, about so many, where they can be had sooner than by opening it: text of other writers'
 * files is measured first. Undefined where they cannot. Rejects as `openText`.
 */
export async function firstBytes(
  snapshot: Snapshot,
  segments: Segments,
  format: TextFormat,
  bytes: number,
): Promise<Uint8Array | undefined> {
  const files = snapshot.live.toArray()
  const [first] = files
  const isPlain = format.frame === undefined && files.every(file => file.tag(ORDER_TAG) === undefined)
  if (first === undefined || first.vector !== undefined || !isPlain) return undefined
  const rows = await segments.firstRows(textKind(snapshot, format), first, bytes)
  return rows && joined([format.header(snapshot.schema), rows])
}

/** Returns the files of a version that a text does not have as they are, or all of them. */
function changedFiles({ live }: Snapshot, known: TableText | undefined): Iterable<Difference<LiveFile>> {
  if (known !== undefined) return live.changesSince(known.snapshot.live)
  return live.toArray().map(after => ({ before: undefined, after }))
}

function isAlike(kind: TextKind, format: TextFormat, { snapshot, format: other }: TableText): boolean {
  return (
    other === format &&
    snapshot.tableId === kind.tableId &&
    schemaFingerprint(snapshot.schema) === schemaFingerprint(kind.schema)
  )
}
