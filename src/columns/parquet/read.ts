import { messageOf } from '../../core/errors.ts'
import { ParquetError } from '../errors.ts'
import { physicalName } from '../schema.ts'
import type { Batch, Cell, Field, Schema, Vector } from '../types.ts'
import { constantVector, nullVector, sliceVector, vectorOf } from '../vectors.ts'
import { flatVector } from './convert.ts'
import { decodeChunk, isIntact, type LeafColumn } from './decode.ts'
import { findChild } from './match.ts'
import { type ColumnChunk, type FileMetadata, readFileMetadata, type SchemaNode } from './metadata.ts'
import { NestedReader } from './nested.ts'
import type { ByteSource } from './source.ts'
import { UnsupportedError } from './unsupported.ts'

const TAIL_BYTES = 64 * 1024
const MAGIC = 0x31_52_41_50
const ENCRYPTED_MAGIC = 0x45_52_41_50
const GROUP_ROWS_MAX = 2 ** 31 - 1
/** parquet-mr before 1.2.9 leaves the header of the dictionary out of a chunk's size. */
const LEAVES_HEADER_OUT = /^parquet-mr(?: version (?:0\.|1\.[01]\.|1\.2\.[0-8]\b)|$)/
const LEFT_OUT_BYTES_MAX = 100

/** Values of columns that are not in a file, by physical name: the same for every row of it. */
export type ConstantValues = ReadonlyMap<string, Cell>

/** The metadata of a Parquet file. */
export interface Footer {
  readonly rows: number
  /** `bytes`: of all its columns, before compression. */
  readonly rowGroups: readonly {
    readonly firstRow: number
    readonly rows: number
    readonly bytes: number
    readonly columns: readonly ColumnChunk[]
  }[]
  readonly keyValue: ReadonlyMap<string, string>
  readonly createdBy: string
  readonly root: SchemaNode
}

/** Reads a file's footer. ParquetError names the file. */
export async function readFooter(source: ByteSource): Promise<Footer> {
  return (await readFooterBytes(source)).footer
}

/** Reads a file's footer, and gives the bytes of it, too. ParquetError names the file. */
export async function readFooterBytes(source: ByteSource): Promise<{ footer: Footer; metadata: Uint8Array }> {
  const readFrom = async (from: ByteSource): Promise<{ footer: Footer; metadata: Uint8Array }> => {
    const metadata = await readMetadata(from)
    return { footer: parseFooter(from, metadata), metadata }
  }
  try {
    return await readFrom(source)
  } catch (error) {
    // It may have been damaged on its way.
    const { readAnew } = source
    if (readAnew === undefined || !(error instanceof ParquetError && error.code === 'corrupt')) throw error
    return readFrom({ ...source, read: readAnew })
  }
}

/** Reads the bytes of a file's metadata. ParquetError names the file. */
export async function readMetadata(source: ByteSource): Promise<Uint8Array> {
  const { sizeBytes, name } = source
  if (sizeBytes < 12) throw new ParquetError('corrupt', `${name}: ${sizeBytes} bytes are no Parquet file`)
  let tail = await readBytes(source, Math.max(0, sizeBytes - TAIL_BYTES), sizeBytes)
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength)
  const magic = view.getUint32(tail.length - 4, true)
  if (magic === ENCRYPTED_MAGIC)
    throw new ParquetError('unsupported', `${name}: the file is encrypted, which is not supported; decrypt it first`)
  if (magic !== MAGIC)
    throw new ParquetError('corrupt', `${name}: the file does not end as a Parquet file does; it may be cut off`)
  const length = view.getUint32(tail.length - 8, true) + 8
  if (length > sizeBytes)
    throw new ParquetError('corrupt', `${name}: the footer announces ${length} bytes, the file has ${sizeBytes}`)
  if (length > tail.length) tail = await readBytes(source, sizeBytes - length, sizeBytes)
  return tail.subarray(tail.length - length, tail.length - 8)
}

