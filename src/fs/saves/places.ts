import type { EditPlan } from '../edits/plan.ts'
import {
  clientKey,
  endOfImage,
  type FileClient,
  OWN_BYTES_MAX,
  type Own,
  type Range,
  type Settled,
} from '../ends-of-file.ts'
import { FsError } from '../filesystem.ts'
import type { TableText } from '../text/layout.ts'
import { isAt } from '../text/text.ts'
import { type Edit, isWholeAppend } from './edit.ts'
import { isAppend } from './outcome.ts'
import { gapsIn, type WritePlace } from './writing.ts'

/*
 * Where the WRITEs of several clients belong in one save: each writes behind what it takes for the end of the file.
 */

const NEWLINE = 10

/** What a WRITE brings. */
export interface Written {
  readonly offset: number
  readonly bytes: Uint8Array
  readonly caller: FileClient
  /** Where it belongs by itself: others of its client in the same save may say where that is there. */
  place?: WritePlace | undefined
}

/** Where a client writes in a save. */
export interface ClientPlace {
  /** Its bytes in front of `end` go where they say; otherwise they are left out. */
  readonly isChange: boolean
  /** What it writes behind `end`, as it counts, stands in the image from `at` on. */
  readonly end: number
  /** Undefined until its first bytes are there. */
  at: number | undefined
  /** Behind `end`, as it counts: bytes that it has never written and that are left out. In their order. */
  readonly gaps: Range[]
  /** From where and up to where it has written. */
  start: number
  written: number
  /** The newest first. */
  own: Own[]
}

/** The place of a client that writes where it says. */
export function placeAtOffset({ size }: TableText): ClientPlace {
  return newPlace(true, size, size)
}

function newPlace(isChange: boolean, end: number, at: number | undefined): ClientPlace {
  return { isChange, end, at, gaps: [], start: Number.POSITIVE_INFINITY, written: 0, own: [] }
}

/** Gives a client its place in a save. FsError EJUKEBOX if another one is in the middle of it. */
export async function joinSave(
  edit: Edit,
  key: string,
  place: WritePlace,
  isUnderWay: boolean,
  writes: readonly Written[],
): Promise<void> {
  const { base, places, line } = edit
  const [first] = places.values()
  const there = places.get(key)
  if (there !== undefined) {
    // What was written behind an earlier end has no room in front of what was written behind a later one.
    if (place.isChange || place.end === there.end || place.end >= there.written) return
    throw new FsError('EJUKEBOX', `data.${line.format}: its client is in the middle of a save; ask again`)
  }
  if (!isUnderWay) places.set(key, newPlace(place.isChange, place.isChange ? base.size : place.end, undefined))
  else if (first !== undefined && (await isOthers(edit, place, writes))) {
    throw new FsError('EJUKEBOX', `data.${line.format}: another client is in the middle of a save; ask again`)
  }
  // Its client has connected anew, or has several connections.
  else places.set(key, first ?? placeAtOffset(base))
}

/**
 * Whether a client writes behind an end that is in front of what it has written already, behind another one, in a save of
 * whole rows: what follows is a save of its own then, as there is no room for it in this one.
 */
export async function isBehindEarlier(edit: Edit, places: ReadonlyMap<string, WritePlace>): Promise<boolean> {
  const isEarlier = [...places].some(([key, { isChange, end }]) => {
    const there = edit.places.get(key)
    if (there === undefined || isChange || end === there.end) return false
    return end < there.written
  })
  return isEarlier && edit.image.firstHole() === undefined && (await isWholeAppend(edit))
}

/** FsError EJUKEBOX if what several clients wrote cannot be one save: each of theirs is one then. */
export function checkTogether(
  base: TableText,
  places: ReadonlyMap<string, WritePlace>,
  writes: readonly Written[],
): void {
  const isOfOther = [...places.values()].some(place => place.isChange && place.base !== base)
  // A row that is not whole would go on in that of another client.
  const isPart = [...places.keys()].some(
    key => writes.findLast(({ caller }) => clientKey(caller) === key)?.bytes.at(-1) !== NEWLINE,
  )
  if (isOfOther || isPart) throw new FsError('EJUKEBOX', 'the writes of several clients are no single save')
}

/** Whether WRITEs to a save that is under way are appends of somebody else, and no part of it that comes once more. */
async function isOthers(edit: Edit, { isChange, end }: WritePlace, writes: readonly Written[]): Promise<boolean> {
  const [first] = writes
  if (isChange || first === undefined) return false
  if (first.offset > end || first.offset + first.bytes.length <= end) return false
  if (edit.truncated) return true
  const hole = edit.image.firstHole()
  if (hole !== undefined && hole.start <= first.offset + first.bytes.length + edit.base.size - end) return false
  const tail = first.bytes.subarray(end - first.offset)
  const there = await edit.image.read(edit.base.size, Math.min(edit.image.size, edit.base.size + tail.length))
  return there.length === 0 || Buffer.compare(there, tail.subarray(0, there.length)) !== 0
}

