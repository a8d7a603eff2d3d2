import type { Incomplete } from './completeness.ts'
import type { HoldTimes } from './hold-times.ts'
import type { Sight } from './watch.ts'

/*
 * The life of a save, as a machine: what a handle of the view is in the middle of (SaveState), what can happen to it
 * (SaveEvent), and a table that says for each of them what comes next. It knows nothing of files, sockets or timers.
 * The view's name has a machine beside it: see name-state.ts.
 */

/** A handle shows what the table has, or a save is under way. */
export type SaveState = Clean | SaveUnderWay

export type SaveUnderWay = Receiving | Held | Committing | Undecided | SetAside

interface Clean {
  readonly kind: 'clean'
}

/** The facts that a save keeps from its beginning to its end. */
interface Known {
  /** It began with, or passed through, a truncation: what is in the image was written since. */
  readonly truncated: boolean
  /** Programs were told that bytes in it are saved: they are never dropped, but set aside if they cannot be taken. */
  readonly answered: boolean
}

/** Bytes came whose client has yet to end with a COMMIT: nobody was told that they are saved. */
interface Receiving extends Known {
  readonly kind: 'receiving'
}

/** All that came is durable and was answered; what is waited for ends it. */
interface Held extends Known {
  readonly kind: 'held'
  readonly until: Until
  readonly because: string
  /** It was taken up after a restart, and no client has been heard of since. */
  readonly restarted: boolean
}

/** It is compared with the table, and committed or refused; or a COMMIT waits until that can be done. */
interface Committing extends Known {
  readonly kind: 'committing'
}

/** Its commit failed, and may be in the log all the same. */
interface Undecided extends Known {
  readonly kind: 'undecided'
}

/** It is not committed: its bytes are being put beside the table. */
interface SetAside extends Known {
  readonly kind: 'set aside'
}

export type Until =
  /** Nobody has the file open for writing any more. */
  | { readonly kind: 'closed' }
  /** So many milliseconds have passed, as /proc cannot tell. */
  | { readonly kind: 'time'; readonly ms: number }

/** The image of a save, as far as it matters here. */
export interface Shape {
  /** The base with a tail, as far as is known. */
  readonly isAppend: boolean
  /** Its size is a whole number of pages, as when a client writes back in the middle of a save. */
  readonly isPages: boolean
  readonly hasWritten: boolean
}

/** The events of a save. */
export type SaveEvent =
  /** Bytes came (RFC 1813, 3.3.7). `isWholeAppend`: the image is the base, and whole rows behind it. */
  | { readonly kind: 'WRITE'; readonly stable: boolean; readonly isWholeAppend: boolean }
  /** The size is set (RFC 1813, 3.3.2). `empties`: to nothing, or to the header. */
  | { readonly kind: 'SETATTR'; readonly empties: boolean; readonly isWholeAppend: boolean }
  /** A client ends its WRITEs (RFC 1813, 3.3.21): only what it writes from now on needs another COMMIT. */
  | { readonly kind: 'COMMIT' }
  /** A call is to be answered, and /proc was looked at. */
  | { readonly kind: 'seen'; readonly isCommit: boolean; readonly sight: Sight; readonly shape: Shape }
  /** The name was removed, and may be made anew. */
  | { readonly kind: 'REMOVE' }
  /** Its openers may be gone: it was time to look, or somebody wants to see the table. */
  | { readonly kind: 'look'; readonly sight: Sight }
  /** The time of its hold, or of the wait for its client, is over. */
  | { readonly kind: 'deadline'; readonly sight: Sight }
  /** It is over by what others do: unmount, shutdown, another save on its handle. `isAwaited`: a COMMIT waits for its answer. */
  | { readonly kind: 'end'; readonly sight: Sight; readonly isAwaited: boolean }
  /** The name is removed, and what is being saved under it is given up. `canSee`: /proc shows who has it open. */
  | { readonly kind: 'abandon'; readonly canSee: boolean }
  /** A restart: this is what the journal has of it. */
  | ({ readonly kind: 'restart'; readonly owesCommit: boolean; readonly isEmpty: boolean } & Known)
  /** The first call of a client after a restart. */
  | { readonly kind: 'client' }
  /** Judged: it may not be whole. */
  | ({ readonly kind: 'incomplete'; readonly isOpen: boolean; readonly hasWritten: boolean } & Incomplete)
  /** It cannot be known now whether its commit is in the log. */
  | { readonly kind: 'unknown' }
  /** Its commit is not in the log. */
  | { readonly kind: 'not in the log' }
  /** It cannot be taken. `told`: a call waits for the verdict. */
  | { readonly kind: 'refused'; readonly told: boolean }
  /** It is in the table, or changed nothing; or its program was told that it failed, or its bytes are kept elsewhere. */
  | { readonly kind: 'over' }

