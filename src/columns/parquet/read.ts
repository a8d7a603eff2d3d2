import { parquetMetadata, parquetSchema } from 'hyparquet'
import { getMaxDefinitionLevel, getMaxRepetitionLevel } from 'hyparquet/src/schema.js'
import type { ColumnMetaData, FileMetaData, SchemaTree } from 'hyparquet/src/types.js'
import { messageOf } from '../../core/errors.ts'
import { ParquetError } from '../errors.ts'
import { physicalName } from '../schema.ts'
import type { Batch, Cell, Field, Schema, Vector } from '../types.ts'
import { constantVector, nullVector, vectorOf } from '../vectors.ts'
import { flatVector } from './convert.ts'
import { decodeChunk, type LeafColumn } from './decode.ts'
import { type FindChild, findById, findByName, NestedReader } from './nested.ts'
import type { ByteSource } from './source.ts'

const TAIL_BYTES = 64 * 1024
const MAGIC = 0x31_52_41_50
const GROUP_ROWS_MAX = 2 ** 31 - 1

/** Values of partition columns by physical name: the same for every row of a file. */
export type PartitionValues = ReadonlyMap<string, Cell>

/** What a Parquet file says of itself. */
export interface Footer {
  readonly rows: number
  /** `bytes`: of all its columns, before compression. */
  readonly rowGroups: readonly { readonly firstRow: number; readonly rows: number; readonly bytes: number }[]
  readonly keyValue: ReadonlyMap<string, string>
  readonly metadata: FileMetaData
  readonly tree: SchemaTree
}

/** Reads a file's footer. ParquetError names the file. */
export async function readFooter(source: ByteSource): Promise<Footer> {
  const { sizeBytes, name } = source
  if (sizeBytes < 12) throw new ParquetError('corrupt', `${name}: ${sizeBytes} bytes are no Parquet file`)
  let tail = await readBytes(source, Math.max(0, sizeBytes - TAIL_BYTES), sizeBytes)
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength)
  if (view.getUint32(tail.length - 4, true) !== MAGIC)
    throw new ParquetError('corrupt', `${name}: the file does not end as a Parquet file does; it may be cut off`)
  const length = view.getUint32(tail.length - 8, true) + 8
  if (length > sizeBytes)
    throw new ParquetError('corrupt', `${name}: the footer announces ${length} bytes, the file has ${sizeBytes}`)
  if (length > tail.length) tail = await readBytes(source, sizeBytes - length, sizeBytes)
  try {
    return footerOf(parquetMetadata(tail, { geoparquet: false }))
  } catch (cause) {
    throw new ParquetError('corrupt', `${name}: the footer cannot be read: ${messageOf(cause)}`, { cause })
  }
}

function footerOf(metadata: FileMetaData): Footer {
  let firstRow = 0
  const rowGroups = metadata.row_groups.map(group => {
    const rows = Number(group.num_rows)
    if (rows < 0 || rows > GROUP_ROWS_MAX) throw new Error(`a row group announces ${rows} rows`)
    if (group.columns.some(({ meta_data: meta }) => meta !== undefined && Number(meta.num_values) < rows))
      throw new Error(`a row group announces ${rows} rows, one of its columns fewer values`)
    firstRow += rows
    return { firstRow: firstRow - rows, rows, bytes: Number(group.total_byte_size) }
  })
  if (Number(metadata.num_rows) !== firstRow)
    throw new Error(`${metadata.num_rows} rows are announced, the row groups have ${firstRow}`)
  const keyValue = new Map((metadata.key_value_metadata ?? []).map(({ key, value }) => [key, value ?? '']))
  return { rows: Number(metadata.num_rows), rowGroups, keyValue, metadata, tree: parquetSchema(metadata) }
}

async function readBytes(source: ByteSource, start: number, end: number): Promise<Uint8Array> {
  const bytes = await source.read(start, end)
  if (bytes.length !== end - start)
    throw new ParquetError('corrupt', `${source.name}: the file ends before byte ${end}`)
  return bytes
}

/**
 * Decodes one row group as the table's columns: columns that the file lacks are NULL, partition columns constant.
 * `columns` restricts it to these names (the other vectors are left out). ParquetError names file and column.
 */
