import { messageOf } from '../../core/errors.ts'
import { closePlan } from '../edits/change-plan.ts'
import { clientKey } from '../ends-of-file.ts'
import { FsError } from '../filesystem.ts'
import type { Lineage } from '../lineage.ts'
import type { Lineages } from '../lineages.ts'
import type { TableText } from '../text/layout.ts'
import { Discards } from './discards.ts'
import type { Disk } from './disk.ts'
import { SaveJournal } from './journal.ts'
import type { Openers } from './openers.ts'
import { placed, type Written } from './places.ts'
import type { Reporter } from './reporter.ts'
import { newSave, type Save } from './save.ts'
import { Watch } from './watch.ts'

/** Pages of one save come in any order, but no save leaves a gap like this. */
const GAP_BYTES_MAX = 2 ** 34

export interface StagingOptions {
  readonly lineages: Lineages
  /** The folder of journals; it exists. */
  readonly directory: string
  readonly disk: Disk
  readonly openers: Openers
  readonly reporter: Reporter
  /** A save is over. */
  readonly onOver: (save: Save) => void
}

/** The saves that are under way, and their bytes on local disk: each has a journal, and an image over it. */
export class Staging {
  readonly #options: StagingOptions
  readonly #saves = new Map<bigint, Save>()
  readonly #discards: Discards

  constructor(options: StagingOptions) {
    this.#options = options
    this.#discards = new Discards(sentence => options.reporter.sayAlone(sentence))
  }

  /** The saves under way. */
  get all(): Save[] {
    return [...this.#saves.values()]
  }

  get size(): number {
    return this.#saves.size
  }

  of(lineage: Lineage): Save | undefined {
    return this.#saves.get(lineage.id)
  }

  has(save: Save): boolean {
    return this.#saves.get(save.lineage.id) === save
  }

  /** A save of a lineage begins; FsError if it cannot be staged. */
  begin(lineage: Lineage, base: TableText): Save {
    const header = {
      editId: crypto.randomUUID(),
      lineId: String(lineage.id),
      format: lineage.format,
      version: String(base.version),
      baseSize: base.size,
    } as const
    const journal = SaveJournal.create(this.#options.directory, header, this.#options.disk)
    lineage.repeats = new Set()
    const save = this.newSave(lineage, base, journal)
    this.add(save)
    return save
  }

  /** A save with a journal, which is not under way yet. */
  newSave(lineage: Lineage, base: TableText, journal: SaveJournal): Save {
    return newSave(lineage, base, journal, new Watch(this.#options.openers, lineage.id))
  }

  add(save: Save): void {
    this.#saves.set(save.lineage.id, save)
  }

  /** Stages a WRITE: what its client takes to be behind the end is behind the end. */
  write(save: Save, write: Written, stable: boolean): void {
    save.watch.written()
    save.sequence++
    const parts = placed(save, write)
    this.notePlace(save, clientKey(write.caller))
    for (const { offset, bytes } of parts) {
      checkGap(save, offset)
      save.image.splice(offset, save.journal.write(offset, bytes, stable), bytes.length)
      this.#options.lineages.touch(save.lineage)
    }
  }

  /** Keeps the place of a client in a save for a later process. */
  notePlace(save: Save, client: string): void {
    const place = save.places.get(client)
    if (place?.at !== undefined) save.journal.place(client, place.at, place.end)
  }

  /** Stages another size. */
  truncate(save: Save, size: number): void {
    checkGap(save, size)
    save.journal.truncate(size)
    save.image.truncate(size)
    save.sequence++
    this.#options.lineages.touch(save.lineage)
  }

  /** A save is over, and its journal with it. */
  drop(save: Save): void {
    this.#forget(save)
    this.#discards.discard(save.journal)
  }

  /** The journal of a save that is in the table is what a repeated call is known by until its lineage is saved. */
  dropSaved(save: Save): void {
    this.#forget(save)
    this.#options.lineages.whenSaved(() => this.#discards.discard(save.journal))
  }

  /** A save that an earlier process had brought to its end, or had not begun. */
  discard(journal: SaveJournal): void {
    this.#discards.discard(journal)
  }

  /** A save is over, and its bytes are still to be set aside, by this process or the next one. */
  leave(save: Save): void {
    this.#forget(save)
    try {
      save.journal.refuse()
    } catch (error) {
      this.#options.reporter.sayAlone(`${save.journal.path} cannot be renamed: ${messageOf(error)}`)
    }
  }

  /** Leaves all journals for the next process. */
  close(): void {
    for (const save of this.all) {
      this.#forget(save)
      save.journal.close()
    }
  }

  #forget(save: Save): void {
    forgetPlan(save)
    if (this.has(save)) this.#saves.delete(save.lineage.id)
    this.#options.onOver(save)
  }
}

/** Forgets the changes that were found in a save's image. */
export function forgetPlan(save: Save): void {
  const plan = save.planned?.plan
  save.planned = undefined
  if (!(plan instanceof Error)) closePlan(plan)
}

function checkGap({ image, lineage }: Save, offset: number): void {
  if (offset - image.size <= GAP_BYTES_MAX) return
  throw new FsError(
    'EFBIG',
    `data.${lineage.format} has ${image.size} bytes: nothing can be written ${offset - image.size} bytes behind its end`,
  )
}
