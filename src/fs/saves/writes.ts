import { clientKey } from '../ends-of-file.ts'
import { FsError } from '../filesystem.ts'
import { type Lineage, lostHandle, writeKey } from '../lineage.ts'
import type { Lineages } from '../lineages.ts'
import type { TableText } from '../text/layout.ts'
import { isAt } from '../text/text.ts'
import type { WritePlace } from '../write-places.ts'
import { isWholeAppend } from './image-facts.ts'
import type { Outcome } from './outcome.ts'
import { joinSave, type Written } from './places.ts'
import type { StableWrite } from './queue.ts'
import type { Reporter } from './reporter.ts'
import type { Save } from './save.ts'
import type { Staging } from './staging.ts'
import type { Transitions } from './transitions.ts'

export interface WritesOptions {
  readonly lineages: Lineages
  readonly staging: Staging
  readonly transitions: Transitions
  readonly reporter: Reporter
}

/** The places of some WRITEs in the text that their lineage showed. */
interface Found {
  readonly text: TableText
  readonly places: Map<Written, WritePlace>
}

/** Brings WRITEs into the save that they belong to. Each call has its turn in the queue. */
export class Writes {
  readonly #options: WritesOptions

  constructor(options: WritesOptions) {
    this.#options = options
  }

  /** A WRITE that may stay in memory: staged. */
  async unstable(lineage: Lineage, write: Written): Promise<void> {
    const { transitions } = this.#options
    await transitions.findOut(lineage)
    const save = await this.#saveFor(lineage, [write], lineage.status !== 'retired')
    await save.watch.note(write.caller)
    await this.#stage(save, [write], false)
    transitions.note(save, { kind: 'WRITE', stable: false, isWholeAppend: false })
  }

  /** Stable WRITEs to one lineage, answered by what becomes of their save. */
  async stable(writes: readonly StableWrite[]): Promise<Outcome> {
    const { lineage, isGood } = writes[0]!
    const { transitions, staging } = this.#options
    const keys = writes.map(({ offset, bytes }) => writeKey(offset, bytes))
    await transitions.findOut(lineage)
    let found: Found | undefined
    if (staging.of(lineage) === undefined) {
      const isUnknown = writes.every(({ caller }) => lineage.ends.of(caller).length === 0)
      if (isUnknown && keys.every(key => lineage.repeats.has(key))) return { kind: 'unchanged', asWritten: false }
      found = { text: await this.#options.lineages.text(lineage), places: new Map() }
      if (await this.#changesNothing(lineage, writes, found)) return { kind: 'unchanged', asWritten: true }
    }
    // What one client wrote stays together: it may have written its rows anew with each WRITE.
    const byClient = [...Map.groupBy(writes, ({ caller }) => clientKey(caller)).values()].flat()
    const save = await this.#saveFor(lineage, byClient, isGood, found)
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
  async #changesNothing(lineage: Lineage, writes: readonly Written[], { text, places }: Found): Promise<boolean> {
    const { lineages } = this.#options
    for (const write of writes) {
      const { offset, bytes, caller } = write
      const place = await lineages.placeOf(lineage, caller, offset, bytes)
      places.set(write, place)
      if (place.kind === 'on') return false
      if (place.kind === 'here' && !(await isAt(text, offset, bytes))) return false
      if (place.kind === 'behind' && offset + bytes.length > place.end.size) return false
    }
    return true
  }

  /**
   * The save that some WRITEs go into, in which each of their clients has its place. Until it has begun, a look of others at the table
   * may move the lineage on, and a place in the text before is none in the next one.
   */
  async #saveFor(lineage: Lineage, writes: readonly Written[], isGood: boolean, found?: Found): Promise<Save> {
    const { lineages, staging } = this.#options
    const known = staging.of(lineage)
    if (known === undefined && !isGood) throw lostHandle(lineage)
    let text: TableText
    let places: [string, WritePlace][]
    do {
      text = await lineages.text(lineage)
      places = await this.#placesOf(lineage, known, writes, found?.text === text ? found : undefined)
    } while (known === undefined && lineage.text !== text)
    const first = places[0]?.[1]
    // Each of them is a save of its own.
    if (places.length > 1 && places.some(([, { kind }]) => kind === 'on'))
      throw new FsError(
        'EJUKEBOX',
        `data.${lineage.format}: the writes of several clients are no single save; ask again`,
      )
    const base = first?.kind === 'on' && places.length === 1 ? first.text : text
    const save = known ?? this.#begin(lineage, base)
    for (const [key, place] of places) {
      const isNew = writes.some(({ caller }) => clientKey(caller) === key && lineages.isNew(lineage, caller))
      await joinSave(save, key, place, known !== undefined, isNew, writes)
    }
    return save
  }

  /** The places of the clients of some WRITEs that have none in a save yet (`clientKey`). */
  async #placesOf(
    lineage: Lineage,
    known: Save | undefined,
    writes: readonly Written[],
    found: Found | undefined,
  ): Promise<[string, WritePlace][]> {
    const places: [string, WritePlace][] = []
    for (const write of writes) {
      const { caller, offset, bytes } = write
      const key = clientKey(caller)
      if (known?.places.has(key) === true || places.some(([other]) => other === key)) continue
      const place = found?.places.get(write) ?? (await this.#options.lineages.placeOf(lineage, caller, offset, bytes))
      places.push([key, place])
    }
    return places
  }

  /** A save begins with a WRITE: its refusal sticks to the handle in its client, so that the name gets a new one. */
  #begin(lineage: Lineage, base: TableText): Save {
    const { lineages, staging, reporter } = this.#options
    try {
      return staging.begin(lineage, base)
    } catch (error) {
      const { mtime } = lineage
      lineages.touch(lineage)
      lineages.retire(lineage, mtime)
      throw reporter.refusal(error)
    }
  }
}
