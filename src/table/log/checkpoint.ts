import { type Footer, readFooter, readRowGroup } from '../../columns/parquet/read.ts'
import { schemaOfFooter } from '../../columns/parquet/schema.ts'
import { type ByteSource, storeSource } from '../../columns/parquet/source.ts'
import { ParquetFileWriter } from '../../columns/parquet/write.ts'
import { parseDdl } from '../../columns/schema.ts'
import { cellToJson } from '../../columns/text/json.ts'
import type { Cell, DataType, Field, Schema } from '../../columns/types.ts'
import { batchOf, cellAt } from '../../columns/vectors.ts'
import { messageOf } from '../../core/errors.ts'
import { type ObjectStore, StorageError } from '../../storage/object-store.ts'
import { TableError } from '../errors.ts'
import type { Snapshot } from '../snapshot.ts'
import { ACTIONS, type Action, checkAction, type RemoveAction } from './actions/index.ts'
import { keepNumbers, rawNumber, readActions } from './json.ts'
import { checkpointPath, LAST_CHECKPOINT, LOG_FOLDER } from './paths.ts'

const STATS_PARSED = 'stats_parsed'
/** So many actions are worked on at a time: some milliseconds of work, and some megabytes. */
const GROUP_ROWS = 2048

/** The columns of a checkpoint (PROTOCOL.md, "Checkpoint Schema"). */
const CHECKPOINT_SCHEMA: Schema = parseDdl(
  ACTIONS.flatMap(({ name, column }) => (column === undefined ? [] : `${name}: ${column}`)).join(', '),
)

const READ_SCHEMA: Schema = [...CHECKPOINT_SCHEMA, ...parseDdl('sidecar: struct<path:string>')]

/** The actions of a checkpoint file, and of the sidecars that it names. TableError if it is damaged or incomplete. */
export async function readCheckpoint(store: ObjectStore, path: string, json: boolean): Promise<Action[]> {
  try {
    const actions = json ? await readActions(store, path) : await readParquetActions(await sourceOf(store, path))
    const all = actions.filter(action => !action.sidecar)
    for (const { sidecar } of actions) {
      if (!sidecar) continue
      const name = decodeURIComponent(sidecar.path)
      if (name.includes('/')) throw new Error(`the sidecar ${name} lies outside the log`)
      for (const action of await readParquetActions(await sourceOf(store, `${LOG_FOLDER}/_sidecars/${name}`)))
        all.push(action)
    }
    return all
  } catch (cause) {
    if (cause instanceof TableError) throw cause
    throw new TableError(
      'corrupt_log',
      `${store.location}/${path}: the checkpoint cannot be read: ${messageOf(cause)}`,
      { cause },
    )
  }
}

async function sourceOf(store: ObjectStore, path: string): Promise<ByteSource> {
  const info = await store.stat(path)
  if (info === undefined) throw new StorageError('not_found', `${store.location}/${path}: there is no such file`)
  return storeSource(store, path, info.sizeBytes)
}

async function readParquetActions(source: ByteSource): Promise<Action[]> {
  const footer = await readFooter(source)
  const schema = schemaOf(footer, source.name)
  const actions: Action[] = []
  for (let group = 0; group < footer.rowGroups.length; group++) {
    const batch = await readRowGroup(source, footer, group, schema)
    for (let row = 0; row < batch.rows; row++) {
      for (const [i, field] of schema.entries()) {
        const cell = cellAt(batch.vectors[i]!, row)
        if (cell === null) continue
        const action: Action = { [field.name]: withStats(plain(cell, field.type) as object) }
        checkAction(action, `${source.name}, row ${actions.length + 1}`)
        actions.push(action)
      }
    }
  }
  return actions
}

/** The columns to read of a checkpoint: statistics may be there in the types of their columns, and not as text. */
function schemaOf(footer: Footer, name: string): Schema {
  const add = footer.root.children.find(child => child.name === 'add')
  if (add === undefined || !add.children.some(child => child.name === STATS_PARSED)) return READ_SCHEMA
  const found = schemaOfFooter(footer, name).find(field => field.name === 'add')?.type
  const stats = found?.kind === 'struct' ? found.fields.find(field => field.name === STATS_PARSED) : undefined
  return READ_SCHEMA.map(field =>
    stats !== undefined && field.name === 'add' && field.type.kind === 'struct'
      ? { ...field, type: { ...field.type, fields: [...field.type.fields, stats] } }
      : field,
  )
}

/** Statistics as text, as commits have them. */
function withStats(action: object): object {
  if (!(STATS_PARSED in action)) return action
  const { [STATS_PARSED]: stats, ...rest } = action
  return { stats: JSON.stringify(stats), ...rest }
}