/** The things to be done for a step. */
export type Act =
  /** Nothing. */
  | { readonly kind: 'stay' }
  /** Begins to wait for what the state waits for. */
  | { readonly kind: 'wait' }
  /** The same, when what came is durable. */
  | { readonly kind: 'sync' }
  /** The same, when it is also noted that the call is answered. */
  | { readonly kind: 'hold' }
  /** /proc is looked at, for a call that is to be answered. */
  | { readonly kind: 'look' }
  /**
   * It is committed if every row parses, else refused. `told`: a call waits for the verdict. With a doubt it is held if its
   * bytes look as if it were not whole.
   */
  | { readonly kind: 'judge'; readonly told: boolean; readonly doubt: Doubt | undefined }
  /** It is not even judged; its bytes are put beside the table. */
  | { readonly kind: 'give up'; readonly because: string; readonly told: boolean }
  /** Its bytes are put beside the table. */
  | { readonly kind: 'set aside' }
  /** It is looked for in the log before anything else happens. */
  | { readonly kind: 'find out' }
  /** Its bytes go. */
  | { readonly kind: 'drop' }

/** Nobody knows whether a save is over. */
export interface Doubt {
  /** A COMMIT came, not a stable WRITE. */
  readonly committed: boolean
  /** A process has the file open for writing. */
  readonly isOpen: boolean
}

export interface Step {
  readonly state: SaveState
  readonly act: Act
}

/** A log that cannot be read, or that does not tell whether a commit is in it, is looked at again after this time. */
export const UNDECIDED_MS = 1000

type EventOf<K extends SaveEvent['kind']> = Extract<SaveEvent, { kind: K }>
type Rule<S, E> = (state: S, event: E, times: HoldTimes) => Step
/** The rules by state and event; without a rule everything stays as it is. */
type Table = {
  readonly [S in SaveState as S['kind']]: { readonly [K in SaveEvent['kind']]?: Rule<S, EventOf<K>> }
}

const CLEAN: SaveState = { kind: 'clean' }
const NEW: Committing = { kind: 'committing', truncated: false, answered: false }
const CLOSED: Until = { kind: 'closed' }
const STAY: Act = { kind: 'stay' }
const WAIT: Act = { kind: 'wait' }

const TABLE: Table = {
  clean: {
    WRITE: (_, event) => written(NEW, event),
    SETATTR: (_, event) => cut(NEW, event),
    REMOVE: (_, _event, { removedMs }) =>
      held(
        { ...NEW, truncated: true },
        { kind: 'time', ms: removedMs },
        'it was removed, and may be made anew',
        'hold',
      ),
    restart: (_, event, times) => takenUp(event, times),
    abandon: dropped,
    refused,
  },
  receiving: {
    // Of what was written before, its client still has to send a COMMIT.
    WRITE: (state, { stable }) => ({ state, act: stable ? { kind: 'sync' } : WAIT }),
    SETATTR: cut,
    COMMIT: committing,
    seen: (state, { isCommit, sight }) => judged(state, true, { committed: isCommit, isOpen: sight.kind === 'open' }),
    deadline: (state, { sight }) =>
      sight.kind === 'open'
        ? { state, act: WAIT }
        : givenUp(state, 'it was not finished, and its client has not been heard of since', false),
    abandon: (state, { canSee }) => (canSee ? { state, act: STAY } : dropped()),
    refused,
    over,
  },
  held: {
    WRITE: written,
    SETATTR: cut,
    COMMIT: committing,
    seen,
    look: (state, { sight }, times) =>
      state.until.kind === 'closed' ? looked(state, sight, times) : { state, act: STAY },
    deadline: (state, { sight }, times) =>
      sight.kind === 'unknown' ? judged(state, false) : looked(state, sight, times),
    end: ended,
    abandon: state => (state.until.kind === 'closed' ? { state, act: STAY } : dropped()),
    client: (state, _, { resumedMs }) =>
      state.restarted ? held(state, { kind: 'time', ms: resumedMs }, state.because, 'wait') : { state, act: STAY },
    refused,
    over,
  },
  committing: {
    WRITE: written,
    SETATTR: cut,
    seen,
    end: ended,
    abandon: dropped,
    incomplete: (state, { ms, because, isOpen, hasWritten }) =>
      held(told(state, hasWritten), isOpen ? CLOSED : { kind: 'time', ms }, because, 'hold'),
    unknown: undecided,
    refused,
    over,
  },
  undecided: {
    deadline: state => ({ state, act: { kind: 'find out' } }),
    end: state => ({ state, act: { kind: 'find out' } }),
    unknown: undecided,
    'not in the log': state =>
      held(state, { kind: 'time', ms: UNDECIDED_MS }, 'its commit was not made, and is tried again', 'wait'),
    refused,
    over,
  },
  'set aside': { over },
}

/** The state after an event, and what is to be done for it. */
export function next(state: SaveState, event: SaveEvent, times: HoldTimes): Step {
  const rule = TABLE[state.kind][event.kind] as Rule<SaveState, SaveEvent> | undefined
  return rule?.(state, event, times) ?? { state, act: STAY }
}

function written(state: SaveUnderWay, event: EventOf<'WRITE'>): Step {
  if (!event.stable) return { state: { ...known(state), kind: 'receiving' }, act: WAIT }
  return called(state, event.isWholeAppend)
}

function cut(state: SaveUnderWay, { empties, isWholeAppend }: EventOf<'SETATTR'>): Step {
  return called({ ...state, truncated: state.truncated || empties }, isWholeAppend)
}