export async function readRowGroup(
  source: ByteSource,
  footer: Footer,
  rowGroup: number,
  schema: Schema,
  partition: PartitionValues = new Map(),
  columns?: readonly string[],
): Promise<Batch> {
  const group = footer.rowGroups[rowGroup]
  if (group === undefined) throw new ParquetError('corrupt', `${source.name}: there is no row group ${rowGroup}`)
  const wanted = columns === undefined ? schema : schema.filter(field => columns.includes(field.name))
  const vectors: Vector[] = []
  for (const field of wanted) vectors.push(await readColumn(source, footer, rowGroup, field, partition, group.rows))
  return { rows: group.rows, vectors }
}

async function readColumn(
  source: ByteSource,
  footer: Footer,
  rowGroup: number,
  field: Field,
  partition: PartitionValues,
  rows: number,
): Promise<Vector> {
  const constant = partition.get(physicalName(field))
  if (constant !== undefined) return constantVector(field.type, rows, constant)
  const find: FindChild = field.metadata['delta.columnMapping.id'] === undefined ? findByName : findById
  const tree = find(footer.tree, field)
  if (tree === undefined) return nullVector(field.type, rows)
  const where = `${source.name}: column ${field.name} of row group ${rowGroup}`
  const chunks = readable(where, () => chunksBelow(source, footer, rowGroup, tree))
  const bytes: Uint8Array[] = []
  for (const { start, end } of chunks) bytes.push(await readBytes(source, start, end))
  return readable(where, () => columnOf(tree, field, find, rows, chunks, bytes))
}

/** Only what is in the bytes can be corrupt: a store that does not answer fails in its own way, outside of this. */
function readable<T>(where: string, run: () => T): T {
  try {
    return run()
  } catch (cause) {
    if (cause instanceof ParquetError) throw cause
    throw new ParquetError('corrupt', `${where} cannot be read: ${messageOf(cause)}`, { cause })
  }
}

function columnOf(
  tree: SchemaTree,
  field: Field,
  find: FindChild,
  rows: number,
  chunks: readonly Chunk[],
  bytes: readonly Uint8Array[],
): Vector {
  const isFlat = tree.children.length === 0 && tree.element.repetition_type !== 'REPEATED'
  const leaves = new Map<SchemaTree, Leaf>()
  for (const [i, { path, meta }] of chunks.entries()) {
    const node = path.at(-1)!
    const maxDefinition = getMaxDefinitionLevel(path)
    if (isFlat && Number(meta.num_values) !== rows) throw new Error(`it has ${meta.num_values} values for ${rows} rows`)
    const leaf = decodeChunk(bytes[i]!, meta, node.element, maxDefinition, getMaxRepetitionLevel(path), isFlat)
    if (isFlat) return flatVector(leaf, node.element, field.type, maxDefinition)
    leaves.set(node, { leaf, maxDefinition })
  }
  const reader = new NestedReader(tree, leaves, find)
  const vector = vectorOf(field.type, reader.rows(tree, field.type, rows))
  return reader.notUtf8 === undefined ? vector : { ...vector, notUtf8: reader.notUtf8 }
}

type Leaf = { leaf: LeafColumn; maxDefinition: number }

/** One column chunk: its path in the schema and its place in the file. */
interface Chunk {
  readonly path: SchemaTree[]
  readonly meta: ColumnMetaData
  readonly start: number
  readonly end: number
}

function chunksBelow(source: ByteSource, footer: Footer, rowGroup: number, tree: SchemaTree): Chunk[] {
  const chunks = footer.metadata.row_groups[rowGroup]!.columns
  return leafPaths(footer.tree, tree).map(path => {
    const node = path.at(-1)!
    const name = node.path.join('\0')
    const meta = chunks.find(candidate => candidate.meta_data?.path_in_schema.join('\0') === name)?.meta_data
    if (meta === undefined) throw new Error(`the column chunk ${node.path.join('.')} is missing`)
    const data = Number(meta.data_page_offset)
    const dictionary = meta.dictionary_page_offset === undefined ? data : Number(meta.dictionary_page_offset)
    const start = dictionary > 0 ? Math.min(dictionary, data) : data
    const end = start + Number(meta.total_compressed_size)
    if (start < 4 || end < start || end > source.sizeBytes)
      throw new Error(`its bytes ${start} to ${end} are not in the file`)
    return { path, meta, start, end }
  })
}

/** The paths from the root to every leaf below a node. */
function leafPaths(root: SchemaTree, tree: SchemaTree): SchemaTree[][] {
  const paths: SchemaTree[][] = []
  const walk = (path: SchemaTree[]): void => {
    const node = path.at(-1)!
    if (node.children.length === 0) paths.push(path)
    for (const child of node.children) walk([...path, child])
  }
  walk([root, tree])
  return paths
}
