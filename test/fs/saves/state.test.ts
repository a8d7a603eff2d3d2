import { describe, expect, test } from 'bun:test'
import { next, type SaveEvent, type SaveState, type Shape } from '../../../src/fs/saves/state.ts'
import type { Sight } from '../../../src/fs/saves/watch.ts'

const RECEIVING: SaveState = { kind: 'receiving' }
const HELD: SaveState = { kind: 'held', until: { kind: 'closed' }, because: 'it is open' }
const TIMED: SaveState = { kind: 'held', until: { kind: 'time', ms: 1000 }, because: 'it has no newline' }
const JUDGED: SaveState = { kind: 'judged' }
const STATES = [RECEIVING, HELD, TIMED, JUDGED]

const OPEN: Sight = { kind: 'open', by: 'cp (process 7)' }
const CLOSED: Sight = { kind: 'closed' }
const UNKNOWN: Sight = { kind: 'unknown' }
const KILLED: Sight = { kind: 'killed', by: { pid: 7, command: 'cp', signal: 9 } }
const SIGHTS = [OPEN, CLOSED, UNKNOWN, KILLED]

const REWRITE: Shape = { isAppend: false, isPages: false }
const APPEND: Shape = { isAppend: true, isPages: false }
const PAGES: Shape = { isAppend: true, isPages: true }

const kindOf = (state: SaveState, event: SaveEvent, sight: Sight, shape = REWRITE): string =>
  next(state, event, sight, shape).kind

describe('what comes next for a save', () => {
  test('a WRITE that may stay in memory waits for its COMMIT, whatever else is known', () => {
    for (const state of STATES)
      for (const sight of SIGHTS) expect(kindOf(state, 'unstable write', sight)).toBe('receive')
  })

  test('a stable WRITE behind such ones waits for it, too', () => {
    for (const sight of SIGHTS) expect(kindOf(RECEIVING, 'stable write', sight)).toBe('receive')
  })

  const CALLS: readonly [SaveEvent, Sight, Shape, string][] = [
    ['stable write', OPEN, REWRITE, 'hold'],
    ['stable write', CLOSED, REWRITE, 'judge'],
    ['stable write', UNKNOWN, REWRITE, 'judge by bytes'],
    ['stable write', KILLED, REWRITE, 'set aside'],
    ['stable write', OPEN, APPEND, 'hold'],
    ['commit', OPEN, REWRITE, 'hold'],
    ['commit', CLOSED, REWRITE, 'judge'],
    ['commit', UNKNOWN, REWRITE, 'judge by bytes'],
    ['commit', KILLED, REWRITE, 'set aside'],
    ['commit', OPEN, APPEND, 'await close'],
    ['commit', OPEN, PAGES, 'hold'],
    ['commit', CLOSED, PAGES, 'judge'],
  ]
  for (const [event, sight, shape, kind] of CALLS) {
    test(`${event} with the file ${sight.kind}, ${shape.isAppend ? 'an append' : 'a rewrite'}: ${kind}`, () => {
      for (const state of [HELD, TIMED, JUDGED]) expect(kindOf(state, event, sight, shape)).toBe(kind)
    })
  }

  test('a look ends only what waits for the close of its file', () => {
    for (const state of [RECEIVING, TIMED, JUDGED])
      for (const sight of SIGHTS) expect(kindOf(state, 'look', sight)).toBe('stay')
    expect(SIGHTS.map(sight => kindOf(HELD, 'look', sight))).toEqual(['hold', 'judge', 'judge by bytes', 'set aside'])
  })

  test('a deadline ends what it was set for, but never what is open', () => {
    expect(SIGHTS.map(sight => kindOf(TIMED, 'deadline', sight))).toEqual(['hold', 'judge', 'judge', 'set aside'])
    expect(SIGHTS.map(sight => kindOf(RECEIVING, 'deadline', sight))).toEqual([
      'receive',
      'set aside',
      'set aside',
      'set aside',
    ])
  })

  test('the end of the server leaves to the next one what its programs may go on with', () => {
    for (const sight of SIGHTS) expect(kindOf(RECEIVING, 'end', sight)).toBe('leave')
    for (const state of [HELD, TIMED])
      expect(SIGHTS.map(sight => kindOf(state, 'end', sight))).toEqual(['leave', 'judge', 'judge', 'set aside'])
  })

  test('nothing is committed or set aside while its file is open', () => {
    const events: readonly SaveEvent[] = ['unstable write', 'stable write', 'commit', 'look', 'deadline', 'end']
    for (const state of STATES) {
      for (const event of events) {
        for (const shape of [REWRITE, APPEND, PAGES])
          expect(['judge', 'judge by bytes', 'set aside']).not.toContain(kindOf(state, event, OPEN, shape))
      }
    }
  })

  test('who has it open, and who was killed, is told', () => {
    expect(next(JUDGED, 'stable write', OPEN, REWRITE)).toEqual({
      kind: 'hold',
      until: { kind: 'closed' },
      because: 'it is open for writing by cp (process 7)',
    })
    expect(next(JUDGED, 'commit', KILLED, REWRITE)).toEqual({
      kind: 'set aside',
      because: 'cp (process 7), which wrote it, was killed by signal 9',
    })
  })
})
