import type { Ordered, Ordering } from '../../core/ordered.ts'
import { firstIndex } from '../../core/search.ts'
import { type RowRange, shownRows } from '../../table/placed-rows.ts'
import { type FilePlace, inViewOrder } from '../../table/snapshot.ts'
import type { FileText } from './file-text.ts'
import type { PieceSize } from './segments.ts'

/** Rows that an order hint puts behind a row of another file, or at the start of the table. */
export interface Attached extends RowRange {
  /** The file that they are of. */
  readonly file: FilePlace
  /** Bytes of the live ones, and of what hangs on them; never 0. */
  readonly bytes: number
}

/** The rows that stand behind one row: those of later files first. */
export interface Anchor {
  readonly row: number
  readonly attached: readonly Attached[]
}

/** Rows of a file that stand elsewhere. */
export interface Run extends RowRange {
  /** The file behind a row of which they stand; undefined: the start of the table. */
  readonly target: FilePlace | undefined
  readonly row: number
  /** Of the live rows alone. */
  readonly bytes: number
  /** With what hangs on them. */
  readonly total: number
}

/** A file in the rope. It never changes, nor does what hangs on it: then there is another one in its place. */
export class FileNode {
  readonly text: FileText
  /** Rows that stand at the file's own place; undefined: all of them. */
  readonly own: readonly RowRange[] | undefined
  readonly runs: readonly Run[]
  /** The rows that hang on its own rows, in the order of these. */
  readonly anchors: readonly Anchor[]
  /** Bytes at the file's own place, with what hangs on the rows there. */
  readonly size: number
  /** The blocks at the file's own place, worked out when somebody reads there. */
  blocks: readonly Block[] | Promise<readonly Block[]> | undefined

  constructor({ text, own, runs, anchors, size }: Omit<FileNode, 'blocks'>) {
    this.text = text
    this.own = own
    this.runs = runs
    this.anchors = anchors
    this.size = size
  }
}

/**
 * Rows that stand next to each other both in the view and in one piece of one file. `text` may be the file's of an earlier
 * version: then the same of these rows are deleted in it.
 */
export interface Leaf extends RowRange {
  readonly text: FileText
  readonly piece: number
  /** Offset in the live text of the piece. */
  readonly from: number
  /** Offset from the first leaf of the block. */
  readonly at: number
  readonly size: number
}

/** Some rows of one file with what hangs on them; cut into leaves when somebody reads there. */
export interface Block {
  readonly file: FilePlace
  readonly root: RowRange
  /** Offset from the first block of the place. */
  readonly at: number
  readonly size: number
  leaves: readonly Leaf[] | Promise<readonly Leaf[]> | undefined
}

/** The places of all rows of a version: at the start, then at the files' places. Ropes share what is the same. */
export interface Rope {
  readonly nodes: Ordered<FileNode>
  readonly start: readonly Attached[]
  readonly startBlocks: readonly Block[]
  readonly startBytes: number
  /** Files that hints name where no row of theirs can be: if they come (again), all places are worked out anew. */
  readonly unresolved: ReadonlySet<string>
}

/** The texts of a version's files, in view order. */
export type FileTexts = Ordered<FileText>

export const textOrdering: Ordering<FileText> = {
  compare: (a, b) => inViewOrder(a.file, b.file),
  hash: ({ file }) => file.hash,
  measure: ({ size }) => size,
}
export const nodeOrdering: Ordering<FileNode> = {
  compare: (a, b) => inViewOrder(a.text.file, b.text.file),
  hash: ({ text }) => text.file.hash,
  measure: ({ size }) => size,
}

/** The node of a file, if it is in the rope. */
export function nodeAt(nodes: Ordered<FileNode>, file: FilePlace): FileNode | undefined {
  return nodes.find(node => inViewOrder(file, node.text.file))
}

/** The run that a row is part of, if it does not stand at its file's own place. */
export function runAt<R extends RowRange>(runs: readonly R[], row: number): R | undefined {
  const found = runs[firstIndex(runs.length, i => runs[i]!.end > row)]
  return found !== undefined && found.start <= row ? found : undefined
}

/** Bytes of attached rows, with what hangs on them. */
export function bytesOf(attached: readonly Attached[]): number {
  return attached.reduce((sum, { bytes }) => sum + bytes, 0)
}

/** Returns the blocks of rows that stand at the start of the table. */
export function startBlocks(attached: readonly Attached[]): readonly Block[] {
  let at = 0
  return attached.map(root => {
    const block = { file: root.file, root, at, size: root.bytes, leaves: undefined }
    at += root.bytes
    return block
  })
}

/** The parts that have some of the bytes [from, to), as offsets from the first of all parts. */
export function* within<P extends { readonly at: number; readonly size: number }>(
  parts: readonly P[],
  from: number,
  to: number,
): Generator<P> {
  for (let i = firstIndex(parts.length, n => parts[n]!.at + parts[n]!.size > from); i < parts.length; i++) {
    const part = parts[i]!
    if (part.at >= to) return
    yield part
  }
}

