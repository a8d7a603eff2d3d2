import { readFooter } from '../../columns/parquet/read.ts'
import { storeSource } from '../../columns/parquet/source.ts'
import type { Batch, Cell, DataType, Field, Schema, Vector } from '../../columns/types.ts'
import { cellAt, vectorOf } from '../../columns/vectors.ts'
import { rawNumber } from '../../core/raw-json.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { schemaInFiles } from '../column-mapping.ts'
import { pickedRows } from '../data-files/picked-rows.ts'
import { TableError } from '../errors.ts'
import { LiveFile } from '../live-files.ts'
import type { Action, AddAction, CommitInfoAction } from '../log/actions/index.ts'
import { metadataOf } from '../metadata.ts'
import { isTrue } from '../properties.ts'
import { TRACKING_PROPERTY } from '../protocol.ts'
import type { Snapshot } from '../snapshot.ts'
import { wideBounds } from './file-actions.ts'
import { keysOf, type TouchedRows } from './touched-rows.ts'

const FEATURE = 'rowTracking'
const DOMAIN = 'delta.rowTracking'
const PRESERVED = 'delta.rowTracking.preserved'
const SUSPENDED = 'delta.rowTrackingSuspended'
/** The properties that name the columns in which rows keep their id and their version, and the begin of such names. */
const KEPT_IN = [
  ['delta.rowTracking.materializedRowIdColumnName', '_row-id-col-'],
  ['delta.rowTracking.materializedRowCommitVersionColumnName', '_row-commit-version-col-'],
] as const
const LONG: DataType = { kind: 'long' }

/** The part of a version that tells how its rows are tracked. */
type Tracked = Pick<Snapshot, 'protocol' | 'metadata'>

/** True if new rows get ids (PROTOCOL.md, "Row Tracking": supported, and not suspended). */
function givesIds({ protocol, metadata }: Tracked): boolean {
  return (protocol.writerFeatures ?? []).includes(FEATURE) && !isTrue(metadata.configuration.get(SUSPENDED))
}

/** True if rows keep their ids wherever they go ("enabled"). */
export function keepsIds(snapshot: Tracked): boolean {
  return givesIds(snapshot) && isTrue(snapshot.metadata.configuration.get(TRACKING_PROPERTY))
}

/**
 * The columns of files, beside those of the table, that tell the id and the version of rows which had them before: none
 * in a table that does not keep them. TableError `unsupported_feature`.
 */
export function idColumns(snapshot: Tracked): Schema {
  if (!keepsIds(snapshot)) return NO_COLUMNS
  const { configuration } = snapshot.metadata
  return KEPT_IN.map(([key]): Field => {
    const name = configuration.get(key)
    if (name !== undefined) return { name, type: LONG, nullable: true, metadata: {} }
    throw new TableError(
      'unsupported_feature',
      `the table has row tracking, and does not say in which column rows keep their ids (${key}); it can be read`,
    )
  })
}

const NO_COLUMNS: Schema = []

/**
 * The ids and versions of rows of a file, for the columns of `idColumns`. `stored`: those columns as the file has them;
 * `numbers`: the rows' places in it.
 */
export function idsOf(
  { baseRowId, defaultRowCommitVersion }: AddAction,
  stored: readonly Vector[],
  numbers: ArrayLike<number>,
): readonly Vector[] {
  const first = bigintOf(baseRowId)
  const version = bigintOf(defaultRowCommitVersion) ?? null
  const [ids, versions] = stored
  return [
    vectorOf(
      LONG,
      Array.from(numbers, (number, i) => cellAt(ids!, i) ?? (first === undefined ? null : first + BigInt(number))),
    ),
    vectorOf(
      LONG,
      Array.from(numbers, (_, i) => cellAt(versions!, i) ?? version),
    ),
  ]
}

/** Large numbers of the log are kept as they are spelled. */
function bigintOf(value: unknown): bigint | undefined {
  if (value === undefined || value === null) return undefined
  return BigInt(JSON.stringify(value))
}

/** Gives rows with new values the ids of the rows that they were; their version is that of the commit. */
export class KeptIds {
  readonly #byKey: Map<string, Cell[]> | undefined
  readonly #column: number | undefined
  readonly #inOrder: AsyncIterator<Cell> | undefined
  #left: number

  private constructor(
    byKey: Map<string, Cell[]> | undefined,
    column: number | undefined,
    inOrder?: AsyncIterator<Cell>,
    left = 0,
  ) {
    this.#byKey = byKey
    this.#column = column
    this.#inOrder = inOrder
    this.#left = left
  }

  /** For the rows of a change, which tells them before it writes new ones. */
  static async of(store: ObjectStore, base: Snapshot, told: TouchedRows | undefined): Promise<KeptIds> {
    const { updates, removed } = told ?? { updates: { by: 'key', column: undefined } as const, removed: [] }
    const hidden = idColumns(base)
    const schema = [...schemaInFiles(base), ...hidden]
    async function* idsOfRows(files: TouchedRows['removed']): AsyncGenerator<{ batch: Batch; ids: Vector }> {
      for (const { file, rows } of files) {
        for await (const { batch, numbers } of pickedRows(store, file, schema, rows)) {
          const [ids] = idsOf(file.add, batch.vectors.slice(-hidden.length), numbers)
          yield { batch, ids: ids! }
        }
      }
    }
    if (updates.by === 'place')
      return new KeptIds(undefined, undefined, cells(idsOfRows(updates.removed)), updates.added)
    const byKey = new Map<string, Cell[]>()
    // A column that the change itself brings tells nothing of the rows before it.
    if (updates.column === undefined || updates.column >= base.schema.length) return new KeptIds(byKey, undefined)
    for await (const { batch, ids } of idsOfRows(removed)) {
      for (const [row, key] of keysOf(batch, updates.column).entries()) {
        if (key === undefined) continue
        const known = byKey.get(key)
        if (known === undefined) byKey.set(key, [cellAt(ids, row)])
        else known.push(cellAt(ids, row))
      }
    }
    return new KeptIds(byKey, updates.column)
  }