/** The parts of a WRITE, each at its place in the image: what its client takes to be behind the end is behind the end. */
export function placed(
  edit: Edit,
  { offset, bytes, caller, place: own }: Written,
): { offset: number; bytes: Uint8Array }[] {
  const place = edit.places.get(clientKey(caller))
  if (place === undefined) return [{ offset, bytes }]
  const stop = offset + bytes.length
  const behind = Math.max(place.end, place.written)
  // It was told of rows of others behind what it had written.
  if (own?.isChange === false && own.end > behind) place.gaps.push({ start: behind, end: own.end })
  place.at ??= edit.image.size
  place.start = Math.min(place.start, offset)
  const parts = []
  // In front of its end a client may have changed the text that the others have, too.
  const known = Math.min(bytes.length, Math.max(0, place.end - offset))
  const isChange = place.isChange || own?.isChange === true
  if (known > 0 && isChange) parts.push({ offset, bytes: bytes.subarray(0, known) })
  if (known < bytes.length) {
    const view = edit.line.ends.of(caller)
    const gaps = view === undefined || edit.truncated ? [] : gapsIn(view, offset, bytes, place.end)
    const last = place.gaps.at(-1)?.end ?? 0
    for (const gap of gaps) if (gap.start >= Math.max(last, place.written)) place.gaps.push(gap)
    let from = offset + known
    for (const gap of [...place.gaps, { start: stop, end: stop }]) {
      if (gap.end <= from && gap.start < stop) continue
      const to = Math.min(gap.start, stop)
      if (to > from) parts.push({ offset: inImage(place, from), bytes: bytes.subarray(from - offset, to - offset) })
      from = Math.max(from, Math.min(gap.end, stop))
    }
  }
  place.written = Math.max(place.written, stop)
  if (!edit.truncated) noteOwn(place, isChange ? offset : offset + known, bytes.subarray(isChange ? 0 : known))
  return parts
}

/** Where a byte behind a client's end stands. */
function inImage({ end, at, gaps }: ClientPlace, offset: number): number {
  const left = gaps.reduce((sum, gap) => (gap.end <= offset ? sum + gap.end - gap.start : sum), 0)
  return at! + offset - end - left
}

function noteOwn(place: ClientPlace, offset: number, bytes: Uint8Array): void {
  if (bytes.length === 0) return
  const own = { offset, bytes: bytes.slice() }
  let left = OWN_BYTES_MAX
  place.own = [own, ...place.own].filter(({ bytes: { length } }) => {
    left -= length
    return left + length > 0
  })
}

/**
 * A save is over: what its clients take the file for now, until they are told. At once, as their next WRITEs may be
 * here already. `isSame`: the text is the image, byte for byte.
 */
export async function noteEnds(edit: Edit, plan: EditPlan, text: TableText, isSame: boolean): Promise<void> {
  const { line, base, image, places, truncated } = edit
  const { version } = text.snapshot
  line.ends.settle(await settled(edit, plan, text, isSame))
  for (const [key, place] of places) {
    if (place.at === undefined) continue
    const { start, written } = place
    const asWritten = isSame && isAtOffset(place)
    const own = truncated && !asWritten ? [await endOfImage(image)] : place.own
    line.ends.wrote(key, {
      start: truncated ? 0 : start,
      end: truncated ? image.size : asWritten ? Math.max(written, place.end) : written,
      own,
      version: asWritten ? version : undefined,
      base: truncated ? undefined : base.snapshot.version,
    })
  }
}

/** What has become of an image, for those who have read it. */
async function settled({ image, base }: Edit, plan: EditPlan, text: TableText, isSame: boolean): Promise<Settled> {
  const { version } = text.snapshot
  const every = { image, version, rowsTo: (end: number) => end, holes: [] }
  if (isSame) return { ...every, same: version, sameTo: image.size, rest: undefined }
  const start = Math.max(base.size, image.size - OWN_BYTES_MAX)
  const isBehind = isAppend(plan, base)
  const rest = isBehind
    ? { offset: start, bytes: (await image.read(start, image.size)).slice() }
    : await endOfImage(image)
  const bytes = { image, same: base.snapshot.version, sameTo: isBehind ? base.size : 0, rest }
  // Behind rows of others that were committed before it.
  const others = text.size - image.size
  if (isBehind && start === base.size && others > 0 && (await isAt(text, start + others, rest.bytes))) {
    const rowsTo = (end: number): number => (end <= base.size ? end : end + others)
    return { ...bytes, version, rowsTo, holes: [{ start: base.size, end: base.size + others }] }
  }
  if (isBehind) return { ...bytes, version: base.snapshot.version, rowsTo: end => Math.min(end, base.size), holes: [] }
  return { ...bytes, version, rowsTo: end => (end === image.size ? text.size : 0), holes: [] }
}

/** Whether all that a client wrote stands where it put it. */
export function isAtOffset({ at, end, gaps }: ClientPlace): boolean {
  return at === undefined || (at === end && gaps.length === 0)
}
