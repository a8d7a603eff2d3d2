import { ParquetFileWriter } from '../../columns/parquet/write.ts'
import type { Cell, DataType, Field, Schema } from '../../columns/types.ts'
import { batchOf } from '../../columns/vectors.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import type { LiveFile } from '../live-files.ts'
import { checkpointStatistics } from '../properties.ts'
import { usesV2Checkpoints } from '../protocol.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Action, RemoveAction } from './actions/index.ts'
import { CHECKPOINT_SCHEMA } from './checkpoint.ts'
import { type ParsedColumns, parsedColumns } from './checkpoint-statistics.ts'
import { checkpointPath, LAST_CHECKPOINT, sidecarPath, v2CheckpointPath } from './paths.ts'

/** So many actions are worked on at a time: some milliseconds of work, and some megabytes. */
const GROUP_ROWS = 2048
/** A checkpoint of version 2 with more files has them in sidecars, so many in each. */
const SIDECAR_ACTIONS = 50_000
/** Columns that only checkpoints of version 2 have. */
const V2_COLUMNS = ['checkpointMetadata', 'sidecar']
/** The actions that sidecars hold. */
const FILE_COLUMNS = ['add', 'remove']

/** A file of a checkpoint that is written to its end. */
interface Written {
  readonly actions: number
  readonly sizeBytes: number
}

export interface CheckpointOptions {
  /** Tombstones that are older are left out. */
  readonly keepRemovedSinceMs: number
  /** The number of files from which on those of a checkpoint of version 2 are in sidecars, so many in each. */
  readonly sidecarActions?: number
}

/**
 * Writes the checkpoint of a snapshot, of the form that the table asks for, and then `_last_checkpoint` (PROTOCOL.md,
 * "Checkpoints"), some actions at a time, so that its memory does not grow with the table and whoever else has work gets a
 * turn in between.
 */
export async function writeCheckpoint(
  store: ObjectStore,
  snapshot: Snapshot,
  { keepRemovedSinceMs, sidecarActions = SIDECAR_ACTIONS }: CheckpointOptions,
): Promise<void> {
  const { protocol, metadata, version, live } = snapshot
  const columns = columnsOf(snapshot)
  const written = usesV2Checkpoints(protocol, metadata.configuration)
    ? await writeV2(store, snapshot, columns, { keepRemovedSinceMs, sidecarActions })
    : await writeFile(
        store,
        checkpointPath(version),
        only(columns, name => !V2_COLUMNS.includes(name)),
        chained(stateActions(snapshot), fileActions(snapshot, keepRemovedSinceMs)),
      )
  const { actions: size, sizeBytes: sizeInBytes } = written
  const last = { version: Number(version), size, sizeInBytes, numOfAddFiles: live.size }
  await store.write(LAST_CHECKPOINT, new TextEncoder().encode(JSON.stringify(last)))
}

async function writeV2(
  store: ObjectStore,
  snapshot: Snapshot,
  columns: Columns,
  { keepRemovedSinceMs, sidecarActions }: Required<CheckpointOptions>,
): Promise<Written> {
  const path = v2CheckpointPath(snapshot.version, crypto.randomUUID())
  const files = fileActions(snapshot, keepRemovedSinceMs)
  const first: Row = { checkpointMetadata: { version: Number(snapshot.version) } }
  if (snapshot.live.size + snapshot.state.tombstones.size <= sidecarActions)
    return writeFile(store, path, columns, chained([first], stateActions(snapshot), files))
  const sidecars: Row[] = []
  const paths: string[] = []
  let actions = 0
  let sizeBytes = 0
  try {
    for (let next = files.next(); next.done !== true; ) {
      const name = `${crypto.randomUUID()}.parquet`
      paths.push(sidecarPath(name))
      const some = function* (): Generator<Row> {
        for (let i = 0; i < sidecarActions && next.done !== true; i++, next = files.next()) yield next.value
      }
      const written = await writeFile(
        store,
        sidecarPath(name),
        only(columns, column => FILE_COLUMNS.includes(column)),
        some(),
      )
      const modificationTime = Math.trunc((await store.stat(sidecarPath(name)))?.modifiedMs ?? 0)
      sidecars.push({ sidecar: { path: name, sizeInBytes: written.sizeBytes, modificationTime } })
      actions += written.actions
      sizeBytes += written.sizeBytes
    }
    const own = await writeFile(store, path, columns, chained([first], stateActions(snapshot), sidecars))
    return { actions: actions + own.actions, sizeBytes: sizeBytes + own.sizeBytes }
  } catch (error) {
    // Nobody names them.
    await store.deleteMany(paths).catch(() => undefined)
    throw error
  }
}

