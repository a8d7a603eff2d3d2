import { TextError } from '../../columns/errors.ts'
import { type ChangePlan, countAdded, countRemoved } from '../edits/plan.ts'
import type { TableText } from '../text/layout.ts'
import type { Text } from '../text/text.ts'
import type { ImageRope } from './image.ts'

/*
 * Whether an image is a whole save, as far as its bytes can tell. It is what decides where /proc cannot.
 */

/** The unit in which clients cache, and write back in the middle of a save. */
export const PAGE_BYTES = 4096
const COMPARED_BYTES = 1 << 20
/** Larger images are not parsed in the middle of their save. */
const PARSED_EARLY_BYTES_MAX = 8 << 20

/** How long an image that may not be whole yet is held for lack of knowledge, in milliseconds. */
export interface IncompleteTimes {
  /** No final newline, a last row that is cut off, fewer rows than before and not the last ones, or bytes behind the written ones from before. */
  readonly incompleteMs: number
  /** A size that is a multiple of the page size after a COMMIT, or pages that are missing. */
  readonly pageMs: number
  /** Truncated to nothing, and nothing written since. */
  readonly truncatedMs: number
}

/** Why an image may not be whole, and for how long that is worth waiting for. */
export interface Incomplete {
  readonly ms: number
  readonly because: string
}

/** The image of a save, and what is known of how it came to be. */
export interface SaveImage {
  readonly base: TableText
  readonly image: ImageRope
  /** It began with, or passed through, a truncation: what is in the image was written since. */
  readonly truncated: boolean
}

/** Signs on the outside of an image that its save is not over. `committed`: a COMMIT came, not a stable WRITE. */
export async function outsideSigns(
  { image, truncated }: SaveImage,
  committed: boolean,
  times: IncompleteTimes,
): Promise<Incomplete | undefined> {
  if (image.size === 0) {
    return { ms: times.truncatedMs, because: 'it was truncated to nothing, and nothing has been written since' }
  }
  if (image.firstHole() !== undefined && (committed || truncated)) {
    return { ms: times.pageMs, because: 'parts of it have not been written yet' }
  }
  if (committed && image.size % PAGE_BYTES === 0) {
    return { ms: times.pageMs, because: 'its size is a whole number of pages, as in the middle of a save' }
  }
  if (!(await endsInNewline(image))) return { ms: times.incompleteMs, because: 'its last line has no newline yet' }
  return undefined
}

/** Whether an image that does not parse may be a piece of one that does. */
export async function mayStillParse(
  save: SaveImage,
  error: TextError,
  times: IncompleteTimes,
): Promise<Incomplete | undefined> {
  if (error.code === 'unterminated') return { ms: times.incompleteMs, because: 'its last row is not closed' }
  return betweenOldBytes(save, times)
}

/** Whether an image that parses may be a piece of a save that is not over. */
export async function mayGoOn(
  save: SaveImage,
  plan: ChangePlan,
  times: IncompleteTimes,
): Promise<Incomplete | undefined> {
  if (plan.removed.length === 0) return undefined
  const isFewer = (await countRemoved(plan)) > countAdded(plan)
  if (isFewer && !(await reachesTheEnd(plan))) {
    return { ms: times.incompleteMs, because: 'it has fewer rows than before, so more may follow' }
  }
  return betweenOldBytes(save, times)
}

/**
 * Whether nothing that is yet written behind an image's end can make it parse: its lines are whole, and it was written
 * from front to back.
 */
export async function isBadForGood(save: SaveImage, error: unknown): Promise<boolean> {
  // Rows that come yet may close the last one, or have the key that no row has so far.
  if (!(error instanceof TextError) || error.code === 'unterminated' || error.code === 'missing_key') return false
  return save.image.firstHole() === undefined && (save.truncated || (await isAppend(save))) && endsInNewline(save.image)
}

/** Whether an image is worth parsing though its save goes on. */
export function isParsedEarly({ image }: SaveImage): boolean {
  return image.hasWritten && image.size <= PARSED_EARLY_BYTES_MAX
}

/** Whether an image is its base with a tail; clients send pages of the base once more in front of it. */
export async function isAppend({ base, image, truncated }: SaveImage): Promise<boolean> {
  if (truncated || image.size <= base.size) return false
  for (const { start, end } of image.changedRanges()) {
    if (start >= base.size) continue
    const stop = Math.min(end, base.size)
    if (stop - start > COMPARED_BYTES) return false
    const [before, after] = await Promise.all([base.read(start, stop), image.read(start, stop)])
    if (Buffer.compare(before, after) !== 0) return false
  }
  return true
}

export async function endsInNewline(image: Text): Promise<boolean> {
  if (image.size === 0) return false
  const last = await image.read(image.size - 1, image.size)
  return last[0] === 0x0a
}

async function betweenOldBytes(save: SaveImage, times: IncompleteTimes): Promise<Incomplete | undefined> {
  if (!isInPlace(save) || (await patchesOneLine(save))) return undefined
  return { ms: times.incompleteMs, because: 'bytes behind the written ones are from before the save' }
}

/** Bytes were overwritten where they stood, and the size is still that of the base: a truncation may be to come. */
function isInPlace({ base, image, truncated }: SaveImage): boolean {
  return !truncated && image.size === base.size
}

/** The written bytes differ from the base within one line only: a patch, whole in itself (`dd conv=notrunc`, one msync). */
async function patchesOneLine({ base, image }: SaveImage): Promise<boolean> {
  for (const { start, end } of image.changedRanges()) {
    let differs = false
    for (let at = start; at < end; at += COMPARED_BYTES) {
      const stop = Math.min(end, at + COMPARED_BYTES)
      const [before, after] = await Promise.all([base.read(at, stop), image.read(at, stop)])
      if (Buffer.compare(before, after) === 0) continue
      if (differs || !differWithinLine(before, after)) return false
      differs = true
    }
  }
  return true
}

/**
 * Whether an image without some of the rows can only be whole: most rows are there, in their order, and the last one is
 * among them. Who copies the rows that stay (grep -v, sed) writes it last.
 */
async function reachesTheEnd({ base, removed, reordered }: ChangePlan): Promise<boolean> {
  const bytes = removed.reduce((sum, { start, end }) => sum + end - start, 0)
  const last = removed.at(-1)
  if (last === undefined || reordered || last.end === base.size) return false
  if (bytes * 2 >= base.size - base.headerBytes.length) return false
  // Where the rows behind the last gap are those that begin it, they may as well be these, and the end is still to come.
  return !(await isSameText(base, last.start, last.end, base.size - last.end))
}

/** Whether `length` bytes of a text stand at two places. */
async function isSameText(text: Text, left: number, right: number, length: number): Promise<boolean> {
  for (let at = 0; at < length; at += COMPARED_BYTES) {
    const bytes = Math.min(COMPARED_BYTES, length - at)
    const [a, b] = await Promise.all([
      text.read(left + at, left + at + bytes),
      text.read(right + at, right + at + bytes),
    ])
    if (Buffer.compare(a, b) !== 0) return false
  }
  return true
}

/** Two runs of as many bytes that are not the same: whether no line ends where they differ. */
function differWithinLine(before: Uint8Array, after: Uint8Array): boolean {
  let first = 0
  while (before[first] === after[first]) first++
  let last = before.length - 1
  while (before[last] === after[last]) last--
  const hasEnd = (bytes: Uint8Array): boolean => bytes.subarray(first, last + 1).includes(0x0a)
  return !hasEnd(before) && !hasEnd(after)
}
