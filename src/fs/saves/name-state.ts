import type { HoldTimes } from './hold-times.ts'

/*
 * The life of a view's name, as a machine beside that of its saves (state.ts): programs remove it, rename it to a backup,
 * create it anew, and rename other files onto it; it always comes back. L is what a handle of the view stands for.
 */

export type NameState<L> = There | Away<L> | CreatedOver<L> | Restoring | Removed

/** It leads to the view. */
interface There {
  readonly kind: 'there'
}

/** It was renamed to another name: nothing is there until something takes it, or until it comes back by itself. */
interface Away<L> {
  readonly kind: 'away'
  readonly lineage: L
  /** The client's own rename of an open file that was removed: counts as `rm` if nothing takes the name. */
  readonly silly: boolean
  /** When it comes back, from now on. */
  readonly ms: number
  /** It was so when the server was started, and no client has been heard of since. */
  readonly restarted: boolean
}

/** It leads to a lineage that was created in place of one that was renamed to a backup (vim). */
interface CreatedOver<L> {
  readonly kind: 'created over'
  readonly lineage: L
  readonly backup: L
}

/** A save over a backup was refused: its editor removes the name, in order to put the backup back. */
interface Restoring {
  readonly kind: 'restoring'
  readonly untilMs: number
}

/** It was removed a moment ago: for programs that make a file anew it is free. */
interface Removed {
  readonly kind: 'removed'
  readonly untilMs: number
}

/** The events of a name. Each comes when the one before it is done. */
export type NameEvent<L> =
  /** RFC 1813, 3.3.8. `isEmptied`: all rows were taken away, and nothing has been written since. */
  | { readonly kind: 'CREATE'; readonly isExclusive: boolean; readonly isEmptied: boolean; readonly nowMs: number }
  /** A lineage was created in its place. */
  | { readonly kind: 'created'; readonly lineage: L }
  /** RFC 1813, 3.3.12. `lineage`: what it leads to. */
  | { readonly kind: 'REMOVE'; readonly lineage: L; readonly nowMs: number }
  /** All rows are taken away. */
  | { readonly kind: 'emptied'; readonly nowMs: number }
  /** RENAME (RFC 1813, 3.3.14) of it to another name, which leads to `lineage` then. `isRepeated`: it does so already. */
  | { readonly kind: 'RENAME away'; readonly lineage: L; readonly silly: boolean; readonly isRepeated: boolean }
  /** RENAME of a file onto it: that one's rows are in the table. */
  | { readonly kind: 'RENAME onto' }
  /** The same, refused: both names are as they were before anything else happened to them. */
  | { readonly kind: 'RENAME refused' }
  /** A save into a lineage was refused. `isAsBackup`: what it was created over is still there, and shows the same. */
  | { readonly kind: 'save refused'; readonly lineage: L; readonly isAsBackup: boolean; readonly nowMs: number }
  /** It has been away for long enough, or nobody will come any more. */
  | { readonly kind: 'deadline' }
  /** A restart: it was away, as another name leads to its lineage. */
  | { readonly kind: 'restart'; readonly lineage: L; readonly silly: boolean }
  /** The first call of a client after a restart. */
  | { readonly kind: 'client' }
  /** The server ends. The next one finds it away, if it is. */
  | { readonly kind: 'end' }

export type NameAct =
  /** Nothing. */
  | 'stay'
  /** Refused: it is there. */
  | 'exists'
  /** Refused: there is nothing by this name. */
  | 'missing'
  /** It is opened as it is, and cut if the call says so. */
  | 'open'
  /** It is cut to nothing. */
  | 'empty'
  /** An empty lineage is created in its place. */
  | 'create'
  /** All rows are taken away, and it stays. */
  | 'remove rows'
  /** It is gone until something takes it, or until its time is over. */
  | 'wait'
  /** It leads to what it did. */
  | 'put back'
  /** The same, and all rows are taken away. */
  | 'put back without rows'

export interface NameStep<L> {
  readonly state: NameState<L>
  readonly act: NameAct
}

/** After `rm` an exclusive CREATE (mv from another file system) finds the name free for this long. */
export const REMOVED_MS = 2000
/** After a save over a backup was refused, its editor puts the backup back within this time. */
export const RESTORED_MS = 5000

const THERE: There = { kind: 'there' }

type Times = Pick<HoldTimes, 'awayMs' | 'answeredMs' | 'resumedMs'>

/** The state after an event, and what is to be done for it. */
export function nextName<L>(state: NameState<L>, event: NameEvent<L>, times: Times): NameStep<L> {
  return state.kind === 'away' ? nextOfAway(state, event, times) : nextOfPresent(state, event, times)
}

function nextOfAway<L>(state: Away<L>, event: NameEvent<L>, { resumedMs }: Times): NameStep<L> {
  switch (event.kind) {
    case 'CREATE':
      return { state, act: 'create' }
    case 'created':
      return { state: { kind: 'created over', lineage: event.lineage, backup: state.lineage }, act: 'stay' }
    case 'REMOVE':
      return { state, act: 'missing' }
    case 'RENAME away':
      return { state, act: event.isRepeated ? 'stay' : 'missing' }
    case 'RENAME onto':
    case 'end':
      return { state: THERE, act: 'stay' }
    case 'RENAME refused':
      return { state: THERE, act: 'put back' }
    case 'deadline':
      return { state: THERE, act: state.silly ? 'put back without rows' : 'put back' }
    case 'client':
      if (!state.restarted) return { state, act: 'stay' }
      return { state: { ...state, ms: resumedMs, restarted: false }, act: 'wait' }
    case 'restart':
    case 'emptied':
    case 'save refused':
      return { state, act: 'stay' }
  }
}

function nextOfPresent<L>(
  state: Exclude<NameState<L>, Away<L>>,
  event: NameEvent<L>,
  { awayMs, answeredMs }: Times,
): NameStep<L> {
  switch (event.kind) {
    case 'CREATE':
      return { state, act: event.isExclusive ? (isFree(state, event) ? 'empty' : 'exists') : 'open' }
    case 'REMOVE':
      if (state.kind !== 'restoring' || event.nowMs >= state.untilMs) return { state, act: 'remove rows' }
      return away(event.lineage, false, awayMs)
    case 'emptied':
      return { state: { kind: 'removed', untilMs: event.nowMs + REMOVED_MS }, act: 'stay' }
    case 'RENAME away':
      return away(event.lineage, event.silly, awayMs)
    case 'RENAME onto':
      return { state: state.kind === 'restoring' ? THERE : state, act: 'stay' }
    case 'save refused':
      if (state.kind !== 'created over' || state.lineage !== event.lineage || !event.isAsBackup)
        return { state, act: 'stay' }
      return { state: { kind: 'restoring', untilMs: event.nowMs + RESTORED_MS }, act: 'stay' }
    case 'restart':
      return away(event.lineage, event.silly, answeredMs, true)
    case 'created':
    case 'RENAME refused':
    case 'deadline':
    case 'client':
    case 'end':
      return { state, act: 'stay' }
  }
}

/** True if an exclusive CREATE may take the name. */
function isFree<L>(state: NameState<L>, { isEmptied, nowMs }: { isEmptied: boolean; nowMs: number }): boolean {
  return isEmptied || (state.kind === 'removed' && nowMs < state.untilMs)
}

function away<L>(lineage: L, silly: boolean, ms: number, restarted = false): NameStep<L> {
  return { state: { kind: 'away', lineage, silly, ms, restarted }, act: 'wait' }
}