  /** The id columns of new rows, which come in the order in which they are written. NULL: the row is new. */
  async ofNew(batch: Batch): Promise<readonly Vector[]> {
    const ids: Cell[] = []
    if (this.#inOrder === undefined) {
      for (const key of keysOf(batch, this.#column))
        ids.push((key === undefined ? undefined : this.#byKey?.get(key)?.shift()) ?? null)
    } else {
      for (let row = 0; row < batch.rows; row++)
        ids.push(this.#left-- > 0 ? ((await this.#inOrder.next()).value as Cell) : null)
    }
    return [vectorOf(LONG, ids), vectorOf(LONG, new Array<Cell>(batch.rows).fill(null))]
  }
}

async function* cells(vectors: AsyncIterable<{ readonly ids: Vector }>): AsyncGenerator<Cell> {
  for await (const { ids } of vectors) for (let row = 0; row < ids.length; row++) yield cellAt(ids, row)
}

/**
 * The properties of a table with the names of the columns in which rows are to keep their ids; the same where they do not.
 * Nobody gives a column such a name. TableError `bad_property`.
 */
export function withIdColumns(configuration: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  if (!isTrue(configuration.get(TRACKING_PROPERTY))) return configuration
  if (isTrue(configuration.get(SUSPENDED)))
    throw new TableError('bad_property', `rows are not tracked while ${SUSPENDED} is true; unset it first`)
  const missing = KEPT_IN.filter(([key]) => !configuration.has(key))
  return new Map([...configuration, ...missing.map(([key, begin]) => [key, `${begin}${crypto.randomUUID()}`] as const)])
}

/**
 * The add actions of files that are in the table already, and have no ids for their rows, where the rows are tracked from a
 * commit on (PROTOCOL.md, "Writer Requirements for Row Tracking"). ParquetError, StorageError for files that have to be asked how many rows they have.
 */
export async function withoutIds(
  actions: readonly Action[],
  newest: Snapshot,
  store: ObjectStore,
): Promise<readonly AddAction[]> {
  if (keepsIds(newest) || !keepsIds(trackedAfter(actions, newest))) return []
  const named = new Set(actions.flatMap(({ add, remove }) => (add ?? remove)?.path ?? []))
  const found: AddAction[] = []
  for (const { add, rows, path, sizeBytes } of newest.files) {
    if (bigintOf(add.baseRowId) !== undefined || named.has(add.path)) continue
    const counted = rows ?? (await readFooter(storeSource(store, path, sizeBytes))).rows
    found.push({ ...add, dataChange: false, ...(rows === undefined ? { stats: wideBounds(add.stats, counted) } : {}) })
  }
  return found
}

/** The part of a table as it is after actions. */
function trackedAfter(actions: readonly Action[], { protocol, metadata }: Tracked): Tracked {
  const metaData = actions.find(action => action.metaData)?.metaData
  return {
    protocol: actions.find(action => action.protocol)?.protocol ?? protocol,
    metadata: metaData ? metadataOf(metaData) : metadata,
  }
}

/**
 * The actions of a commit on top of `newest` with ids for the rows of new files, above all that were given out before
 * (PROTOCOL.md, "Writer Requirements for Row Tracking"); the same in a table without row tracking. TableError
 * `unsupported_feature` for a file of which it is not known how many rows it has.
 */
export function withRowIds(actions: readonly Action[], newest: Snapshot): readonly Action[] {
  const after = trackedAfter(actions, newest)
  if (!givesIds(after)) return actions
  const before = highWaterMark(newest)
  let mark = before
  const given = actions.map((action): Action => {
    if (action.commitInfo && keepsIds(after)) return { commitInfo: preserving(action.commitInfo) }
    if (!action.add || bigintOf(action.add.baseRowId) !== undefined) return action
    const { rows } = new LiveFile(action.add, action.add.path, new Map())
    if (rows === undefined)
      throw new TableError(
        'unsupported_feature',
        `${action.add.path}: the table has row tracking, and the file does not say how many rows it has; it cannot be added`,
      )
    const baseRowId = numberOf(mark + 1n)
    mark += BigInt(rows)
    return { add: { ...action.add, baseRowId, defaultRowCommitVersion: Number(newest.version + 1n) } }
  })
  if (mark === before) return given
  const configuration = JSON.stringify({ rowIdHighWaterMark: numberOf(mark) })
  return [...given, { domainMetadata: { domain: DOMAIN, configuration, removed: false } }]
}

function preserving(info: CommitInfoAction): CommitInfoAction {
  return { ...info, tags: { ...(info.tags as object | undefined), [PRESERVED]: 'true' } }
}

function numberOf(value: bigint): unknown {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : rawNumber(String(value))
}

/** The highest id that was given out; -1 if none was. TableError `corrupt_log`. */
function highWaterMark({ state }: Snapshot): bigint {
  const configuration = state.domains.get(DOMAIN)?.configuration
  if (configuration === undefined) return -1n
  const found = /"rowIdHighWaterMark"\s*:\s*(-?\d{1,19})\s*[,}]/.exec(configuration)?.[1]
  if (found !== undefined) return BigInt(found)
  throw new TableError('corrupt_log', `the domain ${DOMAIN} has no rowIdHighWaterMark: ${configuration.slice(0, 100)}`)
}
