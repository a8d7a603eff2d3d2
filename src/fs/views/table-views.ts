import type { Clock } from '../../core/clock.ts'
import type { Caller } from '../filesystem.ts'
import type { Lineage } from '../lineage.ts'
import type { Text } from '../text/text.ts'
import { type SeenVersion, VersionTimes } from '../version-times.ts'
import type { ViewName } from '../view-name.ts'
import type { TableView, TableViewOptions } from './table-view.ts'

/** A view of the table's rows, with its name if it can be edited. */
export interface EditableView {
  readonly view: TableView
  readonly name: ViewName | undefined
}

/**
 * The views of the table's rows, whose saves depend on each other: one that can be edited waits for those before it, and
 * one that is only read for all of them.
 */
export class TableViews {
  readonly #versions: VersionTimes
  readonly #onNames: () => void
  readonly #all: EditableView[] = []

  constructor(clock: Clock, onNames: () => void) {
    this.#versions = new VersionTimes(clock)
    this.#onNames = onNames
  }

  /** Returns the options of a view that is to be added. */
  optionsFor(writable: boolean): Omit<TableViewOptions, 'format'> {
    const before = this.#views.length
    return {
      waitsFor: () => this.#views.filter(({ editor }, i) => editor !== undefined && (!writable || i < before)),
      onNames: this.#onNames,
      onVersion: seen => this.noteVersion(seen),
      leftMs: version => this.#versions.leftMs(version),
      onRefused: lineage => {
        this.#onNames()
        for (const name of this.#names) name.saveRefused(lineage)
      },
    }
  }

  add(view: EditableView): void {
    this.#all.push(view)
  }

  /** The table is at this version. */
  noteVersion(seen: SeenVersion): void {
    if (this.#versions.note(seen)) this.#onNames()
  }

  /** True if no change is under way, and no name away. */
  get isQuiet(): boolean {
    return this.#names.every(({ isAway }) => !isAway) && this.#views.every(({ editor }) => editor?.isIdle ?? true)
  }

  /** The views that were looked at show the newest version: what they know of the one before is the nearest. */
  async goOn(): Promise<void> {
    for (const { lineages } of this.#views) if (lineages.peek() !== undefined) await lineages.current()
  }

  /** Returns the text of a file that is a version of one of the views, under whatever name. */
  async textOfLineage(id: bigint): Promise<Text | undefined> {
    for (const { lineages } of this.#views) {
      const lineage: Lineage | undefined = lineages.get(id)
      if (lineage !== undefined) return lineages.text(lineage)
    }
    return undefined
  }

  /** Takes up what an earlier process left: held saves, and a view that was away. */
  async recover(): Promise<void> {
    for (const { editor } of this.#views) await editor?.recover()
    for (const name of this.#names) await name.recover()
  }

  /** Resolves when no save is held any more. */
  async settled(): Promise<void> {
    for (const name of this.#names) await name.settled()
    for (const { editor } of this.#views) await editor?.settled()
  }

  /** Brings every held save to its end now, as nobody will write any more. */
  async finish(): Promise<void> {
    for (const name of this.#names) await name.finish()
    for (const { editor } of this.#views) await editor?.finish()
  }

  /** The saves that are held, and the names that are away, in sentences. */
  held(): string[] {
    const saves = this.#views.flatMap(({ editor }) => editor?.held() ?? [])
    const away = this.#names.filter(({ isAway }) => isAway).map(({ name }) => `${name} was renamed away`)
    return [...saves, ...away]
  }

  clientSeen(caller: Caller): void {
    for (const { editor } of this.#views) editor?.clientSeen(caller)
    for (const name of this.#names) name.clientSeen()
  }

  close(): void {
    for (const name of this.#names) name.close()
    for (const { editor, lineages } of this.#views) {
      editor?.close()
      lineages.close()
    }
  }

  get #views(): readonly TableView[] {
    return this.#all.map(({ view }) => view)
  }

  get #names(): readonly ViewName[] {
    return this.#all.flatMap(({ name }) => name ?? [])
  }
}