/** Returns the blocks at a file's own place, cut by the pieces of its text; no promise once they are known: there may be many. */
export function blocksOf(node: FileNode): readonly Block[] | Promise<readonly Block[]> {
  node.blocks ??= findBlocks(node).then(
    blocks => {
      node.blocks = blocks
      return blocks
    },
    error => {
      node.blocks = undefined
      throw error
    },
  )
  return node.blocks
}

async function findBlocks({ text, own, anchors }: FileNode): Promise<readonly Block[]> {
  const pieces = await text.pieces()
  const blocks: Block[] = []
  let next = 0
  let at = 0
  for (const range of own ?? [{ start: 0, end: await text.rows() }]) {
    for (let i = pieceAt(pieces, range.start); i < pieces.length && pieces[i]!.firstRow < range.end; i++) {
      const piece = pieces[i]!
      const start = Math.max(range.start, piece.firstRow)
      const end = Math.min(range.end, piece.firstRow + piece.rows)
      let size = await text.liveBytes(start, end)
      while (next < anchors.length && anchors[next]!.row < start) next++
      for (; next < anchors.length && anchors[next]!.row < end; next++) size += bytesOf(anchors[next]!.attached)
      if (size > 0) blocks.push({ file: text.file, root: { start, end }, at, size, leaves: undefined })
      at += size
    }
  }
  return blocks
}

/** The leaves of a block of a rope; no promise once they are known. */
export function leavesOf({ nodes }: Rope, block: Block): readonly Leaf[] | Promise<readonly Leaf[]> {
  block.leaves ??= findLeaves(nodes, block).then(
    leaves => {
      block.leaves = leaves
      return leaves
    },
    error => {
      block.leaves = undefined
      throw error
    },
  )
  return block.leaves
}

async function findLeaves(nodes: Ordered<FileNode>, { file, root }: Block): Promise<readonly Leaf[]> {
  const leaves: Leaf[] = []
  const offsets = new Map<FileText, ((row: number) => number)[]>()
  let at = 0
  for (const { node, start, end } of inOrder(nodes, { ...root, file })) {
    const { text } = node
    const pieces = await text.pieces()
    for (let i = pieceAt(pieces, start); i < pieces.length && pieces[i]!.firstRow < end; i++) {
      const piece = pieces[i]!
      const rowStart = Math.max(start, piece.firstRow)
      const rowEnd = Math.min(end, piece.firstRow + piece.rows)
      let from = 0
      let size: number
      if (rowEnd - rowStart === piece.rows) size = await text.offsetOf(i, rowEnd)
      else {
        const known = offsets.get(text) ?? []
        offsets.set(text, known)
        const offsetOf = known[i] ?? (await text.offsetsIn(i))
        known[i] = offsetOf
        from = offsetOf(rowStart)
        size = offsetOf(rowEnd) - from
      }
      if (size > 0) leaves.push({ text, piece: i, start: rowStart, end: rowEnd, from, at, size })
      at += size
    }
  }
  return leaves
}

/** The piece that holds a row, or the first one behind it. */
function pieceAt(pieces: readonly PieceSize[], row: number): number {
  return firstIndex(pieces.length, i => pieces[i]!.firstRow + pieces[i]!.rows > row)
}

/** The rows of a range with what hangs on them, in the order in which they are shown. */
function inOrder(
  nodes: Ordered<FileNode>,
  range: RowRange & { readonly file: FilePlace },
): (RowRange & { readonly node: FileNode })[] {
  return shownRows(range, file => {
    const node = nodeAt(nodes, file)
    if (node === undefined) throw new Error(`${file.path} has rows in the view and is not in it`)
    return node
  })
}

/** The files that have rows at a file's own place, and that file. What stands at the start is at the first file's place. */
export async function filesAt(rope: Rope, node: FileNode): Promise<ReadonlySet<FileNode>> {
  const { file } = node.text
  const ranges: (RowRange & { readonly file: FilePlace })[] = node === rope.nodes.at(0) ? [...rope.start] : []
  for (const range of node.own ?? [{ start: 0, end: await node.text.rows() }]) ranges.push({ ...range, file })
  const found = new Set([node])
  for (const range of ranges) for (const { node: other } of inOrder(rope.nodes, range)) found.add(other)
  return found
}

/** The files at whose own places a file has rows in the end, and the file itself. */
export function placesOf({ nodes }: Rope, node: FileNode): ReadonlySet<FileNode> {
  const places = new Set([node])
  for (const run of node.runs) {
    let place: FileNode | undefined
    // The run at which another one stands may stand at one itself. Hints lead to earlier files, so that this ends.
    for (let at: Run | undefined = run; at !== undefined; ) {
      const { target, row }: Run = at
      place = target === undefined ? nodes.at(0) : nodeAt(nodes, target)
      at = target === undefined || place === undefined ? undefined : runAt(place.runs, row)
    }
    // Otherwise nothing of it is left to be seen.
    if (place !== undefined) places.add(place)
  }
  return places
}
