import { counted } from '../core/units.ts'
import { INDEXED_BY_DEFAULT, type IndexedColumns } from './data-files/statistics.ts'

/** A table's properties (PROTOCOL.md, "Table Properties"), as `metaData.configuration` has them. */
export type Configuration = ReadonlyMap<string, string>

export function isTrue(value: string | undefined): boolean {
  return value?.toLowerCase() === 'true'
}

const UNITS_MS: Readonly<Record<string, number>> = {
  second: 1000,
  minute: 60_000,
  hour: 3_600_000,
  day: 86_400_000,
  week: 604_800_000,
}

/** A property like `interval 7 days` in milliseconds; undefined for what is none. */
export function durationMs(text: string | undefined): number | undefined {
  const match = /^\s*(?:interval\s+)?(\d+)\s+(second|minute|hour|day|week)s?\s*$/i.exec(text ?? '')
  return match === null ? undefined : Number(match[1]) * UNITS_MS[match[2]!.toLowerCase()]!
}

/** The time for which removed files are kept of a table that names none. */
export const DELETED_FILES_KEPT_MS = 7 * 24 * 3600 * 1000

/** For how long files stay that are no longer in the table, for those who read older versions. */
export function deletedFileRetentionMs(configuration: Configuration): number {
  return durationMs(configuration.get('delta.deletedFileRetentionDuration')) ?? DELETED_FILES_KEPT_MS
}

const LOG_KEPT_MS = 30 * 24 * 3600 * 1000

/** For how long the commits of the log stay, for those who read older versions. */
export function logRetentionMs(configuration: Configuration): number {
  return durationMs(configuration.get('delta.logRetentionDuration')) ?? LOG_KEPT_MS
}

/** True unless the table wants its log to be left alone. */
export function cleansUpLog(configuration: Configuration): boolean {
  return configuration.get('delta.enableExpiredLogCleanup')?.trim().toLowerCase() !== 'false'
}

/** A time as `durationMs` reads it, without `interval`: 7 days. */
export function intervalText(ms: number): string {
  const [unit, unitMs] = Object.entries(UNITS_MS).findLast(([, size]) => ms >= size && ms % size === 0) ?? [
    'second',
    1000,
  ]
  return counted(ms / unitMs, unit)
}

/**
 * The forms in which checkpoints have statistics: as text, and in the types of their columns. Who switches the text off and
 * says nothing of the other form is not left without any.
 */
export function checkpointStatistics(configuration: Configuration): {
  readonly asText: boolean
  readonly asStruct: boolean
} {
  const flag = (name: string): string | undefined => configuration.get(`delta.checkpoint.${name}`)?.trim().toLowerCase()
  const asText = flag('writeStatsAsJson') !== 'false'
  const asStruct = flag('writeStatsAsStruct')
  return { asText, asStruct: asStruct === undefined ? !asText : asStruct === 'true' }
}

/** The property that names the columns which get statistics. */
export const STATISTICS_COLUMNS = 'delta.dataSkippingStatsColumns'

/**
 * The columns that get statistics: those that `delta.dataSkippingStatsColumns` names, else as many as
 * `delta.dataSkippingNumIndexedCols` says, -1 for all. What is not understood counts as not said.
 */
export function indexedColumns(configuration: Configuration): IndexedColumns {
  const named = columnPaths(configuration.get(STATISTICS_COLUMNS))
  if (named !== undefined) return { kind: 'named', paths: named.map(path => path.map(name => name.toLowerCase())) }
  const text = configuration.get('delta.dataSkippingNumIndexedCols')?.trim() ?? ''
  if (!/^(?:-1|\d+)$/.test(text)) return INDEXED_BY_DEFAULT
  const count = Number(text)
  return { kind: 'first', count: count < 0 ? Number.POSITIVE_INFINITY : count }
}

/** A path of names with points between them; a name with other characters stands in backticks, doubled inside. */
const PATH = /\s*((?:`(?:[^`]|``)+`|[^`.,\s]+)(?:\.(?:`(?:[^`]|``)+`|[^`.,\s]+))*)\s*(?:,|$)/y
const NAME = /`((?:[^`]|``)+)`|[^`.]+/g

/** The names of a list of columns, as `columnPathsText` makes it; undefined if it is none. */
export function columnPaths(text: string | undefined): string[][] | undefined {
  if (text === undefined || text.trim() === '') return undefined
  const paths: string[][] = []
  for (PATH.lastIndex = 0; PATH.lastIndex < text.length; ) {
    const path = PATH.exec(text)?.[1]
    if (path === undefined) return undefined
    paths.push([...path.matchAll(NAME)].map(([bare, quoted]) => quoted?.replaceAll('``', '`') ?? bare))
  }
  return paths
}

/** Columns as a property lists them. */
export function columnPathsText(paths: readonly (readonly string[])[]): string {
  const shown = (name: string): string => (/^\w+$/.test(name) ? name : `\`${name.replaceAll('`', '``')}\``)
  return paths.map(path => path.map(shown).join('.')).join(',')
}