/** A cell as JSON would have it: objects by name, NULLs left out, numbers with all their digits. */
function plain(cell: Cell, type: DataType): unknown {
  if (cell === null) return null
  switch (type.kind) {
    case 'struct': {
      const object: Record<string, unknown> = {}
      for (const [i, field] of type.fields.entries()) {
        const value = (cell as readonly Cell[])[i] ?? null
        if (value !== null) object[field.name] = plain(value, field.type)
      }
      return object
    }
    case 'array':
      return (cell as readonly Cell[]).map(item => plain(item, type.element))
    case 'map':
      return Object.fromEntries(
        (cell as ReadonlyArray<readonly [Cell, Cell]>).map(([key, value]) => [String(key), plain(value, type.value)]),
      )
    case 'byte':
    case 'short':
    case 'integer':
    case 'boolean':
    case 'string':
      return cell
    case 'long':
      return Number.isSafeInteger(Number(cell)) ? Number(cell) : rawNumber(String(cell))
    default:
      return JSON.parse(cellToJson(cell, type), keepNumbers as never) as unknown
  }
}

/** JSON of an action as a cell of the checkpoint's column. */
function cellOf(value: unknown, type: DataType): Cell {
  if (value === null || value === undefined) return null
  switch (type.kind) {
    case 'struct':
      return type.fields.map((field: Field) => cellOf((value as Record<string, unknown>)[field.name], field.type))
    case 'array':
      return (value as unknown[]).map(item => cellOf(item, type.element))
    case 'map':
      return Object.entries(value as Record<string, unknown>).map(
        ([key, item]) => [key, cellOf(item, type.value)] as const,
      )
    case 'long':
      return BigInt(JSON.stringify(value))
    default:
      return value as Cell
  }
}

/** The actions that make up a snapshot. Tombstones that are older than `keepRemovedSinceMs` are not among them. */
function* actionsOf({ protocol, metadata, state, live }: Snapshot, keepRemovedSinceMs: number): Generator<Action> {
  yield { protocol }
  yield { metaData: metadata.action }
  for (const txn of state.txns.values()) yield { txn }
  for (const domainMetadata of state.domains.values()) yield { domainMetadata }
  for (const remove of state.tombstones.values())
    if (!isOver(remove, keepRemovedSinceMs)) yield { remove: { ...remove, dataChange: false } }
  for (const { add } of live) yield { add: { ...add, partitionValues: add.partitionValues ?? {}, dataChange: false } }
}

/** True if a removed file need not be remembered any more. */
function isOver({ deletionTimestamp }: RemoveAction, keepRemovedSinceMs: number): boolean {
  return (deletionTimestamp ?? 0) < keepRemovedSinceMs
}

/** The keys of a snapshot's tombstones whose time is over. */
export function tombstonesOver({ state }: Snapshot, keepRemovedSinceMs: number): string[] {
  return [...state.tombstones].flatMap(([key, remove]) => (isOver(remove, keepRemovedSinceMs) ? [key] : []))
}

/**
 * Writes the classic checkpoint of a snapshot and then `_last_checkpoint` (PROTOCOL.md, "Checkpoints"), some actions at a
 * time, so that its memory does not grow with the table and whoever else has work gets a turn in between.
 */
export async function writeCheckpoint(
  store: ObjectStore,
  snapshot: Snapshot,
  keepRemovedSinceMs: number,
): Promise<void> {
  const out = await store.create(checkpointPath(snapshot.version))
  let size = 0
  let sizeInBytes: number
  try {
    const writer = new ParquetFileWriter(out, CHECKPOINT_SCHEMA, { rowGroupRows: GROUP_ROWS, statistics: false })
    const types = CHECKPOINT_SCHEMA.map(field => field.type)
    for (const rows of grouped(actionsOf(snapshot, keepRemovedSinceMs))) {
      await writer.write(batchOf(types, rows))
      size += rows.length
    }
    sizeInBytes = (await writer.finish()).sizeBytes
    await out.close()
  } catch (error) {
    await out.abort()
    throw error
  }
  const last = { version: Number(snapshot.version), size, sizeInBytes, numOfAddFiles: snapshot.live.size }
  await store.write(LAST_CHECKPOINT, new TextEncoder().encode(JSON.stringify(last)))
}

/** Rows of the checkpoint, as many at a time as a row group has. */
function* grouped(actions: Iterable<Action>): Generator<Cell[][]> {
  let rows: Cell[][] = []
  for (const action of actions) {
    rows.push(CHECKPOINT_SCHEMA.map(field => cellOf(action[field.name as keyof Action], field.type)))
    if (rows.length < GROUP_ROWS) continue
    yield rows
    rows = []
  }
  if (rows.length > 0) yield rows
}