/** Returns the footer that the bytes of a file's metadata tell. ParquetError names the file. */
export function parseFooter({ name }: Pick<ByteSource, 'name'>, metadata: Uint8Array): Footer {
  try {
    return footerOf(readFileMetadata(metadata))
  } catch (cause) {
    throw new ParquetError('corrupt', `${name}: the footer cannot be read: ${sentenceOf(cause)}`, { cause })
  }
}

function footerOf(metadata: FileMetadata): Footer {
  let firstRow = 0
  const rowGroups = metadata.rowGroups.map(({ rows, bytes, columns }) => {
    if (rows > GROUP_ROWS_MAX) throw new Error(`a row group announces ${rows} rows`)
    if (columns.some(({ entries, isEncrypted }) => !isEncrypted && entries < rows))
      throw new Error(`a row group announces ${rows} rows, one of its columns fewer values`)
    firstRow += rows
    return { firstRow: firstRow - rows, rows, bytes, columns }
  })
  if (metadata.rows !== firstRow)
    throw new Error(`${metadata.rows} rows are announced, the row groups have ${firstRow}`)
  const { rows, keyValue, createdBy, root } = metadata
  return { rows, rowGroups, keyValue, createdBy, root }
}

async function readBytes(source: ByteSource, start: number, end: number): Promise<Uint8Array> {
  const bytes = await source.read(start, end)
  if (bytes.length !== end - start)
    throw new ParquetError('corrupt', `${source.name}: the file ends before byte ${end}`)
  return bytes
}

/**
 * Decodes one row group as these columns: those that the file lacks are NULL, unless they are constant. `columns` restricts
 * it to these names (the other vectors are left out). ParquetError names file and column.
 */
export async function readRowGroup(
  source: ByteSource,
  footer: Footer,
  rowGroup: number,
  schema: Schema,
  constants: ConstantValues = new Map(),
  columns?: readonly string[],
): Promise<Batch> {
  const { rows } = rowGroupOf(source, footer, rowGroup)
  const wanted = columns === undefined ? schema : schema.filter(field => columns.includes(field.name))
  const vectors: Vector[] = []
  for (const field of wanted) {
    const found = findColumn(source, footer, rowGroup, field, constants)
    const bytes: Uint8Array[] = []
    for (const chunk of found.chunks) bytes.push(await readIntact(source, chunk, [chunk]))
    vectors.push(decodeColumn({ ...found, bytes }, field, rows))
  }
  return { rows, vectors }
}

/** The bytes of a row group, fetched and not yet decoded. It can be handed to another thread, unless its source is kept. */
export interface FetchedRowGroup {
  readonly rows: number
  readonly columns: readonly FetchedColumn[]
}

interface FetchedColumn extends FoundColumn {
  /** Of each chunk. */
  readonly bytes: readonly Uint8Array[]
}

/** Between chunks that are wanted, so much is read along: one read costs more than some bytes. */
const GAP_BYTES_MAX = 64 * 1024

/**
 * Fetches what `readRowGroup` decodes, in as few reads as there are gaps. With `chunkBytesMax`, only so many first bytes of
 * each column chunk, which are enough for some first rows. ParquetError names file and column.
 */
export async function fetchRowGroup(
  source: ByteSource,
  footer: Footer,
  rowGroup: number,
  schema: Schema,
  constants: ConstantValues = new Map(),
  chunkBytesMax = Number.POSITIVE_INFINITY,
): Promise<FetchedRowGroup> {
  const { rows } = rowGroupOf(source, footer, rowGroup)
  const found = schema.map(field => {
    const column = findColumn(source, footer, rowGroup, field, constants)
    const chunks = column.chunks.map(chunk => ({ ...chunk, end: Math.min(chunk.end, chunk.start + chunkBytesMax) }))
    return { ...column, chunks }
  })
  const ranges: { start: number; end: number }[] = []
  const chunks = found.flatMap(column => column.chunks).sort((a, b) => a.start - b.start)
  for (const { start, end } of chunks) {
    const last = ranges.at(-1)
    if (last !== undefined && start <= last.end + GAP_BYTES_MAX) last.end = Math.max(last.end, end)
    else ranges.push({ start, end })
  }
  const read = new Map<number, Uint8Array>()
  await Promise.all(
    ranges.map(async range => {
      const isWhole = chunkBytesMax === Number.POSITIVE_INFINITY
      const inside = chunks.filter(({ start }) => isWhole && start >= range.start && start < range.end)
      const bytes = await readIntact(source, range, inside)
      read.set(range.start, source.isKept === true ? bytes : inOwnBuffer(bytes))
    }),
  )
  const bytesOf = (chunk: ChunkPlace): Uint8Array => {
    const { start } = ranges.findLast(range => range.start <= chunk.start)!
    return read.get(start)!.subarray(chunk.start - start, chunk.end - start)
  }
  return { rows, columns: found.map(column => ({ ...column, bytes: column.chunks.map(bytesOf) })) }
}