async function writeFile(store: ObjectStore, path: string, columns: Columns, rows: Iterable<Row>): Promise<Written> {
  const out = await store.create(path)
  let actions = 0
  try {
    const writer = new ParquetFileWriter(out, columns.schema, { rowGroupRows: GROUP_ROWS, statistics: false })
    const types = columns.schema.map(field => field.type)
    for (const group of grouped(rows)) {
      await writer.write(
        batchOf(
          types,
          group.map(row => cellsOf(row, columns)),
        ),
      )
      actions += group.length
    }
    const { sizeBytes } = await writer.finish()
    await out.close()
    return { actions, sizeBytes }
  } catch (error) {
    await out.abort()
    throw error
  }
}

/** An action, and of an `add` the file that it speaks of. */
type Row = Action & { readonly file?: LiveFile }

/** The columns of a checkpoint file. `parsed`: the last ones of `add`. */
interface Columns {
  readonly schema: Schema
  readonly parsed: ParsedColumns | undefined
}

function columnsOf(snapshot: Snapshot): Columns {
  const { asText, asStruct } = checkpointStatistics(snapshot.metadata.configuration)
  const parsed = asStruct ? parsedColumns(snapshot) : undefined
  const addColumn = (field: Field): Field => {
    if (field.name !== 'add' || field.type.kind !== 'struct') return field
    const fields = field.type.fields.filter(({ name }) => asText || name !== 'stats')
    return { ...field, type: { kind: 'struct', fields: [...fields, ...(parsed?.fields ?? [])] } }
  }
  return { schema: CHECKPOINT_SCHEMA.map(addColumn), parsed }
}

/** Some of the columns. */
function only({ schema, parsed }: Columns, isWanted: (name: string) => boolean): Columns {
  return { schema: schema.filter(({ name }) => isWanted(name)), parsed }
}

function cellsOf(row: Row, { schema, parsed }: Columns): Cell[] {
  return schema.map(({ name, type }) => {
    const value = row[name as keyof Action]
    if (name !== 'add' || row.file === undefined || parsed === undefined || type.kind !== 'struct')
      return cellOf(value, type)
    const own = type.fields.slice(0, -parsed.fields.length).map(field => cellOf(row.add?.[field.name], field.type))
    return [...own, ...parsed.cells(row.file)]
  })
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

/** The actions of a snapshot that are not about files. */
function* stateActions({ protocol, metadata, state }: Snapshot): Generator<Row> {
  yield { protocol }
  yield { metaData: metadata.action }
  for (const txn of state.txns.values()) yield { txn }
  for (const domainMetadata of state.domains.values()) yield { domainMetadata }
}

/** Those about files. Tombstones that are older than `keepRemovedSinceMs` are not among them. */
function* fileActions({ state, live }: Snapshot, keepRemovedSinceMs: number): Generator<Row> {
  for (const remove of state.tombstones.values())
    if (!isOver(remove, keepRemovedSinceMs)) yield { remove: { ...remove, dataChange: false } }
  for (const file of live) {
    const { add } = file
    yield { add: { ...add, partitionValues: add.partitionValues ?? {}, dataChange: false }, file }
  }
}

/** True if a removed file need not be remembered any more. */
function isOver({ deletionTimestamp }: RemoveAction, keepRemovedSinceMs: number): boolean {
  return (deletionTimestamp ?? 0) < keepRemovedSinceMs
}

/** The keys of a snapshot's tombstones whose time is over. */
export function tombstonesOver({ state }: Snapshot, keepRemovedSinceMs: number): string[] {
  return [...state.tombstones].flatMap(([key, remove]) => (isOver(remove, keepRemovedSinceMs) ? [key] : []))
}

function* chained(...lists: readonly Iterable<Row>[]): Generator<Row> {
  for (const list of lists) yield* list
}

/** Rows of the checkpoint, as many at a time as a row group has. */
function* grouped(rows: Iterable<Row>): Generator<Row[]> {
  let group: Row[] = []
  for (const row of rows) {
    group.push(row)
    if (group.length < GROUP_ROWS) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}
