import { diffText, type RowText } from './edits/diff.ts'
import { eachRow } from './edits/multiset.ts'
import { isContinuation } from './lineage.ts'
import { RefusedChange } from './names.ts'
import type { Unseen } from './saves/outcome.ts'
import type { Seen, SeenTexts } from './seen-texts.ts'
import type { ByteRange, TableText } from './text/layout.ts'
import { isAt, joined, type Text } from './text/text.ts'

/*
 * Which text a program had read that wrote a whole new one: where other programs of its client were at work at the same time,
 * the server cannot know by the calls alone, as they share one cache. Rows that are in the new text say what was read; rows
 * that are not there say nothing, as they may have been taken out.
 */

/** Larger files are not compared with every text that may have been read. */
const COMPARED_BYTES_MAX = 64 << 20

/** The text that a rewrite is compared with, and the rows of it that are not its matter. */
export interface Base {
  readonly base: TableText
  readonly unseen?: Unseen
  readonly seen?: Seen
}

interface Compared {
  readonly seen: Seen
  readonly text: RowText
  /** Rows of the image that it has not, and of its own that the image has not. */
  readonly added: number
  readonly removed: number
  /** Rows of it are in the image. */
  readonly stays: boolean
  /** Of `text`. */
  readonly removedRanges: readonly ByteRange[]
}

/** Returns the text that a new one is a change of. RefusedChange if that cannot be told, and matters. */
export async function baseOf(name: string, seen: SeenTexts, image: Text, current: TableText): Promise<Base> {
  const { first, later } = seen
  const [only] = first
  const isSimple = first.length === 1 && later.length === 0 && only!.tail.length === 0
  if (isSimple || image.size > COMPARED_BYTES_MAX || !(await isAt(image, 0, current.headerBytes)))
    return asBase(first.at(-1)!, [], undefined, current)
  const compared = await Promise.all([...first, ...later].map(text => compare(text, image)))
  const found = bestOf(name, compared.slice(0, first.length), compared.slice(first.length))
  if (!found.seen.isWhole) throw cannotTell(name)
  return asBase(found.seen, found.removedRanges, found.text, current)
}

function asBase(seen: Seen, removed: readonly ByteRange[], known: Text | undefined, current: TableText): Base {
  const { text, size } = seen
  const own = known === undefined ? undefined : { text: known, ranges: removed.filter(({ end }) => end > size) }
  const unseen = { from: size, own }
  return { base: isContinuation(text, current) ? current : text, unseen, seen }
}

/**
 * The text of which the image has the fewest rows that are new. Of several it is the one that was opened last, unless
 * another one is missing less in the image: then the program may have taken rows away, or not have seen them.
 */
function bestOf(name: string, first: readonly Compared[], later: readonly Compared[]): Compared {
  const fewest = Math.min(...[...first, ...later].map(({ added }) => added))
  const likely = first.filter(({ added }) => added === fewest)
  const last = likely.at(-1)
  if (last === undefined) return later.find(({ added }) => added === fewest)!
  if (likely.some(({ removed }) => removed < last.removed)) throw cannotTell(name)
  // All rows are there in new forms, and so are those that came in while it worked.
  const isAnew = (one: Compared): boolean => !one.stays && one.added === fewest && one.added === one.removed
  return (isAnew(last) || last.stays ? undefined : later.find(isAnew)) ?? last
}

function cannotTell(name: string): RefusedChange {
  return new RefusedChange(
    'EIO',
    `${name}: the file that was to take its place was made while other programs of the same machine and of others changed the table, and may be missing rows that its program never saw; the table is as it was: do it again`,
  )
}

async function compare(seen: Seen, image: Text): Promise<Compared> {
  const { text: table, size, tail } = seen
  const text = tail.length === 0 && size === table.size ? table : await known(seen)
  const start = table.headerBytes.length
  const { removed, added } = await diffText(text, image, { cut: table.format.cut, baseStart: start, imageStart: start })
  const rowsIn = (of: Text, ranges: readonly ByteRange[]): Promise<number> =>
    eachRow(of, ranges, table.format.cut, () => undefined)
  const [come, gone] = await Promise.all([rowsIn(image, added), rowsIn(text, removed)])
  const [all] = removed
  const stays = removed.length !== 1 || all!.start > start || all!.end < text.size
  return { seen, text, added: come, removed: gone, stays, removedRanges: removed }
}

/** The first bytes of a table's text, and the rows of `tail` behind them. */
async function known({ text: table, size, tail }: Seen): Promise<RowText> {
  const starts: number[] = []
  await eachRow(
    { size: tail.length, read: async (start, end) => tail.subarray(start, end) },
    [{ start: 0, end: tail.length }],
    table.format.cut,
    (_row, _bytes, start, _end, at) => {
      starts.push(size + at + start)
    },
  )
  return {
    size: size + tail.length,
    read: async (start, end) => {
      const parts = start < size ? [await table.read(start, Math.min(end, size))] : []
      if (end > size) parts.push(tail.subarray(Math.max(0, start - size), end - size))
      return joined(parts)
    },
    rowStart: async offset => (offset < size ? table.rowStart(offset) : starts.findLast(start => start <= offset)!),
  }
}
