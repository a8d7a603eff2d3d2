import { describe, expect, test } from 'bun:test'
import { momentMs } from '../../src/core/clock.ts'
import { type ImageOfSave, KnownTexts } from '../../src/fs/known-texts.ts'
import type { Lineage } from '../../src/fs/lineage.ts'

const A = { connection: 1, uid: 0, socket: undefined }
const B = { ...A, connection: 2 }
const keyOf = ({ connection }: typeof A): string => String(connection)
const lineage = { id: 1000n } as Lineage

function made() {
  const known = new KnownTexts<Lineage>(250)
  const clock = { ms: 1_700_000_000_000, nowMs: () => clock.ms }
  const now = (): number => momentMs(clock)
  return {
    clock,
    known,
    now,
    reads: (client: typeof A, of: bigint | ImageOfSave, size: number) => known.read(client, lineage, of, size, now()),
    writes: (client: typeof A, of: bigint | ImageOfSave, size: number) =>
      known.wrote(keyOf(client), lineage, of, size, now()),
    tells: (client: typeof A, of: bigint, size: number) => known.told(client, lineage, of, size, now()),
    at: (client: typeof A, sinceMs: number) => {
      const found = known.at(client, sinceMs)
      const short = (texts: readonly { version: bigint; size: number }[]): [bigint, number][] =>
        texts.map(({ version, size }) => [version, size])
      return found && [short(found.first), short(found.later)]
    },
  }
}

/** A save of which the version before is `base`, with a text of 100 bytes. */
const saveOf = (base: bigint): ImageOfSave => ({ base: { size: 100, version: base }, became: undefined })

