import { describe, expect, test } from 'bun:test'
import { DEFAULT_HOLD_TIMES } from '../../../src/fs/saves/hold-times.ts'
import {
  awaitsClose,
  isOpenElsewhere,
  isPrivate,
  next,
  type SaveEvent,
  type SaveState,
  type Shape,
  type Step,
  UNDECIDED_MS,
} from '../../../src/fs/saves/state.ts'
import type { Sight } from '../../../src/fs/saves/watch.ts'

const TIMES = DEFAULT_HOLD_TIMES
const FACTS = { truncated: false, answered: false }
const CLEAN: SaveState = { kind: 'clean' }
const RECEIVING: SaveState = { kind: 'receiving', ...FACTS }
const HELD: SaveState = { kind: 'held', until: { kind: 'closed' }, because: 'it is open', restarted: false, ...FACTS }
const TIMED: SaveState = { ...HELD, until: { kind: 'time', ms: 1000 }, because: 'it has no newline' }
const COMMITTING: SaveState = { kind: 'committing', ...FACTS }
const UNDECIDED: SaveState = { kind: 'undecided', ...FACTS }
const ASIDE: SaveState = { kind: 'set aside', ...FACTS }
const UNDER_WAY = [RECEIVING, HELD, TIMED, COMMITTING]
const STATES = [CLEAN, ...UNDER_WAY, UNDECIDED, ASIDE]

const OPEN: Sight = { kind: 'open', by: 'cp (process 7)' }
const CLOSED: Sight = { kind: 'closed' }
const UNKNOWN: Sight = { kind: 'unknown' }
const KILLED: Sight = { kind: 'killed', by: { pid: 7, command: 'cp', signal: 9 } }
const SIGHTS = [OPEN, CLOSED, UNKNOWN, KILLED]

const REWRITE: Shape = { isAppend: false, isPages: false, hasWritten: true }
const APPEND: Shape = { isAppend: true, isPages: false, hasWritten: true }
const PAGES: Shape = { isAppend: true, isPages: true, hasWritten: true }

const UNSTABLE: SaveEvent = { kind: 'WRITE', stable: false, isWholeAppend: false }
const STABLE: SaveEvent = { kind: 'WRITE', stable: true, isWholeAppend: false }
const WHOLE: SaveEvent = { kind: 'WRITE', stable: true, isWholeAppend: true }
const CUT: SaveEvent = { kind: 'SETATTR', empties: false, isWholeAppend: false }
const EMPTIED: SaveEvent = { kind: 'SETATTR', empties: true, isWholeAppend: false }
const COMMIT: SaveEvent = { kind: 'COMMIT' }
const seen = (isCommit: boolean, sight: Sight, shape: Shape): SaveEvent => ({ kind: 'seen', isCommit, sight, shape })
const look = (sight: Sight): SaveEvent => ({ kind: 'look', sight })
const deadline = (sight: Sight): SaveEvent => ({ kind: 'deadline', sight })
const end = (sight: Sight, isAwaited = false): SaveEvent => ({ kind: 'end', sight, isAwaited })
const abandon = (canSee: boolean): SaveEvent => ({ kind: 'abandon', canSee })
const refused = (told: boolean): SaveEvent => ({ kind: 'refused', told })

/** A step in a few words: the state, and what is done. */
function wordsOf({ state, act }: Step): string {
  const until = state.kind !== 'held' ? '' : state.until.kind === 'closed' ? ' until closed' : ` ${state.until.ms} ms`
  const how = act.kind !== 'judge' ? '' : `${act.told ? '' : ' late'}${act.doubt === undefined ? '' : ' by bytes'}`
  return `${state.kind}${until}: ${act.kind}${how}`
}

const after = (state: SaveState, event: SaveEvent): string => wordsOf(next(state, event, TIMES))

