import type { Database } from 'bun:sqlite'
import type { TextFormatName } from '../columns/text/formats/index.ts'
import type { Clock } from '../core/clock.ts'
import type { Snapshot } from '../table/snapshot.ts'
import type { Table } from '../table/table.ts'
import type { Lineage } from './lineage.ts'
import type { HoldTimes } from './saves/hold-times.ts'
import type { TableText } from './text/layout.ts'

/** The parts of the mount that the lineages of a view work with. */
export interface LineagesOptions {
  readonly database: Database
  readonly table: Table
  readonly format: TextFormatName
  readonly clock: Clock
  readonly nextId: () => bigint
  readonly openText: (snapshot: Snapshot, format: TextFormatName, previous: TableText | undefined) => Promise<TableText>
  /** Lineages that a name elsewhere still leads to: they are not forgotten. */
  readonly referenced: () => readonly bigint[]
  /** While this holds, the lineage stays at its version: an edit of it is under way. */
  readonly isEdited: (lineage: Lineage) => boolean
  /** When the mount first knew of a version behind this one (ms since the epoch), by whichever view. */
  readonly leftMs: (version: bigint) => number
  readonly times: Pick<HoldTimes, 'pinnedMs' | 'togetherMs'>
}
