import {
  decodeRowGroup,
  type FetchedRowGroup,
  type Footer,
  fetchRowGroup,
  readFooter,
} from '../../columns/parquet/read.ts'
import { schemaOfFooter } from '../../columns/parquet/schema.ts'
import { type ByteSource, storeSource } from '../../columns/parquet/source.ts'
import { parseDdl } from '../../columns/schema.ts'
import { cellToJson } from '../../columns/text/json.ts'
import type { Cell, DataType, Field, Schema } from '../../columns/types.ts'
import { cellAt } from '../../columns/vectors.ts'
import { messageOf } from '../../core/errors.ts'
import { rawNumber } from '../../core/raw-json.ts'
import { type ObjectStore, StorageError } from '../../storage/object-store.ts'
import { TableError } from '../errors.ts'
import { type ObjectColumn, objectColumn } from './action-column.ts'
import { ACTIONS, type Action, checkAction } from './actions/index.ts'
import { keepNumbers, readActions } from './json.ts'
import { AddColumn } from './logged-add.ts'
import { sidecarPath } from './paths.ts'

/** A checkpoint that is not larger is read at once. */
const AT_ONCE_BYTES_MAX = 16 << 20
const STATS_PARSED = 'stats_parsed'
/** The columns of a checkpoint (PROTOCOL.md, "Checkpoint Schema"), in whatever form its statistics are. */
export const CHECKPOINT_SCHEMA: Schema = parseDdl(
  ACTIONS.flatMap(({ name, column }) => (column === undefined ? [] : `${name}: ${column}`)).join(', '),
)

/** The content of a checkpoint. Of its files, those that can be read where they lie are apart from the actions. */
export interface Checkpointed {
  readonly actions: Action[]
  readonly files: AddColumn[]
}

/** The actions of a checkpoint file, and of the sidecars that it names. TableError if it is damaged or incomplete. */
export async function readCheckpoint(store: ObjectStore, path: string, json: boolean): Promise<Checkpointed> {
  try {
    const own = json
      ? { actions: await readActions(store, path), files: [] }
      : await readParquetActions(await sourceOf(store, path))
    const actions = own.actions.filter(action => !action.sidecar)
    const files = [...own.files]
    for (const path of sidecarPaths(own.actions)) {
      const found = await readParquetActions(await sourceOf(store, path))
      for (const action of found.actions) actions.push(action)
      for (const file of found.files) files.push(file)
    }
    return { actions, files }
  } catch (cause) {
    if (cause instanceof TableError) throw cause
    throw unreadable(`${store.location}/${path}`, cause)
  }
}

function unreadable(name: string, cause: unknown): TableError {
  return new TableError('corrupt_log', `${name}: the checkpoint cannot be read: ${messageOf(cause)}`, { cause })
}

/** The sidecars that a checkpoint file names, as paths in the store. */
export async function readSidecars(store: ObjectStore, path: string, json: boolean): Promise<readonly string[]> {
  if (json) return sidecarPaths(await readActions(store, path))
  const only = CHECKPOINT_SCHEMA.filter(({ name }) => name === 'sidecar')
  const { actions } = await readParquetActions(await sourceOf(store, path), only)
  return sidecarPaths(actions)
}

function sidecarPaths(actions: readonly Action[]): string[] {
  return actions.flatMap(({ sidecar }) => {
    if (!sidecar) return []
    const name = decodeURIComponent(sidecar.path)
    if (name.includes('/')) throw new Error(`the sidecar ${name} lies outside the log`)
    return [sidecarPath(name)]
  })
}

async function sourceOf(store: ObjectStore, path: string): Promise<ByteSource> {
  const info = await store.stat(path)
  if (info === undefined) throw new StorageError('not_found', `${store.location}/${path}: there is no such file`)
  return storeSource(store, path, info.sizeBytes)
}

async function readParquetActions(file: ByteSource, columns?: Schema): Promise<Checkpointed> {
  const source = await readAhead(file)
  const footer = await readFooter(source)
  const schema = columns ?? schemaOf(footer, source.name)
  const actions: Action[] = []
  const files: AddColumn[] = []
  let row = 0
  const where = (): string => `${source.name}, row ${row}`
  const fault = (cause: unknown): Error => unreadable(source.name, cause)
  for (let group = 0; group < footer.rowGroups.length; group++) {
    const fetched = await fetchRowGroup(source, footer, group, schema)
    for (const [i, field] of schema.entries()) {
      const column = objectColumn(fetched.columns[i]!, field, fetched.rows, fault)
      if (column === undefined) continue
      if (field.name === 'add' && column !== 'other' && !column.members.has(STATS_PARSED)) {
        const adds = new AddColumn(column, fetched.rows)
        const before = row
        for (const i of adds.inDoubt()) {
          row = before + i + 1
          checkAction({ add: adds.action(adds.rows[i]!) }, where)
        }
        row = before + adds.rows.length
        files.push(adds)
        continue
      }
      for (const object of objects(fetched, i, field, column)) {
        const action: Action = { [field.name]: withStats(object) }
        row++
        checkAction(action, where)
        actions.push(action)
      }
    }
  }
  return { actions, files }
}

/** A file of which all is read, at once if it is not large. */
async function readAhead(file: ByteSource): Promise<ByteSource> {
  if (file.sizeBytes > AT_ONCE_BYTES_MAX) return file
  const bytes = await file.read(0, file.sizeBytes)
  return { ...file, isKept: true, read: async (start, end) => bytes.subarray(start, end) }
}

/** The values of a column of actions that are there. */
function* objects(
  { rows, columns }: FetchedRowGroup,
  i: number,
  field: Field,
  column: ObjectColumn | 'other',
): Generator<object> {
  if (column !== 'other') {
    for (let row = 0; row < rows; row++) {
      const object = column.at(row)
      if (object !== undefined) yield object
    }
    return
  }
  const [vector] = decodeRowGroup({ rows, columns: [columns[i]!] }, [field]).vectors
  for (let row = 0; row < rows; row++) {
    const cell = cellAt(vector!, row)
    if (cell !== null) yield plain(cell, field.type) as object
  }
}

/** The columns to read of a checkpoint: statistics may be there in the types of their columns, and not as text. */
function schemaOf(footer: Footer, name: string): Schema {
  const add = footer.root.children.find(child => child.name === 'add')
  if (add === undefined || !add.children.some(child => child.name === STATS_PARSED)) return CHECKPOINT_SCHEMA
  const found = schemaOfFooter(footer, name).find(field => field.name === 'add')?.type
  const stats = found?.kind === 'struct' ? found.fields.find(field => field.name === STATS_PARSED) : undefined
  return CHECKPOINT_SCHEMA.map(field =>
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