describe('what comes next for a save', () => {
  test('a WRITE that may stay in memory waits for its COMMIT, whatever else is known', () => {
    for (const state of [CLEAN, ...UNDER_WAY]) expect(after(state, UNSTABLE)).toBe('receiving: wait')
  })

  test('a stable WRITE behind such ones waits for it, too', () => {
    for (const event of [STABLE, WHOLE]) expect(after(RECEIVING, event)).toBe('receiving: sync')
  })

  test('whole rows that are appended at once are committed at once, unless success was answered for some of them', () => {
    for (const state of [CLEAN, HELD, TIMED, COMMITTING]) expect(after(state, WHOLE)).toBe('committing: judge')
    expect(after({ ...HELD, answered: true }, WHOLE)).toBe('held until closed: look')
  })

  const CALLS: readonly [SaveState, SaveEvent, string][] = [
    [CLEAN, STABLE, 'committing: look'],
    [HELD, STABLE, 'held until closed: look'],
    [COMMITTING, STABLE, 'committing: look'],
    [CLEAN, CUT, 'committing: look'],
    [RECEIVING, CUT, 'receiving: look'],
    [TIMED, CUT, 'held 1000 ms: look'],
    [CLEAN, COMMIT, 'clean: stay'],
    [RECEIVING, COMMIT, 'committing: wait'],
    [HELD, COMMIT, 'committing: wait'],
    [COMMITTING, COMMIT, 'committing: stay'],
    [UNDECIDED, COMMIT, 'undecided: stay'],
  ]
  for (const [state, event, words] of CALLS) {
    test(`${event.kind} while ${state.kind}: ${words}`, () => expect(after(state, event)).toBe(words))
  }

  test('a truncation to nothing, or to the header, is remembered to the end of the save', () => {
    for (const state of [CLEAN, ...UNDER_WAY]) {
      const cut = next(state, EMPTIED, TIMES).state
      expect(cut).toMatchObject({ truncated: true })
      expect(next(cut, CUT, TIMES).state).toMatchObject({ truncated: true })
      expect(next(cut, UNSTABLE, TIMES).state).toMatchObject({ truncated: true })
      expect(next(cut, seen(false, OPEN, REWRITE), TIMES).state).toMatchObject({ truncated: true })
    }
    expect(next(CLEAN, CUT, TIMES).state).toMatchObject({ truncated: false })
  })

  const ANSWERS: readonly ['stable WRITE' | 'COMMIT', Sight, Shape, string][] = [
    ['stable WRITE', OPEN, REWRITE, 'held until closed: hold'],
    ['stable WRITE', CLOSED, REWRITE, 'committing: judge'],
    ['stable WRITE', UNKNOWN, REWRITE, 'committing: judge by bytes'],
    ['stable WRITE', KILLED, REWRITE, 'set aside: give up'],
    ['stable WRITE', OPEN, APPEND, 'held until closed: hold'],
    ['COMMIT', OPEN, REWRITE, 'held until closed: hold'],
    ['COMMIT', CLOSED, REWRITE, 'committing: judge'],
    ['COMMIT', UNKNOWN, REWRITE, 'committing: judge by bytes'],
    ['COMMIT', KILLED, REWRITE, 'set aside: give up'],
    ['COMMIT', OPEN, APPEND, 'committing: judge by bytes'],
    ['COMMIT', OPEN, PAGES, 'held until closed: hold'],
    ['COMMIT', CLOSED, PAGES, 'committing: judge'],
  ]
  for (const [call, sight, shape, words] of ANSWERS) {
    test(`${call} with the file ${sight.kind}, ${shape.isAppend ? 'an append' : 'a rewrite'}: ${words}`, () => {
      for (const state of [HELD, TIMED, COMMITTING])
        expect(after(state, seen(call === 'COMMIT', sight, shape))).toBe(words)
    })
  }

  test('the answer to a COMMIT waits for the close of an append that is not written back in the middle', () => {
    expect(SIGHTS.map(sight => awaitsClose(sight, APPEND))).toEqual([true, false, false, false])
    expect([REWRITE, PAGES].some(shape => awaitsClose(OPEN, shape))).toBe(false)
  })

  test('a size that is set while a COMMIT is owed is judged by bytes, whoever has the file open', () => {
    for (const sight of SIGHTS) expect(after(RECEIVING, seen(false, sight, REWRITE))).toBe('committing: judge by bytes')
  })

  test('a look ends only what waits for the close of its file', () => {
    for (const state of STATES.filter(other => other !== HELD))
      for (const sight of SIGHTS) expect(next(state, look(sight), TIMES)).toEqual({ state, act: { kind: 'stay' } })
    expect(SIGHTS.map(sight => after(HELD, look(sight)))).toEqual([
      'held until closed: wait',
      'committing: judge late',
      `held ${TIMES.incompleteMs} ms: wait`,
      'set aside: give up',
    ])
  })

  test('a deadline ends what it was set for, but never what is open', () => {
    expect(SIGHTS.map(sight => after(TIMED, deadline(sight)))).toEqual([
      'held until closed: wait',
      'committing: judge late',
      'committing: judge late',
      'set aside: give up',
    ])
    expect(SIGHTS.map(sight => after(RECEIVING, deadline(sight)))).toEqual([
      'receiving: wait',
      'set aside: give up',
      'set aside: give up',
      'set aside: give up',
    ])
  })

  test('the end of the server leaves to the next one what its programs may go on with', () => {
    for (const sight of SIGHTS) expect(after(RECEIVING, end(sight))).toBe('receiving: stay')
    for (const state of [HELD, TIMED]) {
      const [open, ...others] = SIGHTS.map(sight => next(state, end(sight), TIMES))
      expect(open).toEqual({ state, act: { kind: 'stay' } })
      expect(others.map(wordsOf)).toEqual(['committing: judge late', 'committing: judge late', 'set aside: give up'])
      for (const sight of SIGHTS) expect(next(state, end(sight, true), TIMES)).toEqual({ state, act: { kind: 'stay' } })
    }
  })

  test('nothing is committed or set aside while its file is open, unless its bytes say that it is whole', () => {
    const events = [UNSTABLE, STABLE, CUT, EMPTIED, COMMIT, look(OPEN), deadline(OPEN), end(OPEN)]
    for (const shape of [REWRITE, APPEND, PAGES]) events.push(seen(false, OPEN, shape), seen(true, OPEN, shape))
    for (const state of STATES) {
      for (const event of events) {
        const { act } = next(state, event, TIMES)
        expect(['give up', 'set aside', 'drop']).not.toContain(act.kind)
        if (act.kind === 'judge') expect(act).toMatchObject({ told: true, doubt: { isOpen: true } })
      }
    }
  })

  test('REMOVE takes all rows away a moment later, so that the name can be made anew', () => {
    expect(after(CLEAN, { kind: 'REMOVE' })).toBe(`held ${TIMES.removedMs} ms: hold`)
    expect(next(CLEAN, { kind: 'REMOVE' }, TIMES).state).toMatchObject({ truncated: true, answered: false })
  })

  test('what is given up with the name is all but the saves of programs that are known to have it open', () => {
    expect(UNDER_WAY.map(state => after(state, abandon(true)))).toEqual([
      'receiving: stay',
      'held until closed: stay',
      'clean: drop',
      'clean: drop',
    ])
    expect(after(RECEIVING, abandon(false))).toBe('clean: drop')
    expect(after(UNDECIDED, abandon(false))).toBe('undecided: stay')
  })

  const restart = (facts: Partial<Extract<SaveEvent, { kind: 'restart' }>>): SaveEvent => ({
    kind: 'restart',
    owesCommit: false,
    isEmpty: false,
    ...FACTS,
    ...facts,
  })

  test('a restart takes a save up where its journal has it, and the first call of a client sets its clock', () => {
    expect(after(CLEAN, restart({ owesCommit: true }))).toBe('receiving: wait')
    expect(after(CLEAN, restart({}))).toBe(`held ${TIMES.answeredMs} ms: wait`)
    expect(after(CLEAN, restart({ isEmpty: true, truncated: true }))).toBe(`held ${TIMES.abandonedMs} ms: wait`)
    const { state } = next(CLEAN, restart({ truncated: true, answered: true }), TIMES)
    expect(state).toMatchObject({ truncated: true, answered: true, restarted: true })
    const called = next(state, { kind: 'client' }, TIMES)
    expect(wordsOf(called)).toBe(`held ${TIMES.resumedMs} ms: wait`)
    expect(next(called.state, { kind: 'client' }, TIMES).act.kind).toBe('stay')
    for (const other of STATES) expect(next(other, { kind: 'client' }, TIMES).act.kind).toBe('stay')
  })

  test('an image that may not be whole is held, for the close or for a time, and answered bytes are never dropped', () => {
    const incomplete = {
      kind: 'incomplete',
      ms: 7,
      because: 'more may follow',
      isOpen: false,
      hasWritten: true,
    } as const
    expect(after(COMMITTING, incomplete)).toBe('held 7 ms: hold')
    expect(after(COMMITTING, { ...incomplete, isOpen: true })).toBe('held until closed: hold')
    const { state } = next(COMMITTING, incomplete, TIMES)
    expect(state).toMatchObject({ answered: true, because: 'more may follow' })
    expect(next(COMMITTING, { ...incomplete, hasWritten: false }, TIMES).state).toMatchObject({ answered: false })
    expect(after(state, refused(true))).toBe('set aside: set aside')
  })

  test('what is refused is dropped if its program hears of it and was told nothing else, and kept if not', () => {
    for (const state of [...UNDER_WAY, UNDECIDED]) {
      expect(after(state, refused(true))).toBe('clean: drop')
      expect(after(state, refused(false))).toBe('set aside: set aside')
    }
  })

  test('a commit that may be in the log is looked for before anything else happens', () => {
    expect(after(COMMITTING, { kind: 'unknown' })).toBe('undecided: wait')
    for (const event of [deadline(CLOSED), end(OPEN)]) expect(after(UNDECIDED, event)).toBe('undecided: find out')
    expect(after(UNDECIDED, { kind: 'unknown' })).toBe('undecided: wait')
    expect(after(UNDECIDED, { kind: 'not in the log' })).toBe(`held ${UNDECIDED_MS} ms: wait`)
  })

  test('a save that is over leaves nothing', () => {
    for (const state of STATES) expect(after(state, { kind: 'over' })).toBe('clean: stay')
  })

  test('who has it open, and who was killed, is told', () => {
    expect(next(COMMITTING, seen(false, OPEN, REWRITE), TIMES)).toEqual({
      state: { ...HELD, because: 'it is open for writing by cp (process 7)', answered: true },
      act: { kind: 'hold' },
    })
    expect(next(COMMITTING, seen(true, KILLED, REWRITE), TIMES).act).toEqual({
      kind: 'give up',
      because: 'cp (process 7), which wrote it, was killed by signal 9',
      told: true,
    })
  })
})

describe('the image of a save', () => {
  test('is that of a program which is known to have the file open, and nobody else waits for it', () => {
    expect(STATES.filter(state => isOpenElsewhere(state, true))).toEqual([RECEIVING, HELD])
    expect(STATES.filter(state => isOpenElsewhere(state, false))).toEqual([HELD])
  })

  test('is nobody else\u2019s to see then, nor while a whole file is being committed', () => {
    expect(isPrivate(COMMITTING, true)).toBe(false)
    expect(isPrivate({ ...COMMITTING, truncated: true }, true)).toBe(true)
    expect(isPrivate({ ...COMMITTING, truncated: true }, false)).toBe(false)
  })
})