/** A call has come that can be the last one of a save. */
function called(state: SaveUnderWay, isWholeAppend: boolean): Step {
  // Whole rows that are appended at once are committed at once, whoever has the file open: a program that logs.
  if (isWholeAppend && !state.answered) return judged(state, true)
  return { state, act: { kind: 'look' } }
}

function seen(state: Known, { isCommit, sight, shape }: EventOf<'seen'>): Step {
  if (sight.kind === 'unknown') return judged(state, true, { committed: isCommit, isOpen: false })
  if (sight.kind === 'killed') return givenUp(state, killedBy(sight), true)
  if (sight.kind === 'closed') return judged(state, true)
  if (isCommit && awaitsClose(sight, shape)) return judged(state, true, { committed: true, isOpen: true })
  return held(told(state, shape.hasWritten), CLOSED, openBy(sight), 'hold')
}

/** True if the answer to a COMMIT waits for the close of the file, or until nothing has come for a while: a bulk append. */
export function awaitsClose(sight: Sight, { isAppend, isPages }: Shape): boolean {
  // Write-back in the middle of a save is answered at once, since it is what makes room for the rest.
  return sight.kind === 'open' && isAppend && !isPages
}

function looked(state: Known, sight: Sight, { incompleteMs }: HoldTimes): Step {
  switch (sight.kind) {
    case 'unknown':
      return held(state, { kind: 'time', ms: incompleteMs }, 'who has it open cannot be told any more', 'wait')
    case 'open':
      return held(state, CLOSED, openBy(sight), 'wait')
    case 'closed':
      return judged(state, false)
    case 'killed':
      return givenUp(state, killedBy(sight), false)
  }
}

function ended(state: SaveUnderWay, { sight, isAwaited }: EventOf<'end'>): Step {
  // Its program may go on with it, or with the next process.
  if (isAwaited || sight.kind === 'open') return { state, act: STAY }
  return sight.kind === 'killed' ? givenUp(state, killedBy(sight), false) : judged(state, false)
}

function takenUp({ owesCommit, isEmpty, ...rest }: EventOf<'restart'>, times: HoldTimes): Step {
  if (owesCommit) return { state: { ...known(rest), kind: 'receiving' }, act: WAIT }
  const because = 'it was under way when the server stopped; its program may go on'
  const ms = isEmpty ? times.abandonedMs : times.answeredMs
  return held(rest, { kind: 'time', ms }, because, 'wait', true)
}

function refused(state: Clean | SaveUnderWay, event: EventOf<'refused'>): Step {
  if (state.kind === 'clean' || (event.told && !state.answered)) return dropped()
  return { state: { ...known(state), kind: 'set aside' }, act: { kind: 'set aside' } }
}

function held(state: Known, until: Until, because: string, act: 'wait' | 'hold', restarted = false): Step {
  return { state: { ...known(state), kind: 'held', until, because, restarted }, act: { kind: act } }
}

function judged(state: Known, isTold: boolean, doubt?: Doubt): Step {
  return { state: committing(state).state, act: { kind: 'judge', told: isTold, doubt } }
}

function givenUp(state: Known, because: string, isTold: boolean): Step {
  return { state: { ...known(state), kind: 'set aside' }, act: { kind: 'give up', because, told: isTold } }
}

function committing(state: Known): Step {
  return { state: { ...known(state), kind: 'committing' }, act: WAIT }
}

function undecided(state: Known): Step {
  return { state: { ...known(state), kind: 'undecided' }, act: WAIT }
}

function dropped(): Step {
  return { state: CLEAN, act: { kind: 'drop' } }
}

function over(): Step {
  return { state: CLEAN, act: STAY }
}

/** Success is answered, so that no byte of it may be lost. */
function told(state: Known, hasWritten: boolean): Known {
  return { ...known(state), answered: state.answered || hasWritten }
}

function known({ truncated, answered }: Known): Known {
  return { truncated, answered }
}

function openBy({ by }: Extract<Sight, { kind: 'open' }>): string {
  return `it is open for writing by ${by}`
}

function killedBy({ by }: Extract<Sight, { kind: 'killed' }>): string {
  return `${by.command} (process ${by.pid}), which wrote it, was killed by signal ${by.signal}`
}

/** True if a save belongs to a program that is known to have the file open: nobody waits for it. */
export function isOpenElsewhere(state: SaveState, canSee: boolean): boolean {
  if (state.kind === 'held') return state.until.kind === 'closed'
  return state.kind === 'receiving' && canSee
}

/**
 * True if nobody else is to see the image. While a whole file is being committed the others see what it was; waiting for
 * an append is shorter.
 */
export function isPrivate(state: SaveState, canSee: boolean): boolean {
  return isOpenElsewhere(state, canSee) || (state.kind === 'committing' && state.truncated && canSee)
}

/** Why a save is not over, in words that follow the view's name. */
export function reasonOf(state: SaveState): string {
  if (state.kind === 'held') return state.because
  if (state.kind === 'undecided') return 'whether its commit is in the log is not known yet'
  return 'a save is under way'
}
