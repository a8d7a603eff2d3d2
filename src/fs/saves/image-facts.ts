import { type ChangePlan, countAdded, countRemoved } from '../edits/change-plan.ts'
import type { Text } from '../text/text.ts'
import type { Outside, Parsed } from './completeness.ts'
import { isTruncated, type Save } from './save.ts'
import type { SaveKind } from './watch.ts'

/*
 * The facts of an image by which it is told whether it is a whole save: see completeness.ts.
 */

const COMPARED_BYTES = 1 << 20
/** Larger images are not parsed in the middle of their save. */
const PARSED_EARLY_BYTES_MAX = 8 << 20

/** The kind of a save, as far as its image shows; looked up once, as long as the image stays as it is. */
export async function kindOf(save: Save): Promise<SaveKind> {
  if (isTruncated(save)) return 'rewrite'
  const { sequence } = save
  if (save.compared?.sequence === sequence) return save.compared.kind
  const kind = (await isAppend(save)) ? 'append' : 'in place'
  if (save.sequence === sequence) save.compared = { sequence, kind }
  return kind
}

/** True if an image is its base with a tail; clients send pages of the base once more in front of it. */
async function isAppend({ base, image }: Save): Promise<boolean> {
  if (image.size <= base.size) return false
  for (const { start, end } of image.changedRanges()) {
    if (start >= base.size) continue
    const stop = Math.min(end, base.size)
    if (stop - start > COMPARED_BYTES) return false
    const [before, after] = await Promise.all([base.read(start, stop), image.read(start, stop)])
    if (Buffer.compare(before, after) !== 0) return false
  }
  return true
}

/** True if an image is its base, and whole rows behind it. */
export async function isWholeAppend(save: Save): Promise<boolean> {
  return (await kindOf(save)) === 'append' && endsInNewline(save.image)
}

/** True if an image is worth parsing though its save goes on. */
export function isParsedEarly({ image }: Save): boolean {
  return image.hasWritten && image.size <= PARSED_EARLY_BYTES_MAX
}

export async function outsideOf(save: Save, committed: boolean): Promise<Outside> {
  const { image } = save
  return {
    size: image.size,
    hasHole: image.firstHole() !== undefined,
    endsInNewline: await endsInNewline(image),
    truncated: isTruncated(save),
    committed,
  }
}

export async function effectOf(save: Save, plan: ChangePlan): Promise<Parsed> {
  const removedRows = await countRemoved(plan)
  const addedRows = countAdded(plan)
  return {
    removedRows,
    addedRows,
    // Only asked for what would look cut off otherwise: it costs reading the rows that stay.
    reachesTheEnd: removedRows <= addedRows || (await reachesTheEnd(plan)),
    isBetweenOldBytes: removedRows > 0 && (await isBetweenOldBytes(save)),
  }
}

async function endsInNewline(image: Text): Promise<boolean> {
  if (image.size === 0) return false
  const last = await image.read(image.size - 1, image.size)
  return last[0] === 0x0a
}

/** Bytes were overwritten where they stood, and the size is still that of the base: a truncation may be to come. */
export async function isBetweenOldBytes(save: Save): Promise<boolean> {
  return !isTruncated(save) && save.image.size === save.base.size && !(await patchesOneLine(save))
}

/** The written bytes differ from the base within one line only: a patch, whole in itself (`dd conv=notrunc`, one msync). */
async function patchesOneLine({ base, image }: Save): Promise<boolean> {
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
 * True if an image without some of the rows can only be whole: most rows are there, in their order, and the last one is
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

/** True if the same `length` bytes of a text stand at two places. */
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
