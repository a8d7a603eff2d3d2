import { editDistance } from '../core/edit-distance.ts'
import { TableError } from './errors.ts'
import { durationMs } from './properties.ts'
import { FEED_PROPERTY, TRACKING_PROPERTY } from './protocol.ts'
import { VECTORS_ON_DEMAND, VECTORS_PROPERTY } from './tags.ts'

/** A form of values: what it is called, and whether a value has it. */
interface Form {
  readonly expected: string
  readonly fits: (value: string) => boolean
}

const FLAG: Form = { expected: 'true or false', fits: value => /^(?:true|false)$/i.test(value) }
const TIME: Form = { expected: "a time such as 'interval 7 days'", fits: value => durationMs(value) !== undefined }
const COUNT: Form = { expected: 'a number above 0', fits: value => /^[1-9]\d*$/.test(value) }

/** The properties that posixlake heeds (PROTOCOL.md; "Table Properties" of Delta's documentation). */
const PROPERTIES: Readonly<Record<string, Form>> = {
  'delta.appendOnly': FLAG,
  'delta.checkpoint.writeStatsAsJson': FLAG,
  'delta.checkpoint.writeStatsAsStruct': FLAG,
  'delta.checkpointInterval': COUNT,
  'delta.checkpointPolicy': { expected: 'classic or v2', fits: value => value === 'classic' || value === 'v2' },
  'delta.columnMapping.mode': { expected: "'name'", fits: value => value === 'name' },
  'delta.dataSkippingNumIndexedCols': { expected: 'a number from -1 on', fits: value => /^(?:-1|\d+)$/.test(value) },
  'delta.dataSkippingStatsColumns': { expected: 'names of columns', fits: value => value.trim() !== '' },
  'delta.deletedFileRetentionDuration': TIME,
  [FEED_PROPERTY]: FLAG,
  'delta.enableDeletionVectors': FLAG,
  'delta.enableExpiredLogCleanup': FLAG,
  'delta.enableTypeWidening': FLAG,
  [TRACKING_PROPERTY]: FLAG,
  'delta.logRetentionDuration': TIME,
  [VECTORS_PROPERTY]: { expected: VECTORS_ON_DEMAND, fits: value => value === VECTORS_ON_DEMAND },
}

/** So many letters may be wrong in the name of one that is meant. */
const MISSPELT = 2

/**
 * Refuses a property that begins with `delta.` or `posixlake.` and is none that posixlake heeds, or that has no such value:
 * a table must not say what its writer does not do. All others are the user's. TableError `bad_property`.
 */
export function checkProperty(name: string, value: string): void {
  if (!/^(?:delta|posixlake)\./i.test(name)) return
  const form = PROPERTIES[name]
  if (form === undefined) {
    const meant = Object.keys(PROPERTIES).find(
      known => editDistance(name.toLowerCase(), known.toLowerCase()) <= MISSPELT,
    )
    const hint = meant === undefined ? '' : `; is ${meant} meant?`
    throw new TableError('bad_property', `the property ${name} is none that posixlake heeds, and is not set${hint}`)
  }
  if (!form.fits(value))
    throw new TableError('bad_property', `the property ${name} takes ${form.expected}, not ${JSON.stringify(value)}`)
}