/**
 * Reads a range of a file with some column chunks in it. What is seen to be damaged is read again from where the file is:
 * it may have been damaged on its way. Whether the file itself is, decoding tells.
 */
async function readIntact(
  source: ByteSource,
  { start, end }: { readonly start: number; readonly end: number },
  chunks: readonly ChunkPlace[],
): Promise<Uint8Array> {
  const bytes = await readBytes(source, start, end)
  if (source.readAnew === undefined) return bytes
  const areIntact = chunks.every(place => isIntact(bytes.subarray(place.start - start, place.end - start), place.chunk))
  return areIntact ? bytes : source.readAnew(start, end)
}

/** Bytes whose buffer holds nothing else, so that it can be given away. */
function inOwnBuffer(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : new Uint8Array(bytes)
}

/** The rows of what was fetched for the same columns. ParquetError names file and column. */
export function decodeRowGroup({ rows, columns }: FetchedRowGroup, schema: Schema): Batch {
  return { rows, vectors: schema.map((field, i) => decodeColumn(columns[i]!, field, rows)) }
}

/** The first rows of what was fetched for the same columns, none of which is nested. Throws as `decodeRowGroup`. */
export function decodeFirstRows({ rows, columns }: FetchedRowGroup, schema: Schema, rowsMax: number): Batch {
  const wanted = Math.min(rows, rowsMax)
  const vectors = schema.map((field, i) => {
    const vector = decodeColumn(columns[i]!, field, rows, wanted)
    return sliceVector(vector, 0, wanted)
  })
  return { rows: wanted, vectors }
}

function rowGroupOf({ name }: ByteSource, footer: Footer, rowGroup: number): Footer['rowGroups'][number] {
  const group = footer.rowGroups[rowGroup]
  if (group === undefined) throw new ParquetError('corrupt', `${name}: there is no row group ${rowGroup}`)
  return group
}

/** The place of a column's values. */
interface FoundColumn {
  /** For messages. */
  readonly where: string
  /** The same for every row; undefined for a column of the file, or one that it lacks. */
  readonly constant: Cell | undefined
  /** Undefined where the file lacks the column. */
  readonly node: SchemaNode | undefined
  readonly chunks: readonly ChunkPlace[]
}

function findColumn(
  source: ByteSource,
  footer: Footer,
  rowGroup: number,
  field: Field,
  constants: ConstantValues,
): FoundColumn {
  const where = `${source.name}: column ${field.name} of row group ${rowGroup}`
  const constant = constants.get(physicalName(field))
  if (constant !== undefined) return { where, constant, node: undefined, chunks: [] }
  const node = readable(where, () => findChild(footer.root, field))
  // Where there are no rows there need be no pages either.
  if (node === undefined || footer.rowGroups[rowGroup]!.rows === 0)
    return { where, constant, node: undefined, chunks: [] }
  return { where, constant, node, chunks: readable(where, () => chunksBelow(source, footer, rowGroup, node)) }
}

