import type { ClientView, Range, Told } from '../ends-of-file.ts'
import type { TableText } from '../text/layout.ts'
import type { Text } from '../text/text.ts'

/*
 * What a WRITE means: which of its bytes its client had before, and which are new. A kernel's client sends whole pages from
 * their start, so that an append looks like a change of all that stands in front of it. Pure but for reading texts.
 */

const NEWLINE = 10

/** Where a WRITE belongs. */
export interface WritePlace {
  /** The text that it changes. */
  readonly base: TableText
  /** Its bytes in front of `end` go where they say: it changes them. Otherwise its client has them there, and they stay. */
  readonly isChange: boolean
  /** Where its client takes the end of the file to be: what it has beyond that comes behind the end. */
  readonly end: number
}

/** The texts of the file that a WRITE goes to. */
export interface Texts {
  readonly current: TableText
  /** That of a version, or undefined if the table no longer has it. */
  at(version: bigint): Promise<TableText | undefined>
}

/**
 * Where a WRITE belongs by what its client was told, has read and has written; undefined if that does not tell. It begins
 * behind, or has in front, just what the client has; the rest is new.
 */
export async function placeByView(
  view: ClientView,
  offset: number,
  bytes: Uint8Array,
  texts: Texts,
): Promise<WritePlace | undefined> {
  const { current } = texts
  const stop = offset + bytes.length
  const ends = endsOf(view)
  const behind = (end: number): WritePlace => ({ base: current, isChange: false, end })
  const furthest = Math.max(...ends)
  // Pages of one flush come in any order.
  if (offset > furthest) return behind(furthest)
  const fits = (known: number): number | undefined =>
    known === stop ? stop : lastOf(ends.filter(end => end >= offset && end <= known))
  for (const { source, end } of view.known) {
    if (typeof source !== 'bigint') continue
    // Rows in front of an end mostly stay where they are.
    const here = fits(await knownUpTo(view, offset, bytes, current, Math.min(end, current.size)))
    if (here !== undefined) return behind(here)
    const text = source === current.snapshot.version ? undefined : await texts.at(source)
    const there = text && fits(await knownUpTo(view, offset, bytes, text, Math.min(end, text.size)))
    if (there !== undefined) return behind(there)
  }
  const own = fits(await knownUpTo(view, offset, bytes, undefined, 0))
  if (own !== undefined) return behind(own)
  const told = await endByTold(view, offset, bytes, texts)
  return told === undefined ? undefined : behind(told)
}

/** The text whose bytes from `offset` on a client has read, the newest one: it changes them. */
export async function changedText(view: ClientView, offset: number, texts: Texts): Promise<TableText | undefined> {
  for (const { source, end } of view.known) {
    if (typeof source !== 'bigint' || end <= offset) continue
    const text = source === texts.current.snapshot.version ? texts.current : await texts.at(source)
    if (text !== undefined) return text
  }
  return undefined
}

/**
 * The same by the texts of the versions that it was told of: it knows them by another way than a READ that was seen, as
 * where the server was started anew. Bytes of others, and more behind them, are no coincidence.
 */
async function endByTold(
  view: ClientView,
  offset: number,
  bytes: Uint8Array,
  texts: Texts,
): Promise<number | undefined> {
  const stop = offset + bytes.length
  const fitting: number[] = []
  for (const { size, version } of view.told) {
    if (version === undefined || size < offset || size > stop) continue
    const text = version === texts.current.snapshot.version ? texts.current : await texts.at(version)
    if (text !== undefined && (await knownUpTo(view, offset, bytes, text, size)) >= size) fitting.push(size)
  }
  return lastOf(fitting.filter(size => size < stop)) ?? lastOf(fitting)
}

/** Sizes at which a client may append. */
function endsOf({ told }: ClientView): number[] {
  return told.map(({ size }) => size)
}

function lastOf(ends: readonly number[]): number | undefined {
  return ends.length === 0 ? undefined : Math.max(...ends)
}

/**
 * Up to where a client had the bytes of a WRITE: they are those of a text up to `end`, its own, or NULs in front of an end
 * that it was told, where it has read nothing (Linux fills its page with them).
 */
async function knownUpTo(
  view: ClientView,
  offset: number,
  bytes: Uint8Array,
  text: Text | undefined,
  end: number,
): Promise<number> {
  const stop = offset + bytes.length
  const there = text === undefined || end <= offset ? undefined : await text.read(offset, Math.min(end, stop))
  let at = offset
  for (;;) {
    const before = at
    if (there !== undefined) at += matching(bytes, at - offset, there, at - offset)
    for (const own of view.own) {
      if (own.offset <= at && at < own.offset + own.bytes.length) {
        at += matching(bytes, at - offset, own.bytes, at - own.offset)
      }
    }
    at = gapEnd(view, offset, bytes, at)
    if (at === before || at === stop) return at
  }
}

/** Whether a WRITE has, up to an end that a client was told, what that client has in front of it. */
export async function isBehind(
  view: ClientView,
  { size, version }: Told,
  offset: number,
  bytes: Uint8Array,
  texts: Texts,
): Promise<boolean> {
  if (size < offset || size >= offset + bytes.length) return false
  if ((await knownUpTo(view, offset, bytes, texts.current, Math.min(size, texts.current.size))) >= size) return true
  if (version === undefined || version === texts.current.snapshot.version) return false
  const text = await texts.at(version)
  return text !== undefined && (await knownUpTo(view, offset, bytes, text, size)) >= size
}

/** How many bytes are the same from two places on. */
function matching(left: Uint8Array, leftAt: number, right: Uint8Array, rightAt: number): number {
  const length = Math.min(left.length - leftAt, right.length - rightAt)
  if (length <= 0) return 0
  const [a, b] = [left.subarray(leftAt, leftAt + length), right.subarray(rightAt, rightAt + length)]
  if (Buffer.compare(a, b) === 0) return length
  let same = 0
  while (a[same] === b[same]) same++
  return same
}

/** The last end in a run of NULs that begins at a row's start; `at` if there is none. */
function gapEnd(view: ClientView, offset: number, bytes: Uint8Array, at: number): number {
  if (bytes[at - offset] !== 0 || (at > offset && bytes[at - offset - 1] !== NEWLINE)) return at
  let stop = at - offset
  while (bytes[stop] === 0) stop++
  return lastOf(endsOf(view).filter(end => end > at && end <= offset + stop)) ?? at
}

/** Runs of NULs behind `from` that a client has never written: it was told of rows there that it has not read. */
export function gapsIn(view: ClientView, offset: number, bytes: Uint8Array, from: number): Range[] {
  const gaps: Range[] = []
  let next = bytes.indexOf(0, Math.max(0, from - offset))
  while (next !== -1) {
    const start = offset + next
    const end = gapEnd(view, offset, bytes, start)
    if (end > start) gaps.push({ start, end })
    next = bytes.indexOf(0, Math.max(end - offset, next + 1))
  }
  return gaps
}
