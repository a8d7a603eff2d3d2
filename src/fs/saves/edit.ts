import { ImageRope } from '../edits/image.ts'
import type { EditJournal, JournalRecord } from '../edits/journal.ts'
import type { EditPlan } from '../edits/plan.ts'
import { FsError } from '../filesystem.ts'
import type { Line } from '../lines.ts'
import type { TableText } from '../text/layout.ts'
import { endsInNewline, isAppend } from './completeness.ts'
import { type ClientPlace, isAtOffset } from './places.ts'
import type { SaveState } from './state.ts'
import type { SaveKind, Watch } from './watch.ts'

/** Pages of one save come in any order, but no save leaves a gap like this. */
const GAP_BYTES_MAX = 2 ** 34

/** The image of a view while it differs from the table. */
export interface Edit {
  readonly line: Line
  readonly base: TableText
  readonly image: ImageRope
  readonly journal: EditJournal
  /** Counts the changes, so that a verdict on an older image is not taken for one on this. */
  sequence: number
  /** What a held image would change, found when it was judged first: it is not compared again unless it changed. */
  planned: { readonly sequence: number; readonly plan: EditPlan } | undefined
  /** It began with, or passed through, a truncation: what is in the image was written since. */
  truncated: boolean
  state: SaveState
  /** Who has the file open for writing. */
  readonly watch: Watch
  /** A look for whether it is closed that is under way. */
  looking: Promise<void> | undefined
  /** The file's times before the save: an image that is refused leaves them as they were. */
  readonly mtimeBefore: bigint
  /** COMMITs that wait for a quiet moment. */
  committing: number
  /** Programs were told that bytes in it are saved: they are never dropped, but set aside if they cannot be taken. */
  answered: boolean
  /** Its commit failed, and may be in the log all the same. */
  isUndecided: boolean
  /** Where the WRITEs of its clients belong, by `clientKey`. */
  readonly places: Map<string, ClientPlace>
  /** The last stable WRITEs, should they come once more after a restart (see Line). */
  written: readonly string[]
  /** When what it waits for has taken too long. */
  deadline: Timer | undefined
  nextLook: Timer | undefined
}

/** Its image belongs to a program that is known to have the file open: nobody waits for it. */
export function isOpenElsewhere({ state, watch }: Edit): boolean {
  if (state.kind === 'held') return state.until.kind === 'closed'
  return state.kind === 'receiving' && watch.canSee
}

/** Whether all that was written stands where its clients put it: each of them takes the image for what it is. */
export function isAsWritten({ places }: Edit): boolean {
  return [...places.values()].every(isAtOffset)
}

/**
 * Whether nobody else is to see the image. While a whole file is being committed the others see what it was; waiting for
 * an append is shorter.
 */
export function isPrivate(edit: Edit): boolean {
  return isOpenElsewhere(edit) || (edit.state.kind === 'judged' && edit.truncated && edit.watch.canSee)
}

/** What a save does to its file, as far as its image shows. */
export async function kindOf(edit: Edit): Promise<SaveKind> {
  if (edit.truncated) return 'rewrite'
  return (await isAppend(edit)) ? 'append' : 'in place'
}

/** The base, and whole rows behind it. */
export async function isWholeAppend(edit: Edit): Promise<boolean> {
  return (await isAppend(edit)) && (await endsInNewline(edit.image))
}

export function newEdit(line: Line, base: TableText, journal: EditJournal, watch: Watch): Edit {
  return {
    line,
    base,
    image: new ImageRope(base, journal),
    journal,
    sequence: 0,
    planned: undefined,
    truncated: false,
    state: { kind: 'judged' },
    watch,
    looking: undefined,
    mtimeBefore: line.mtime,
    committing: 0,
    answered: false,
    isUndecided: false,
    places: new Map(),
    written: [],
    deadline: undefined,
    nextLook: undefined,
  }
}

export function replay(edit: Edit, record: JournalRecord): void {
  if (record.kind === 'write') {
    edit.image.splice(record.offset, record.staged, record.length)
    if (!record.stable) edit.state = { kind: 'receiving' }
  } else if (record.kind === 'truncate') {
    edit.image.truncate(record.size)
    noteTruncation(edit, record.size)
  } else {
    edit.state = { kind: 'judged' }
    if (edit.image.hasWritten) edit.answered = true
  }
}

export function checkGap({ image, line }: Edit, offset: number): void {
  if (offset - image.size <= GAP_BYTES_MAX) return
  throw new FsError(
    'EFBIG',
    `data.${line.format} has ${image.size} bytes: nothing can be written ${offset - image.size} bytes behind its end`,
  )
}

export function noteTruncation(edit: Edit, size: number): void {
  if (size <= edit.base.headerBytes.length) edit.truncated = true
}
