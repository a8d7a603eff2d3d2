import { clientKey } from '../ends-of-file.ts'
import { type Line, type Lines, lostHandle, writeKey } from '../lines.ts'
import type { TableText } from '../text/layout.ts'
import { isAt } from '../text/text.ts'
import { isWholeAppend } from './image-facts.ts'
import type { Outcome } from './outcome.ts'
import { checkTogether, isBehindEarlier, joinSave, type Written } from './places.ts'
import type { StableWrite } from './queue.ts'
import type { Reporter } from './reporter.ts'
import { isTruncated, type Save } from './save.ts'
import type { Staging } from './staging.ts'
import type { Transitions } from './transitions.ts'
import type { WritePlace } from './writing.ts'

export interface WritesOptions {
  readonly lines: Lines
  readonly staging: Staging
  readonly transitions: Transitions
  readonly reporter: Reporter
}

/** Brings WRITEs into the save that they belong to. Each call has its turn in the queue. */
export class Writes {
  readonly #options: WritesOptions

  constructor(options: WritesOptions) {
    this.#options = options
  }

  /** A WRITE that may stay in memory: staged. */
  async unstable(line: Line, write: Written): Promise<void> {
    const { transitions } = this.#options
    await transitions.findOut(line)
    const save = await this.#saveFor(line, [write], line.status !== 'retired')
    await save.watch.note(write.caller)
    await this.#stage(save, [write], false)
    transitions.note(save, { kind: 'WRITE', stable: false, isWholeAppend: false })
  }

  /** Stable WRITEs to one line, answered by what becomes of their save. */
  async stable(writes: readonly StableWrite[]): Promise<Outcome> {
    const { line, isGood } = writes[0]!
    const { transitions, staging } = this.#options
    const keys = writes.map(({ offset, bytes }) => writeKey(offset, bytes))
    await transitions.findOut(line)
    const places = new Map<Written, WritePlace>()
    if (staging.of(line) === undefined) {
      if (keys.every(key => line.repeats.has(key))) return { kind: 'unchanged', asWritten: false }
      if (await this.#changesNothing(line, writes, places)) return { kind: 'unchanged', asWritten: false }
    }
    // What one client wrote stays together, in its order: it may have written its rows anew with each WRITE.
    const byClient = [...Map.groupBy(writes, ({ caller }) => clientKey(caller)).values()].flatMap(own =>
      own.toSorted((left, right) => left.offset - right.offset),
    )
    const save = await this.#saveFor(line, byClient, isGood, places)
    for (const { caller } of writes) await save.watch.note(caller)
    await this.#stage(save, byClient, true)
    save.written = keys
    const isWhole = save.state.kind !== 'receiving' && (await isWholeAppend(save))
    return transitions.call(save, { kind: 'WRITE', stable: true, isWholeAppend: isWhole })
  }

  async #stage(save: Save, writes: readonly Written[], stable: boolean): Promise<void> {
    await this.#options.transitions.staging(save, () => {
      for (const write of writes) this.#options.staging.write(save, write, stable)
    })
  }

  /** Clients resend whole pages: bytes that are there already make no save. Notes where they belong. */
  async #changesNothing(line: Line, writes: readonly Written[], places: Map<Written, WritePlace>): Promise<boolean> {
    const { lines } = this.#options
    const text = await lines.text(line)
    for (const write of writes) {
      const { offset, bytes, caller } = write
      const place = await lines.placeOf(line, caller, offset, bytes)
      places.set(write, place)
      if (place.base !== text) return false
      if (place.isChange ? !(await isAt(text, offset, bytes)) : offset + bytes.length > place.end) return false
    }
    return true
  }

  /** The save that some WRITEs go into, in which each of their clients has its place; `found`: places that are known. */
  async #saveFor(
    line: Line,
    writes: readonly Written[],
    isGood: boolean,
    found: ReadonlyMap<Written, WritePlace> = new Map(),
  ): Promise<Save> {
    const { lines, staging } = this.#options
    const known = staging.of(line)
    if (known === undefined && !isGood) throw lostHandle(line)
    const places = new Map<string, WritePlace>()
    for (const write of writes) {
      const { caller, offset, bytes } = write
      const key = clientKey(caller)
      const has = known?.places.get(key)
      write.place = undefined
      if (has !== undefined && (has.isChange || (known !== undefined && isTruncated(known)))) continue
      const place = found.get(write) ?? (await lines.placeOf(line, caller, offset, bytes))
      write.place = place
      if (!places.has(key) || place.isChange) places.set(key, place)
    }
    if (known !== undefined && (await isBehindEarlier(known, places))) {
      const { transitions } = this.#options
      transitions.note(known, { kind: 'COMMIT' })
      await transitions.call(known, { kind: 'WRITE', stable: true, isWholeAppend: true })
      if (staging.of(line) !== known) return this.#saveFor(line, writes, isGood)
    }
    const [first] = places.values()
    const base = first !== undefined && places.size === 1 ? first.base : await lines.text(line)
    if (places.size > 1) checkTogether(base, places, writes)
    const save = known ?? this.#begin(line, base)
    for (const [key, place] of places) await joinSave(save, key, place, known !== undefined, writes)
    return save
  }

  /** A save begins with a WRITE: its refusal sticks to the handle in its client, so that the name gets a new one. */
  #begin(line: Line, base: TableText): Save {
    const { lines, staging, reporter } = this.#options
    try {
      return staging.begin(line, base)
    } catch (error) {
      const { mtime } = line
      lines.touch(line)
      lines.retire(line, mtime)
      throw reporter.refusal(error)
    }
  }
}
