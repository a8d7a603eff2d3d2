import { describe, expect, test } from 'bun:test'
import { type NameEvent, type NameState, nextName, REMOVED_MS, RESTORED_MS } from '../../../src/fs/saves/name-state.ts'

const TIMES = { awayMs: 1000, answeredMs: 15_000, resumedMs: 3000 }
const NOW = 10_000

type State = NameState<string>
type Event = NameEvent<string>

const THERE: State = { kind: 'there' }
const AWAY: State = { kind: 'away', lineage: 'old', silly: false, ms: TIMES.awayMs, restarted: false }
const SILLY: State = { ...AWAY, silly: true }
const CREATED: State = { kind: 'created over', lineage: 'new', backup: 'old' }
const RESTORING: State = { kind: 'restoring', untilMs: NOW + RESTORED_MS }
const REMOVED: State = { kind: 'removed', untilMs: NOW + REMOVED_MS }
const PRESENT = [THERE, CREATED, RESTORING, REMOVED]

const create = (isExclusive: boolean, isEmptied = false, nowMs = NOW): Event => ({
  kind: 'CREATE',
  isExclusive,
  isEmptied,
  nowMs,
})
const remove = (nowMs = NOW): Event => ({ kind: 'REMOVE', lineage: 'new', nowMs })
const renameAway = (silly = false, isRepeated = false): Event => ({
  kind: 'RENAME away',
  lineage: 'new',
  silly,
  isRepeated,
})
const saveRefused = (lineage: string, isAsBackup = true): Event => ({
  kind: 'save refused',
  lineage,
  isAsBackup,
  nowMs: NOW,
})

const next = (state: State, event: Event) => nextName(state, event, TIMES)
const after = (state: State, event: Event): string => `${next(state, event).state.kind}: ${next(state, event).act}`

describe('the name of a view', () => {
  const TABLE: readonly [State, Event, string][] = [
    [THERE, create(false), 'there: open'],
    [THERE, create(true), 'there: exists'],
    [THERE, create(true, true), 'there: empty'],
    [THERE, remove(), 'there: remove rows'],
    [THERE, { kind: 'emptied', nowMs: NOW }, 'removed: stay'],
    [THERE, renameAway(), 'away: wait'],
    [THERE, { kind: 'RENAME onto' }, 'there: stay'],
    [THERE, { kind: 'RENAME refused' }, 'there: stay'],
    [THERE, saveRefused('old'), 'there: stay'],
    [THERE, { kind: 'restart', lineage: 'old', silly: true }, 'away: wait'],
    [THERE, { kind: 'deadline' }, 'there: stay'],
    [AWAY, create(false), 'away: create'],
    [AWAY, create(true), 'away: create'],
    [AWAY, { kind: 'created', lineage: 'new' }, 'created over: stay'],
    [AWAY, remove(), 'away: missing'],
    [AWAY, renameAway(), 'away: missing'],
    [AWAY, renameAway(false, true), 'away: stay'],
    [AWAY, { kind: 'RENAME onto' }, 'there: stay'],
    [AWAY, { kind: 'RENAME refused' }, 'there: put back'],
    [AWAY, { kind: 'deadline' }, 'there: put back'],
    [SILLY, { kind: 'deadline' }, 'there: put back without rows'],
    [AWAY, { kind: 'client' }, 'away: stay'],
    [AWAY, { kind: 'end' }, 'there: stay'],
    [REMOVED, create(true), 'removed: empty'],
    [REMOVED, create(true, false, NOW + REMOVED_MS), 'removed: exists'],
    [REMOVED, create(false), 'removed: open'],
    [REMOVED, renameAway(), 'away: wait'],
    [CREATED, saveRefused('new'), 'restoring: stay'],
    [CREATED, saveRefused('new', false), 'created over: stay'],
    [CREATED, saveRefused('other'), 'created over: stay'],
    [CREATED, remove(), 'created over: remove rows'],
    [RESTORING, remove(), 'away: wait'],
    [RESTORING, remove(NOW + RESTORED_MS), 'restoring: remove rows'],
    [RESTORING, { kind: 'RENAME onto' }, 'there: stay'],
  ]
  for (const [state, event, words] of TABLE) {
    const facts = Object.entries(event).filter(([key, value]) => key !== 'kind' && value === true)
    test(`${state.kind}, ${[event.kind, ...facts.map(([key]) => key)].join(' ')}: ${words}`, () => {
      expect(after(state, event)).toBe(words)
    })
  }

  test('comes back when it has been away for as long as its rename says', () => {
    for (const state of PRESENT) {
      expect(next(state, renameAway(true)).state).toEqual({ ...SILLY, lineage: 'new' })
      expect(next(state, renameAway()).state).toEqual({ ...AWAY, lineage: 'new' })
    }
    expect(next(RESTORING, remove()).state).toEqual({ ...AWAY, lineage: 'new' })
  })

  test('waits longer after a restart, and its clock is set by the first call of a client', () => {
    const { state } = next(THERE, { kind: 'restart', lineage: 'old', silly: true })
    expect(state).toEqual({ ...SILLY, ms: TIMES.answeredMs, restarted: true })
    const called = next(state, { kind: 'client' })
    expect(called).toEqual({ state: { ...SILLY, ms: TIMES.resumedMs }, act: 'wait' })
    expect(next(called.state, { kind: 'client' }).act).toBe('stay')
  })

  test('goes through a save of vim that is refused, and whose backup is put back', () => {
    let state: State = THERE
    const acts = [
      renameAway(),
      create(false),
      { kind: 'created', lineage: 'new' },
      saveRefused('new'),
      remove(),
      { kind: 'RENAME onto' },
    ].map(event => {
      const step = next(state, event as Event)
      state = step.state
      return step.act
    })
    expect(acts).toEqual(['wait', 'create', 'stay', 'stay', 'wait', 'stay'])
    expect(state).toEqual(THERE)
  })
})
