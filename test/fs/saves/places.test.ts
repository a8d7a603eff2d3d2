import { expect, test } from 'bun:test'
import { systemClock } from '../../../src/core/clock.ts'
import type { EditPlan } from '../../../src/fs/edits/change-plan.ts'
import { EndsOfFile, endOf } from '../../../src/fs/ends-of-file.ts'
import type { Lineages } from '../../../src/fs/lineages.ts'
import { noteEnds } from '../../../src/fs/saves/places.ts'
import type { ClientPlace, Save } from '../../../src/fs/saves/save.ts'
import type { TableText } from '../../../src/fs/text/layout.ts'

const IMAGE = new TextEncoder().encode(`${'.'.repeat(99)}\n4,Dave\n`)

test('a client all of whose WRITEs of a save were there before has the end that it had', async () => {
  const base = { size: 100, version: 3n } as TableText
  const places = new Map<string, ClientPlace>([
    // As a journal has it: without bytes of its own.
    ['repeats', { end: endOf(93, 1n), at: 100, written: 0 }],
    ['appends', { end: endOf(80, 2n), at: 100, written: 87 }],
  ])
  const image = { size: IMAGE.length, read: async (start: number, end: number) => IMAGE.subarray(start, end) }
  const ends = new EndsOfFile({ pinnedMs: 0, clock: systemClock, onChange: () => undefined })
  const save = { lineage: { ends }, base, image, places } as unknown as Save
  const noted: [string, number][] = []
  const lineages = {
    noteWrote: (_: unknown, client: string, { size }: { size: number }) => noted.push([client, size]),
  } as unknown as Lineages
  const plan = { kind: 'change', base, removed: [], added: [{ start: 100, anchor: 100 }] } as unknown as EditPlan
  await noteEnds(lineages, save, plan, { size: 107, version: 4n } as TableText, false)
  expect(noted).toEqual([['appends', 87]])
})
