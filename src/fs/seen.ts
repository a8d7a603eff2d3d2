import type { RowCut } from '../columns/text/formats/index.ts'
import { diffText, type RowText } from './edits/diff.ts'
import { eachRow } from './edits/multiset.ts'
import { OPENED_MS } from './known-texts.ts'
import { isContinuation, type Lineage } from './lineage.ts'
import { RefusedChange } from './names.ts'
import type { Unseen } from './saves/outcome.ts'
import type { BroughtBehind } from './saves/renames.ts'
import { type Seen, type SeenTexts, seenWhole } from './seen-texts.ts'
import type { ByteRange, TableText } from './text/layout.ts'
import { bytesText, isAt, joined, type Text } from './text/text.ts'

/*
 * Which text a program had read that wrote a whole new one: where other programs of its client were at work at the same time,
 * the server cannot know by the calls alone, as they share one cache. Rows that are in the new text say what was read; rows
 * that are not there say nothing, as they may have been taken out.
 */

/** So many bytes of texts that may have been read are compared at most. */
const COMPARED_BYTES_MAX = 4 * 2 ** 30
const COMMA = 0x2c
/** Versions of the moment before a file was begun that are looked at. */
const OPENED_MAX = 16

/** The text that a rewrite is compared with, and the rows of it that are not its matter. */
export interface Base {
  readonly base: TableText
  readonly unseen?: Unseen
  /** Ends behind which rows may have been in its client's cache that were not in the table yet. */
  readonly behind?: readonly BroughtBehind[]
}

/**
 * Returns the texts that the name led to in the moment before a program's file was begun (`sinceMs`), the oldest first, but for the newest:
 * the program may have opened one of them, and read it in its client's cache. RefusedChange if these are too many.
 */
export async function mayHaveRead(
  name: string,
  lineage: Lineage,
  sinceMs: number,
  textOf: (version: bigint) => Promise<TableText>,
): Promise<Seen[]> {
  const texts: Seen[] = []
  for (let text = await textOf(lineage.version); text.snapshot.version > 0n; ) {
    if (text.snapshot.timestampMs < Math.floor(sinceMs) - OPENED_MS) break
    if (texts.length === OPENED_MAX) throw diedMeanwhile(name)
    text = await textOf(text.snapshot.version - 1n)
    texts.unshift(seenWhole(lineage, text))
  }
  return texts
}

interface Compared {
  readonly seen: Seen
  readonly text: RowText
  /** Rows of the image that it has not, and of its own that the image has not. */
  readonly added: number
  readonly removed: number
  /** Rows of it are in the image. */
  readonly stays: boolean
  /** Of `text`, and of the image. */
  readonly removedRanges: readonly ByteRange[]
  readonly addedRanges: readonly ByteRange[]
}

/**
 * Returns the text that a new one is a change of, of a file that was begun at the moment `sinceMs`. RefusedChange if that cannot be told,
 * and matters.
 */
export async function baseOf(
  name: string,
  seen: SeenTexts,
  image: Text,
  current: TableText,
  sinceMs: number,
): Promise<Base> {
  const { first, later } = seen
  const [only] = first
  const isSimple = first.length === 1 && later.length === 0 && only!.tail.length === 0
  if (isSimple || !(await isAt(image, 0, current.headerBytes))) return asBase(first.at(-1)!, [], undefined, current)
  if (image.size * (first.length + later.length) > COMPARED_BYTES_MAX) throw cannotTell(name)
  const compareAll = (texts: readonly Seen[]): Promise<Compared[]> =>
    Promise.all(texts.map(text => compare(text, image)))
  const [atFirst, since] = await Promise.all([compareAll(first), compareAll(later)])
  const found = bestOf(name, atFirst, since)
  const all = [...atFirst, ...since]
  const isInDoubt =
    !found.seen.isWhole ||
    (await fitsAnother(found, all)) ||
    (await changesAnother(found, all, image)) ||
    (await takesLater(found, sinceMs))
  if (isInDoubt) throw cannotTell(name)
  return asBase(found.seen, found.removedRanges, found.text, current)
}

function asBase(seen: Seen, removed: readonly ByteRange[], known: Text | undefined, current: TableText): Base {
  const { text, size } = seen
  const own = known === undefined ? undefined : { text: known, ranges: removed.filter(({ end }) => end > size) }
  const unseen = { from: size, own }
  const behind = [{ line: String(seen.lineage.id), end: size + seen.tail.length }]
  return { base: isContinuation(text, current) ? current : text, unseen, behind }
}

/**
 * The text of which the image has the fewest rows that are new. Of several it is the one that was opened last, unless
 * another one is missing less in the image: then the program may have taken rows away, or not have seen them.
 */
