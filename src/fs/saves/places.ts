import { broughtIn } from '../brought.ts'
import type { AddedRows, ChangePlan, EditPlan } from '../edits/change-plan.ts'
import { eachRow } from '../edits/multiset.ts'
import { clientKey, endOf, endOfImage, type FileClient, isEndOf, TAIL_BYTES_MAX } from '../ends-of-file.ts'
import { FsError } from '../filesystem.ts'
import type { Lineages } from '../lineages.ts'
import type { TableText } from '../text/layout.ts'
import { joined, type Text } from '../text/text.ts'
import type { WritePlace } from '../write-places.ts'
import { isAppend } from './outcome.ts'
import { type ClientPlace, isAsWritten, isTruncated, type Save } from './save.ts'

/*
 * The places of the WRITEs of several clients in one save: each writes behind what it takes for the end of the file.
 */

/** The bytes of a WRITE, and its caller. */
export interface Written {
  readonly offset: number
  readonly bytes: Uint8Array
  readonly caller: FileClient
}

/** The place of a client that writes where it says. */
export function placeAtOffset({ size, version }: TableText): ClientPlace {
  return { end: endOf(size, version), at: size, written: 0 }
}

/** Gives a client its place in a save; `isNew`: see Lineages. FsError EJUKEBOX if another one is in the middle of it. */
export async function joinSave(
  edit: Save,
  key: string,
  place: WritePlace,
  isUnderWay: boolean,
  isNew: boolean,
  writes: readonly Written[],
): Promise<void> {
  const { base, places, isTakenUp } = edit
  const [first] = places.values()
  if (isUnderWay) {
    const isSame = first === undefined || (isTakenUp && isNew)
    if (!isSame && (await isOthers(edit, place, writes))) throw inTheMiddle(edit)
    // Its client has connected anew, or has several connections.
    places.set(key, first ?? placeAtOffset(base))
  } else if (place.kind === 'behind') places.set(key, { end: place.end, at: undefined, written: 0 })
  else places.set(key, first === undefined ? placeAtOffset(base) : { ...placeAtOffset(base), at: undefined })
}

function inTheMiddle({ lineage }: Save): FsError {
  return new FsError('EJUKEBOX', `data.${lineage.format}: another client is in the middle of a save; ask again`)
}

/** True if WRITEs to a save that is under way are appends of somebody else, and no part of it that comes once more. */
async function isOthers(edit: Save, place: WritePlace, writes: readonly Written[]): Promise<boolean> {
  if (place.kind === 'on') return true
  if (place.kind === 'here' && !place.isAppend) return false
  const end = place.kind === 'behind' ? place.end.size : edit.base.size
  const [first] = writes
  if (first === undefined || first.offset > end) return false
  // All of it is there by another save: at the place of this one's client it would be there twice.
  if (first.offset + first.bytes.length <= end) return place.kind === 'behind' && !hasEnd(edit, place.end)
  if (isTruncated(edit)) return true
  const shift = place.kind === 'behind' ? edit.base.size - end : 0
  const hole = edit.image.firstHole()
  if (hole !== undefined && hole.start <= first.offset + first.bytes.length + shift) return false
  const tail = first.bytes.subarray(end - first.offset)
  const there = await edit.image.read(edit.base.size, Math.min(edit.image.size, edit.base.size + tail.length))
  return there.length === 0 || Buffer.compare(there, tail.subarray(0, there.length)) !== 0
}

/** True if one of the clients of a save writes behind an end. */
function hasEnd({ places }: Save, { size, version }: ClientPlace['end']): boolean {
  return [...places.values()].some(({ end }) => end.size === size && end.version === version)
}

/** The parts of a WRITE, each at its place in the image: what its client takes to be behind the end is behind the end. */
export function placed(edit: Save, { offset, bytes, caller }: Written): { offset: number; bytes: Uint8Array }[] {
  const place = edit.places.get(clientKey(caller))
  if (place !== undefined) {
    place.at ??= edit.image.size
    place.written = Math.max(place.written, offset + bytes.length)
  }
  const shift = place?.at === undefined ? 0 : place.at - place.end.size
  const known = place?.at === undefined ? 0 : Math.min(bytes.length, Math.max(0, place.end.size - offset))
  const parts = []
  // In front of its end a client may have changed the text that the others have, too.
  if (known > 0 && isEndOf(place!.end, edit.base.version)) parts.push({ offset, bytes: bytes.subarray(0, known) })
  if (known < bytes.length) parts.push({ offset: offset + known + shift, bytes: bytes.subarray(known) })
  return parts
}