describe('what a program of a client knew when it began', () => {
  test('is what its client read last before, or first since, also within one millisecond', () => {
    const { at, clock, now, reads } = made()
    expect(at(A, now())).toBeUndefined()
    reads(A, 1n, 10)
    clock.ms += 1000
    const begun = now()
    expect(at(A, begun)).toEqual([[[1n, 10]], []])
    reads(A, 2n, 20)
    expect(at(A, begun)).toEqual([[[2n, 20]], []])
    // Another program of the client reads on.
    reads(A, 3n, 30)
    expect(at(A, begun)).toEqual([[[2n, 20]], [[3n, 30]]])
  })

  test('is a text without bytes that it was told of, as it sends no READ for that', () => {
    const { at, known, now, reads } = made()
    known.opened(A, lineage, 0n, 0, now())
    const begun = now()
    const other = { id: 1001n } as Lineage
    known.opened(A, other, 1n, 10, now())
    known.read(A, other, 1n, 10, now())
    expect(at(A, begun)).toEqual([[[0n, 0]], [[1n, 10]]])
    reads(A, 1n, 10)
    expect(at(A, begun)).toEqual([
      [[0n, 0]],
      [
        [1n, 10],
        [1n, 10],
      ],
    ])
  })

  test('is what it opened, or that and what another program of its client wrote behind it', () => {
    const { at, known, now, writes } = made()
    known.opened(A, lineage, 1n, 10, now())
    const begun = now()
    writes(A, 2n, 20)
    expect(at(A, begun)).toEqual([
      [
        [1n, 10],
        [2n, 20],
      ],
      [],
    ])
  })

  test('is not what was in its cache, once it was told of another text and did not read that', () => {
    const { at, now, reads, tells } = made()
    reads(A, 1n, 10)
    tells(A, 1n, 10)
    expect(at(A, now())).toEqual([[[1n, 10]], []])
    tells(A, 2n, 20)
    expect(at(A, now())).toBeUndefined()
  })

  test('is what is in its cache only where it has asked for the attributes just before', () => {
    const { clock, at, now, reads, tells } = made()
    reads(A, 1n, 10)
    clock.ms += 3_600_000
    // A new file that was made from nothing that is here.
    expect(at(A, now())).toBeUndefined()
    tells(A, 1n, 10)
    expect(at(A, now())).toEqual([[[1n, 10]], []])
  })

  test('is not what other clients read', () => {
    const { at, now, reads } = made()
    reads(A, 1n, 10)
    const begun = now()
    reads(B, 2n, 20)
    expect(at(A, begun)).toEqual([[[1n, 10]], []])
  })

  test('is what it wrote itself, and what it writes since may be known to it', () => {
    const { at, now, reads, writes } = made()
    reads(A, 1n, 10)
    writes(A, 2n, 20)
    const begun = now()
    expect(at(A, begun)).toEqual([[[2n, 20]], []])
    writes(A, 3n, 30)
    expect(at(A, begun)).toEqual([[[2n, 20]], [[3n, 30]]])
  })

  test('is up to where the image of a save went when it was read, once that is in the table as it was', () => {
    const { at, now, reads } = made()
    const save = saveOf(4n)
    const begun = now()
    reads(A, save, 110)
    expect(at(A, begun)).toEqual([[[4n, 100]], []])
    save.became = 5n
    expect(at(A, begun)).toEqual([[[5n, 110]], []])
  })

  test('is one of several where it opened the file more than once just before, each under a handle of its own', () => {
    const { clock, known, now } = made()
    const other = { id: 1001n } as Lineage
    known.read(A, lineage, 1n, 10, now())
    known.read(A, other, 2n, 20, now())
    expect(known.at(A, now())?.first.map(({ version }) => version)).toEqual([1n, 2n])
    clock.ms += 1000
    known.told(A, other, 2n, 20, now())
    expect(known.at(A, now())?.first.map(({ version }) => version)).toEqual([2n])
  })

  test('is one of those that it opened before others of its calls held it back', () => {
    const { clock, known, now } = made()
    const other = { id: 1001n } as Lineage
    known.read(A, lineage, 1n, 10, now())
    const startMs = now()
    clock.ms += 1000
    known.read(A, other, 2n, 20, now())
    const begun = now()
    expect(known.at(A, begun)?.first.map(({ version }) => version)).toEqual([2n])
    known.called(A, startMs, now())
    expect(known.at(A, begun)?.first.map(({ version }) => version)).toEqual([1n, 2n])
    expect(known.at(A, begun + 249)?.first.map(({ version }) => version)).toEqual([1n, 2n])
    expect(known.at(A, begun + 251)?.first.map(({ version }) => version)).toEqual([2n])
  })

  test('does not depend on how long its calls took, as far as time goes by between them', () => {
    const { clock, known, now } = made()
    const beganMs = now()
    const during = (fromMs: number, toMs: number): void => known.called(A, beganMs + fromMs, beganMs + toMs)
    clock.ms += 10_000
    during(1000, 2000)
    during(1500, 2500)
    during(1600, 1700)
    during(2520, 2540)
    during(4000, 5000)
    expect(known.idleMs(A, beganMs, beganMs + 6000)).toBe(1000 + 1500 + 1000)
    expect(known.idleMs(A, beganMs + 1200, beganMs + 4500)).toBe(1500)
    expect(known.idleMs(A, beganMs + 1200, beganMs + 1300)).toBe(0)
    expect(known.idleMs(B, beganMs, beganMs + 6000)).toBe(6000)
  })

  test('has rows of its own behind those of a version', () => {
    const { known, now } = made()
    const tail = new Uint8Array(5)
    known.wrote(keyOf(A), lineage, { size: 15, version: 1n, tail, landed: 3n }, 15, now())
    expect(known.at(A, now())?.first).toEqual([{ lineage, version: 1n, size: 10, tail, landed: 3n }])
  })

  test('is one text for a long file that is read piece by piece', () => {
    const { at, clock, now, reads } = made()
    reads(A, 1n, 10)
    clock.ms += 1000
    const begun = now()
    for (let i = 0; i < 100; i++) reads(A, 2n, 20)
    expect(at(A, begun)).toEqual([[[2n, 20]], []])
  })

  test('is forgotten of clients that have not called for long', () => {
    const { at, now, reads } = made()
    reads(A, 1n, 10)
    for (let i = 10; i < 100; i++) reads({ ...A, connection: i }, 1n, 10)
    expect(at(A, now())).toBeUndefined()
  })
})