function bestOf(name: string, first: readonly Compared[], later: readonly Compared[]): Compared {
  const fewest = Math.min(...[...first, ...later].map(({ added }) => added))
  const likely = first.filter(({ added }) => added === fewest)
  const last = likely.at(-1)
  const laterLikely = later.filter(({ added }) => added === fewest)
  const [chosen, others] = last === undefined ? [laterLikely[0]!, laterLikely] : [last, likely]
  if (others.some(({ removed }) => removed < chosen.removed)) throw cannotTell(name)
  if (last === undefined) return chosen
  // All rows are there in new forms, and so are those that came in while it worked.
  const isAnew = (one: Compared): boolean => !one.stays && one.added === fewest && one.added === one.removed
  const found = (isAnew(last) || last.stays ? undefined : later.find(isAnew)) ?? last
  // Its client has read another one anew, of which the program may have had the bytes.
  if (laterLikely.some(({ removed }) => removed < found.removed)) throw cannotTell(name)
  return found
}

/** True if a new text that takes rows away without new ones in their place fits another text as well, and takes others out of that. */
async function fitsAnother(found: Compared, others: readonly Compared[]): Promise<boolean> {
  if (found.removed <= found.added) return false
  const removedFrom = async ({ text, removedRanges }: Compared): Promise<Uint8Array> =>
    joined(await Promise.all(removedRanges.map(({ start, end }) => text.read(start, end))))
  const rows = await removedFrom(found)
  for (const other of others)
    if (other.added === found.added && other.removed === found.removed)
      if (Buffer.compare(await removedFrom(other), rows) !== 0) return true
  return false
}

/**
 * True if a row that is new to the text found is one of another text in a new form, as their first fields say: to put it there as a
 * new one would double it, to take the other away might lose one that nobody has seen.
 */
async function changesAnother(found: Compared, others: readonly Compared[], image: Text): Promise<boolean> {
  if (found.added <= found.removed) return false
  for (const other of others) {
    if (other.added !== found.added || other.removed <= found.removed || other.removed > other.added) continue
    const { cut } = other.seen.front.format
    const come = await firstFields(image, other.addedRanges, cut)
    const gone = await firstFields(other.text, other.removedRanges, cut)
    if ([...gone].every(field => come.has(field))) return true
  }
  return false
}

/**
 * True if rows would be taken away that came into the table behind the moment `sinceMs`, when the new text was begun: its program
 * may have read them a moment later, but as a rule it has not.
 */
async function takesLater({ seen, added, removed, removedRanges }: Compared, sinceMs: number): Promise<boolean> {
  if (removed <= added) return false
  const { front, size, text } = seen
  const isOwn = ({ end }: ByteRange): boolean => end > size
  if (removedRanges.some(isOwn) && text.snapshot.timestampMs > sinceMs) return true
  const taken = await front.rowsAt(
    removedRanges.flatMap(({ start, end }) => (start < size ? [{ start, end: Math.min(end, size) }] : [])),
  )
  return taken.some(({ file }) => file.modificationTime > sinceMs)
}

/** The first fields of some rows, as they stand there. */
async function firstFields(text: Text, ranges: readonly ByteRange[], cut: RowCut): Promise<Set<string>> {
  const fields = new Set<string>()
  await eachRow(text, ranges, cut, (_row, bytes, start, end) => {
    const row = bytes.subarray(start, end)
    const comma = row.indexOf(COMMA)
    fields.add(new TextDecoder().decode(comma < 0 ? row : row.subarray(0, comma)))
  })
  return fields
}

/** Returns the refusal of a file that was begun before the server died, where what its program had read is not known any more. */
export function diedMeanwhile(name: string): RefusedChange {
  return cannotTell(name, 'while the table changed, before the server was started anew')
}

/** Returns the refusal of a file that was made `when` something happened which may have hidden rows from its program. */
function cannotTell(
  name: string,
  when = 'while other programs of the same machine and of others changed the table',
): RefusedChange {
  return new RefusedChange(
    'EIO',
    `${name}: the file that was to take its place was made ${when}, and may be missing rows that its program never saw; the table is as it was: do it again`,
  )
}

async function compare(seen: Seen, image: Text): Promise<Compared> {
  const { front: table, size, tail } = seen
  const text = tail.length === 0 && size === table.size ? table : await known(seen)
  const start = table.headerBytes.length
  const { removed, added } = await diffText(text, image, { cut: table.format.cut, baseStart: start, imageStart: start })
  const rowsIn = (of: Text, ranges: readonly ByteRange[]): Promise<number> =>
    eachRow(of, ranges, table.format.cut, () => undefined)
  const [come, gone] = await Promise.all([rowsIn(image, added), rowsIn(text, removed)])
  const [all] = removed
  const stays = removed.length !== 1 || all!.start > start || all!.end < text.size
  return { seen, text, added: come, removed: gone, stays, removedRanges: removed, addedRanges: added }
}

/** The first bytes of a version's text, and the rows of `tail` behind them. */
async function known({ front: table, size, tail }: Seen): Promise<RowText> {
  const starts: number[] = []
  await eachRow(
    bytesText(tail),
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
