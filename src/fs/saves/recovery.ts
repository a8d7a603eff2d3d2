import { readdirSync, statSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import { TEXT_FORMAT_VERSION } from '../../columns/text/rendered.ts'
import { isStoreAway, messageOf } from '../../core/errors.ts'
import type { Table } from '../../table/table.ts'
import { FsError } from '../filesystem.ts'
import { type Lineage, writeKey } from '../lineage.ts'
import type { Lineages } from '../lineages.ts'
import type { TableText } from '../text/layout.ts'
import type { Disk } from './disk.ts'
import { type JournalRecord, journalKind, type PlaceRecord, SaveJournal } from './journal.ts'
import type { Reporter } from './reporter.ts'
import { type ClientPlace, hasNoRows, type Save } from './save.ts'
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
 * others are held again, and come to their end as they would have. Rejects if that cannot be known now: its client sends
 * again what was not answered, which must not be taken for another save.
 */
export async function recoverSave(path: string, options: RecoveryOptions): Promise<void> {
  try {
    const { journal, records } = SaveJournal.open(path, options.disk)
    await takeUp(journal, records, options).catch(error => {
      try {
        // No later process takes it up: by then it may be in the table by another call.
        if (!isStoreAway(error)) journal.refuse()
      } finally {
        journal.close()
      }
      throw error
    })
  } catch (error) {
    const sentence = `a save that was under way when the server stopped cannot be taken up: ${messageOf(error)}`
    if (isStoreAway(error)) throw new FsError('EIO', sentence, { cause: error })
    options.reporter.sayAlone(sentence)
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
  const known = lineages.get(BigInt(header.lineId))
  if (records.length === 0 || (known === undefined && committed !== undefined)) return staging.discard(journal)
  const lineage = known ?? lineages.forgotten(version)
  const base = await lineages.textAt(lineage, version)
  if (committed !== undefined) return takeUpCommitted(journal, records, lineage, base, committed, options)
  if (base === undefined)
    throw new FsError('EIO', `the table no longer has version ${header.version}, which it changes`)
  if (lineage.version < version) {
    lineage.version = version
    lineage.text = undefined
  }
  const save = staging.newSave(lineage, base, journal)
  save.isTakenUp = true
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
async function takeUpCommitted(
  journal: SaveJournal,
  records: readonly JournalRecord[],
  lineage: Lineage,
  base: TableText | undefined,
  version: bigint,
  { lineages, staging, transitions }: RecoveryOptions,
): Promise<void> {
  const writes = records.filter(record => record.kind === 'write').slice(-REPEATED_MAX)
  const keys = writes.map(({ offset, staged, length }) => writeKey(offset, journal.read(staged, length)))
  if (base === undefined) {
    if (lineage.version < version) lineages.moveTo(lineage, version, keys)
    return staging.discard(journal)
  }
  const save = staging.newSave(lineage, base, journal)
  replayed(save, records)
  save.written = keys
  await transitions.wasCommitted(save, version)
}

/** Makes the image of a save anew, and tells how far the save had come. */
function replayed({ image, base, places }: Save, records: readonly JournalRecord[]): SaveEvent {
  let owesCommit = false
  let truncated = false
  let answered = false
  let place: ClientPlace | undefined
  for (const record of records) {
    switch (record.kind) {
      case 'write':
        image.splice(record.offset, record.staged, record.length)
        if (place !== undefined) place.written = Math.max(place.written, writtenIn(place, record))
        if (!record.stable) owesCommit = true
        break
      case 'truncate':
        image.truncate(record.size)
        truncated ||= hasNoRows(base, record.size)
        places.clear()
        break
      case 'place':
        place = placeIn(places, record)
        places.set(record.client, place)
        break
      case 'held':
        owesCommit = false
        answered ||= image.hasWritten
    }
  }
  return { kind: 'restart', owesCommit, truncated, answered, isEmpty: image.size === 0 }
}

/** The place of a record: where one is that is the same, it is that of a client with several connections. */
function placeIn(places: Save['places'], { client, at, end }: PlaceRecord): ClientPlace {
  const same = [...places.values()].find(place => place.at === at && place.end.size === end.size)
  return places.get(client) ?? same ?? { end, at, written: 0 }
}

/** Up to where a WRITE went, as its client counts. */
function writtenIn({ end, at }: ClientPlace, { offset, length }: { offset: number; length: number }): number {
  const start = at ?? end.size
  return offset < start ? offset + length : offset + length - start + end.size
}
