import type { EditPlan } from '../edits/change-plan.ts'
import type { EndOfFile } from '../ends-of-file.ts'
import type { ImageOfSave } from '../known-texts.ts'
import type { Lineage } from '../lineage.ts'
import type { TableText } from '../text/layout.ts'
import { ImageRope } from './image.ts'
import type { SaveJournal } from './journal.ts'
import type { SaveState } from './state.ts'
import type { SaveKind, Watch } from './watch.ts'

/** The place of a client's writes: those behind `end` stand in the image from `at` on. */
export interface ClientPlace {
  readonly end: EndOfFile
  /** Undefined until its first bytes are there. */
  at: number | undefined
  /** Up to where it has written, as it counts. */
  written: number
}

/** A save under way: the image of a view while it differs from the table. */
export interface Save extends ImageOfSave {
  readonly lineage: Lineage
  readonly base: TableText
  readonly image: ImageRope
  readonly journal: SaveJournal
  /** Its place in the life of a save, see state.ts. */
  state: SaveState
  /** Counts the changes, so that a verdict on an older image is not taken for one on this. */
  sequence: number
  /** The changes that the image makes, or the reason why it cannot be taken, as it was at `sequence`. */
  planned: { readonly sequence: number; readonly plan: EditPlan | Error } | undefined
  /** The kind of save that the image shows, as it was at `sequence`. */
  compared: { readonly sequence: number; readonly kind: SaveKind } | undefined
  /** Sees who has the file open for writing. */
  readonly watch: Watch
  /** The file's times before the save: an image that is refused leaves them as they were. */
  readonly mtimeBefore: bigint
  /** COMMITs that wait for their answer. */
  commits: number
  /** The places of its clients' WRITEs, by `clientKey`. */
  readonly places: Map<string, ClientPlace>
  /** An earlier process had begun it. */
  isTakenUp: boolean
  /** The last stable WRITEs, should they come once more after a restart (see Lineage). */
  written: readonly string[]
}

export function newSave(lineage: Lineage, base: TableText, journal: SaveJournal, watch: Watch): Save {
  return {
    lineage,
    base,
    image: new ImageRope(base, journal),
    journal,
    state: { kind: 'clean' },
    sequence: 0,
    planned: undefined,
    compared: undefined,
    watch,
    mtimeBefore: lineage.mtime,
    commits: 0,
    places: new Map(),
    became: undefined,
    isTakenUp: false,
    written: [],
  }
}

/** True if a save began with, or passed through, a truncation: what is in its image was written since. */
export function isTruncated({ state }: Save): boolean {
  return state.kind !== 'clean' && state.truncated
}

/**
 * True if all that was written stands where its clients put it, and so does what they wrote before: each of them takes the
 * image for what it is.
 */
export function isAsWritten({ places }: Save): boolean {
  return [...places.values()].every(({ end, at }) => at === undefined || (at === end.size && end.tail.length === 0))
}

/**
 * True if a client (`clientKey`) is shown the image: one that has written it. Of a save that no client is known for (`rm`)
 * everybody is, and so is one who may have connected anew (`isNew`) to go on with it after a restart.
 */
export function isShownTo({ places, isTakenUp }: Save, client: string, isNew: boolean): boolean {
  return places.size === 0 || places.has(client) || (isTakenUp && isNew)
}

/** True if a size is that of a file without rows. */
export function hasNoRows(base: TableText, size: number): boolean {
  return size <= base.headerBytes.length
}