/** True if a client takes the image of a save for what it is. */
function isOwnImage(save: Save): boolean {
  return save.places.size <= 1 && isAsWritten(save)
}

/** The bytes of a save behind the end of one of its clients that are its own. */
function ownIn({ end, at, written }: ClientPlace): number {
  return at === undefined ? 0 : Math.max(0, written - end.size)
}

/** The size of what `imageFor` gives. */
export function sizeFor(save: Save, key: string): number {
  const place = save.places.get(key)
  return place === undefined || isOwnImage(save) ? save.image.size : place.end.size + ownIn(place)
}

/**
 * The image of a save as one of its clients takes it to be: what others write in it is not there. `textUpTo` gives the text
 * in front of an end, as its client knows it.
 */
export async function imageFor(
  save: Save,
  key: string,
  textUpTo: (end: ClientPlace['end']) => Promise<Text | undefined>,
): Promise<Text> {
  const { image, base, places } = save
  const place = places.get(key)
  if (place === undefined || isOwnImage(save)) return image
  const { end, at } = place
  const own = ownIn(place)
  const front = isEndOf(end, base.version) ? image : ((await textUpTo(end)) ?? image)
  return {
    size: end.size + own,
    read: async (start, stop) => {
      // Both at once: staged bytes may be gone when something else has been awaited.
      const parts: Promise<Uint8Array>[] = []
      if (start < end.size) parts.push(front.read(start, Math.min(stop, end.size)))
      if (stop > end.size) {
        const shift = (at ?? 0) - end.size
        parts.push(image.read(Math.max(start, end.size) + shift, stop + shift))
      }
      return joined(await Promise.all(parts))
    },
  }
}

/**
 * A save is over: what its clients take for the end now, until they are told. At once, as their next WRITEs may be
 * here already.
 */
export async function noteEnds(
  lineages: Lineages,
  save: Save,
  plan: EditPlan,
  text: TableText,
  asWritten: boolean,
): Promise<void> {
  const { lineage, base, image, places } = save
  for (const [key, { end, at, written }] of places) {
    if (asWritten) lineages.noteWrote(lineage, key, endOf(text.size, text.version), end)
    else if (at === undefined) continue
    else if (isAppend(plan, base)) {
      // All that it wrote was there before.
      if (written <= end.size) continue
      const stop = Math.min(image.size, at + Math.max(0, written - end.size))
      const start = Math.max(at, stop - TAIL_BYTES_MAX)
      const own = await image.read(start, stop)
      const tail = start === at ? joined([end.tail, own]) : own
      // What a file had brought before may be in a later version alone.
      const brought = lineage.ends.broughtBy(key)?.landed ?? 0n
      const landed = brought > text.version ? brought : text.version
      lineages.noteWrote(lineage, key, endOf(written, end.version ?? base.version, tail, landed), end)
    } else if (at === end.size) {
      lineages.noteWrote(lineage, key, await endOfImage(image), end)
      lineages.noteSaved(lineage, [key], save, false)
    }
  }
}

/** The changes of a save without the rows that a file has brought which its client renamed onto the name (see Brought). */
export async function withoutBrought(save: Save, plan: ChangePlan): Promise<ChangePlan> {
  const { ends } = save.lineage
  let added = plan.added
  for (const [key, place] of save.places) {
    const brought = ends.broughtBy(key)
    const own = ownIn(place)
    if (brought === undefined || own === 0) continue
    const start = place.at!
    const length = broughtIn(
      brought,
      place.end,
      await save.image.read(start, start + Math.min(own, brought.rows.length)),
    )
    if (length === 0) continue
    added = await without(plan, added, start, start + length)
  }
  return added === plan.added ? plan : { ...plan, added }
}

/** Added rows but for those in a range of the image. */
async function without(
  { base, source }: ChangePlan,
  added: readonly AddedRows[],
  start: number,
  end: number,
): Promise<AddedRows[]> {
  const left: AddedRows[] = []
  for (const range of added) {
    for (const part of [
      { start: range.start, end: Math.min(range.end, start) },
      { start: Math.max(range.start, end), end: range.end },
    ]) {
      if (part.start >= part.end) continue
      if (part.end - part.start === range.end - range.start) left.push(range)
      else {
        const rows = await eachRow(source, [part], base.format.cut, () => undefined)
        left.push({ ...range, ...part, rows, pieces: undefined })
      }
    }
  }
  return left
}
