import { readdirSync, statSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { TEXT_FORMAT_VERSION } from '../../columns/text/rendered.ts'
import { messageOf } from '../../core/errors.ts'
import type { Table } from '../../table/table.ts'
import { writeKey } from '../lineage.ts'
import type { Lineages } from '../lineages.ts'
import type { Disk } from './disk.ts'
import { type JournalRecord, journalKind, SaveJournal } from './journal.ts'
import type { Reporter } from './reporter.ts'
import { hasNoRows, type Save } from './save.ts'
import type { Staging } from './staging.ts'
import type { SaveEvent } from './state.ts'
import type { Transitions } from './transitions.ts'

/** So many WRITEs may be under way at the end of a save, whose client sends them again after a crash. */
const REPEATED_MAX = 16

export interface RecoveryOptions {
  readonly table: Table
  readonly lineages: Lineages
  readonly directory: string
  readonly disk: Disk
  readonly staging: Staging
  readonly transitions: Transitions
  readonly reporter: Reporter
}

/** The journals in a folder that an earlier process left; what only looks like one is removed. */
export function journalsLeft(directory: string): string[] {
  return readdirSync(directory).flatMap(name => {
    const path = join(directory, name)
    const kind = journalKind(name)
    // What has no bytes is left of a save that is over.
    const isOver = kind !== undefined && statSync(path).size === 0
    if (name.endsWith('.spool') || isOver) unlinkSync(path)
    return kind === undefined || isOver ? [] : [path]
  })
}

/**
 * Takes up what an earlier process held when it died. A save whose commit is already in the table's history is over; the
 * others are held again, and come to their end as they would have.
 */
export async function recoverSave(path: string, options: RecoveryOptions): Promise<void> {
  try {
    const { journal, records } = SaveJournal.open(path, options.disk)
    await takeUp(journal, records, options).catch(error => {
      journal.close()
      throw error
    })
  } catch (error) {
    options.reporter.sayAlone(
      `a save that was under way when the server stopped cannot be taken up: ${messageOf(error)}`,
    )
  }
}

async function takeUp(
  journal: SaveJournal,
  records: readonly JournalRecord[],
  options: RecoveryOptions,
): Promise<void> {
  const { table, lineages, staging, transitions, reporter } = options
  const { header } = journal
  if (header.format !== lineages.format) return journal.close()
  const version = BigInt(header.version)
  const committed = await table.findTransaction(header.editId, version)
  if (committed !== undefined) noteCommitted(journal, records, committed, lineages)
  if (committed !== undefined || records.length === 0) return staging.discard(journal)
  const lineage = lineages.get(BigInt(header.lineId)) ?? lineages.forgotten(version)
  lineage.version = version
  lineage.text = undefined
  const base = await lineages.text(lineage)
  const save = staging.newSave(lineage, base, journal)
  const event = replayed(save, records)
  if (journalKind(journal.path) === 'refused') return transitions.setAside(save)
  if (base.size !== header.baseSize || (header.textFormat ?? 1) !== TEXT_FORMAT_VERSION) {
    reporter.sayAlone(
      `a save that was under way when the server stopped was made from another text of version ${header.version}`,
    )
    await transitions.setAside(save)
    lineages.retire(lineage)
    return
  }
  staging.add(save)
  lineages.touch(lineage)
  transitions.note(save, event)
}

/** The server died before it noted so: the client's handle must not go back to the text from before the save. */
function noteCommitted(
  journal: SaveJournal,
  records: readonly JournalRecord[],
  version: bigint,
  lineages: Lineages,
): void {
  const lineage = lineages.get(BigInt(journal.header.lineId))
  if (lineage === undefined || lineage.version >= version) return
  const writes = records.filter(record => record.kind === 'write').slice(-REPEATED_MAX)
  const keys = writes.map(({ offset, staged, length }) => writeKey(offset, journal.read(staged, length)))
  lineages.moveTo(lineage, version, keys)
}

/** Makes the image of a save anew, and tells how far the save had come. */
function replayed({ image, base }: Save, records: readonly JournalRecord[]): SaveEvent {
  let owesCommit = false
  let truncated = false
  let answered = false
  for (const record of records) {
    if (record.kind === 'write') {
      image.splice(record.offset, record.staged, record.length)
      if (!record.stable) owesCommit = true
    } else if (record.kind === 'truncate') {
      image.truncate(record.size)
      truncated ||= hasNoRows(base, record.size)
    } else {
      owesCommit = false
      answered ||= image.hasWritten
    }
  }
  return { kind: 'restart', owesCommit, truncated, answered, isEmpty: image.size === 0 }
}
