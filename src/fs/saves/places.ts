import type { EditPlan } from '../edits/change-plan.ts'
import { clientKey, endOf, endOfImage, type FileClient, isEndOf, TAIL_BYTES_MAX } from '../ends-of-file.ts'
import { FsError } from '../filesystem.ts'
import type { WritePlace } from '../lineages.ts'
import type { TableText } from '../text/layout.ts'
import { joined } from '../text/text.ts'
import { isAppend } from './outcome.ts'
import { type ClientPlace, isTruncated, type Save } from './save.ts'

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
export function placeAtOffset({ size, snapshot }: TableText): ClientPlace {
  return { end: endOf(size, snapshot.version), at: size, written: 0 }
}

/** Gives a client its place in a save. FsError EJUKEBOX if another one is in the middle of it. */
export async function joinSave(
  edit: Save,
  key: string,
  place: WritePlace,
  isUnderWay: boolean,
  writes: readonly Written[],
): Promise<void> {
  const { base, places, lineage } = edit
  const [first] = places.values()
  if (isUnderWay) {
    if (first !== undefined && (await isOthers(edit, place, writes))) {
      throw new FsError('EJUKEBOX', `data.${lineage.format}: another client is in the middle of a save; ask again`)
    }
    // Its client has connected anew, or has several connections.
    places.set(key, first ?? placeAtOffset(base))
  } else if (place.kind === 'behind') places.set(key, { end: place.end, at: undefined, written: 0 })
  else places.set(key, first === undefined ? placeAtOffset(base) : { ...placeAtOffset(base), at: undefined })
}

/** True if WRITEs to a save that is under way are appends of somebody else, and no part of it that comes once more. */
async function isOthers(edit: Save, place: WritePlace, writes: readonly Written[]): Promise<boolean> {
  if (place.kind === 'on' || (place.kind === 'here' && !place.isAppend)) return false
  const end = place.kind === 'behind' ? place.end.size : edit.base.size
  const [first] = writes
  if (first === undefined || first.offset > end || first.offset + first.bytes.length <= end) return false
  if (isTruncated(edit)) return true
  const shift = place.kind === 'behind' ? edit.base.size - end : 0
  const hole = edit.image.firstHole()
  if (hole !== undefined && hole.start <= first.offset + first.bytes.length + shift) return false
  const tail = first.bytes.subarray(end - first.offset)
  const there = await edit.image.read(edit.base.size, Math.min(edit.image.size, edit.base.size + tail.length))
  return there.length === 0 || Buffer.compare(there, tail.subarray(0, there.length)) !== 0
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
  if (known > 0 && isEndOf(place!.end, edit.base.snapshot.version))
    parts.push({ offset, bytes: bytes.subarray(0, known) })
  if (known < bytes.length) parts.push({ offset: offset + known + shift, bytes: bytes.subarray(known) })
  return parts
}

/**
 * A save is over: what its clients take for the end now, until they are told. At once, as their next WRITEs may be
 * here already.
 */
export async function noteEnds(
  { lineage, base, image, places }: Save,
  plan: EditPlan,
  text: TableText,
  asWritten: boolean,
): Promise<void> {
  for (const [key, { end, at, written }] of places) {
    if (asWritten) lineage.ends.wrote(key, endOf(text.size, text.snapshot.version), end)
    else if (at === undefined) continue
    else if (isAppend(plan, base)) {
      const stop = Math.min(image.size, at + Math.max(0, written - end.size))
      const start = Math.max(at, stop - TAIL_BYTES_MAX)
      const own = await image.read(start, stop)
      const tail = start === at ? joined([end.tail, own]) : own
      lineage.ends.wrote(key, endOf(written, end.version ?? base.snapshot.version, tail), end)
    } else if (at === end.size) lineage.ends.wrote(key, await endOfImage(image), end)
  }
}