/** With `rowsMax`, of a column that is not nested at least so many first rows. */
function decodeColumn(
  { where, constant, node, chunks, bytes }: FetchedColumn,
  field: Field,
  rows: number,
  rowsMax = rows,
): Vector {
  if (constant !== undefined) return constantVector(field.type, rowsMax, constant)
  if (node === undefined) return nullVector(field.type, rowsMax)
  return readable(where, () => columnOf(node, field, rows, rowsMax, chunks, bytes))
}

/** Only what is in the bytes can be corrupt: a store that does not answer fails in its own way, outside of this. */
function readable<T>(where: string, run: () => T): T {
  try {
    return run()
  } catch (cause) {
    if (cause instanceof ParquetError) throw cause
    const code = cause instanceof UnsupportedError ? 'unsupported' : 'corrupt'
    throw new ParquetError(code, `${where} cannot be read: ${sentenceOf(cause)}`, { cause })
  }
}

/** Returns the sentence for a failure; a RangeError comes of reading beyond the end of what there is. */
function sentenceOf(cause: unknown): string {
  return cause instanceof RangeError ? 'it is cut off, or a number in it is damaged' : messageOf(cause)
}

function columnOf(
  node: SchemaNode,
  field: Field,
  rows: number,
  rowsMax: number,
  chunks: readonly ChunkPlace[],
  bytes: readonly Uint8Array[],
): Vector {
  const isFlat = node.physical !== undefined && node.repetition !== 'REPEATED'
  if (isFlat) {
    const { chunk } = chunks[0]!
    if (chunk.entries !== rows) throw new Error(`it has ${chunk.entries} values for ${rows} rows`)
    return flatVector(decodeChunk(bytes[0]!, chunk, node, true, rowsMax), node, field.type)
  }
  const leaves = new Map<SchemaNode, LeafColumn>()
  for (const [i, { leaf, chunk }] of chunks.entries()) leaves.set(leaf, decodeChunk(bytes[i]!, chunk, leaf))
  const reader = new NestedReader(leaves)
  const vector = vectorOf(field.type, reader.rows(node, field.type, rows))
  return { ...vector, cut: reader.cut, notUtf8: reader.notUtf8 }
}

/** Returns the chunks of some leaves of a row group, and their places. ParquetError names file and column. */
export function chunkPlaces(
  source: ByteSource,
  footer: Footer,
  rowGroup: number,
  leaves: readonly SchemaNode[],
): ChunkPlace[] {
  return leaves.flatMap(leaf => {
    const where = `${source.name}: column ${leaf.path.join('.')} of row group ${rowGroup}`
    return readable(where, () => chunksBelow(source, footer, rowGroup, leaf))
  })
}

/** One column chunk and its place in the file. */
export interface ChunkPlace {
  readonly leaf: SchemaNode
  readonly chunk: ColumnChunk
  readonly start: number
  readonly end: number
}

function chunksBelow(source: ByteSource, footer: Footer, rowGroup: number, node: SchemaNode): ChunkPlace[] {
  const { columns } = footer.rowGroups[rowGroup]!
  const slack = LEAVES_HEADER_OUT.test(footer.createdBy) ? LEFT_OUT_BYTES_MAX : 0
  return leavesOf(node).map(leaf => {
    const chunk = columns[leaf.leafIndex]
    if (chunk === undefined || !isSamePath(chunk.path, leaf.path))
      throw new Error(`the column chunk ${leaf.path.join('.')} is not where the schema has it`)
    if (chunk.isEncrypted) throw new UnsupportedError('it is encrypted; decrypt the file first')
    if (chunk.otherFile !== undefined) throw new UnsupportedError(`its values are in another file, ${chunk.otherFile}`)
    const { start, sizeBytes } = chunk
    const end = start + sizeBytes
    if (start < 4 || end > source.sizeBytes) throw new Error(`its bytes ${start} to ${end} are not in the file`)
    return { leaf, chunk, start, end: Math.min(end + slack, source.sizeBytes) }
  })
}

function isSamePath(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((name, i) => name === b[i])
}

/** The leaves at or below a node, in the order of the file. */
export function leavesOf(node: SchemaNode): SchemaNode[] {
  return node.physical === undefined ? node.children.flatMap(leavesOf) : [node]
}
