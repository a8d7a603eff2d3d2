import { TextError } from '../../columns/errors.ts'
import { schemaToJson } from '../../columns/schema.ts'
import {
  countLines,
  crToLf,
  delimiterOf,
  endsInCr,
  lastRowEnd,
  matchHeader,
  parseHeader,
  SchemaInference,
  textStart,
} from '../../columns/text/csv.ts'
import type { Schema } from '../../columns/types.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import type { ReadableFile } from '../../storage/readable-file.ts'
import { type NewFile, newFile } from '../data-files/new-file.ts'
import { newDataPath } from '../data-files/paths.ts'
import type { Table } from '../table.ts'
import { type FolderValues, folderColumns, type WithFolders, withFolders } from './hive-folders.ts'
import { type Import, type ImportOptions, importing, named, withName } from './import-source.ts'

export { createFromParquet } from './import-parquet.ts'
export type { ImportOptions } from './import-source.ts'

/** Each piece becomes a data file of its own. */
const PIECE_BYTES = 12 << 20
const SAMPLE_BYTES = 4 << 20
const HEAD_BYTES = 1 << 20
const LF = 0x0a
const COMMA = 0x2c

/**
 * Creates a table from CSV files with a header, in one commit. Types are found from a sample, and again from everything
 * if a later value does not fit. TextError names file, line and column of a bad row; then there is no table, and no folder
 * that was not there before.
 */
export async function createFromCsv(
  store: ObjectStore,
  paths: readonly string[],
  options: ImportOptions,
): Promise<Table> {
  return importing(store, options, async to => {
    const inputs: CsvInput[] = []
    for (const path of paths) inputs.push(await openCsv(await to.open(path), options))
    const names = inputs.map(({ name }) => name)
    const write = async ({ schema, notes, isSure }: Inferred, given?: Schema): Promise<Written> => {
      const all = withFolders(schema, names, given)
      const files = await writeCsv(to, inputs, all, { ...options, areGuessed: !isSure })
      for (const note of [...all.notes, ...notes]) options.log?.(note)
      return { schema: given ?? all.schema, files }
    }
    const given = options.schema
    if (given !== undefined) return write(wanted(inputs, given), given)
    const found = await inferred(inputs, SAMPLE_BYTES, options)
    try {
      return await write(found)
    } catch (error) {
      if (found.isSure || !(error instanceof TextError) || error.code !== 'bad_value') throw error
      // The sample promised more than the rest keeps.
      return write(await inferred(inputs, Number.POSITIVE_INFINITY, options))
    }
  })
}

/** Columns that were found, and what may surprise about them. */
interface Inferred {
  readonly schema: Schema
  readonly notes: readonly string[]
  /** All rows were looked at. */
  readonly isSure: boolean
}

interface Written {
  readonly schema: Schema
  readonly files: NewFile[]
}

/** The columns of `schema` that the files have to have: all but those that are in the names of their folders alone. */
function wanted(inputs: readonly CsvInput[], schema: Schema): Inferred {
  const folders = folderColumns(inputs.map(({ name }) => name)).schema.map(({ name }) => name)
  const isInFiles = (name: string): boolean => inputs.some(({ names }) => names.includes(name))
  const own = schema.filter(({ name }) => isInFiles(name) || !folders.includes(name))
  return { schema: own, notes: [], isSure: true }
}

interface CsvInput extends ReadableFile {
  readonly names: readonly string[]
  /** Where the rows begin. */
  readonly bodyStart: number
  readonly bodyLine: number
  readonly delimiter: number
  /** Lines end in CR alone. */
  readonly crOnly: boolean
}

async function openCsv(source: ReadableFile, options: ImportOptions): Promise<CsvInput> {
  const { name, sizeBytes } = source
  const head = await source.read(0, Math.min(sizeBytes, HEAD_BYTES))
  if (head.length === 0)
    throw new TextError('bad_header', `${name}: the file is empty; its first line has to name the columns`)
  const encoding = foreignEncoding(head)
  if (encoding !== undefined) throw new TextError('malformed_text', `${name}: ${encoding}`)
  const crOnly = endsInCr(head.subarray(textStart(head)), options.delimiter)
  if (crOnly) {
    crToLf(head.subarray(textStart(head)), head.length === sizeBytes, options.delimiter)
    options.log?.(`${name}: the lines end in CR alone`)
  }
  const delimiter = options.delimiter ?? delimiterOf(wholeLines(head, sizeBytes)).charCodeAt(0)
  if (options.delimiter === undefined && delimiter !== COMMA)
    options.log?.(`${name}: the fields are separated by ${JSON.stringify(String.fromCharCode(delimiter))}`)
  const { names, endOffset } = named(name, () => parseHeader(head, delimiter))
  const bodyLine = 1 + countLines(head.subarray(0, endOffset))
  return { ...source, names, bodyStart: endOffset, bodyLine, delimiter, crOnly }
}

function wholeLines(head: Uint8Array, sizeBytes: number): Uint8Array {
  return head.length === sizeBytes ? head : head.subarray(0, head.lastIndexOf(LF) + 1)
}

/** How files begin that hold no plain text, and what makes it of them. */
const ENCODINGS: readonly (readonly [first: readonly number[], sentence: string])[] = [
  [[0x1f, 0x8b], 'this is compressed by gzip; unpack it on the way: zcat FILE | posixlake create TABLE --from-csv -'],
  [
    [0x28, 0xb5, 0x2f, 0xfd],
    'this is compressed by zstd; unpack it on the way: zstdcat FILE | posixlake create TABLE --from-csv -',
  ],
  [[0x50, 0x4b, 0x03, 0x04], 'this is a ZIP file, as those of spreadsheets are; save it as CSV, or unpack it'],
  [[0x50, 0x41, 0x52, 0x31], 'this is a Parquet file; give it with --from-parquet'],
  [[0xff, 0xfe], 'this is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 FILE | posixlake create TABLE --from-csv -'],
  [[0xfe, 0xff], 'this is UTF-16; convert it: iconv -f UTF-16 -t UTF-8 FILE | posixlake create TABLE --from-csv -'],
]

function foreignEncoding(head: Uint8Array): string | undefined {
  const found = ENCODINGS.find(([first]) => first.every((byte, i) => head[i] === byte))?.[1]
  if (found !== undefined) return found
  // Letters in 16 bits have a byte 0 each.
  for (const [first, order] of [
    [0, 'BE'],
    [1, 'LE'],
  ] as const) {
    if (head.length > 3 && head[first] === 0 && head[first + 2] === 0)
      return `this is UTF-16; convert it: iconv -f UTF-16${order} -t UTF-8 FILE | posixlake create TABLE --from-csv -`
  }
  return undefined
}

/** The columns of all inputs, by at most so many bytes of each. */
async function inferred(inputs: readonly CsvInput[], bytesMax: number, { signal }: ImportOptions): Promise<Inferred> {
  const [first] = inputs
  if (first === undefined) throw new TextError('bad_header', 'there is no file to import')
  const inference = new SchemaInference(first.names)
  let isSure = true
  for (const input of inputs) {
    if (input.names.join('\0') !== first.names.join('\0')) {
      throw new TextError(
        'bad_header',
        `${input.name}: the columns are ${input.names.join(', ')}, those of ${first.name} are ${first.names.join(', ')}`,
      )
    }
    let seen = 0
    for await (const { bytes, line } of pieces(input, Math.min(bytesMax, SAMPLE_BYTES))) {
      signal?.throwIfAborted()
      named(input.name, () => inference.feed(bytes, { firstLine: line, delimiter: input.delimiter }))
      seen += bytes.length
      if (seen >= bytesMax) break
    }
    isSure &&= input.bodyStart + seen === input.sizeBytes
  }
  return { schema: inference.result(), notes: inference.notes(), isSure }
}

/** The rows of a CSV file, cut at row ends. `line` is that of the piece's first byte. */
async function* pieces(input: CsvInput, bytesMax: number): AsyncGenerator<{ bytes: Uint8Array; line: number }> {
  let line = input.bodyLine
  let want = bytesMax
  for (let at = input.bodyStart; at < input.sizeBytes; ) {
    const bytes = await input.read(at, Math.min(at + want, input.sizeBytes))
    if (bytes.length === 0)
      throw new TextError('malformed_text', `${input.name}: the file became shorter while it was read`)
    const last = at + bytes.length >= input.sizeBytes
    if (input.crOnly) crToLf(bytes, last, input.delimiter)
    const length = last ? bytes.length : lastRowEnd(bytes, input.delimiter)
    if (length === 0) {
      want *= 2 // One row is longer than the piece.
      continue
    }
    want = bytesMax
    const lines = countLines(bytes.subarray(0, length))
    // The bytes are given away, and so have to have a buffer of their own.
    yield { bytes: length === bytes.length ? bytes : bytes.slice(0, length), line }
    line += lines
    at += length
  }
}

/** `areGuessed`: the types are those of some of the rows. */
type CsvOptions = ImportOptions & { readonly areGuessed: boolean }

/** Has the pool make each piece a data file; as many at a time as there are threads. */
async function writeCsv(
  to: Import,
  inputs: readonly CsvInput[],
  all: WithFolders,
  options: CsvOptions,
): Promise<NewFile[]> {
  const { pool, progress, signal } = options
  const totalBytes = inputs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const files: (NewFile | undefined)[] = []
  const going = new Set<Promise<void>>()
  const paths: string[] = []
  let doneBytes = 0
  let failure: unknown
  const write = async (piece: CsvPiece, number: number): Promise<void> => {
    const path = newDataPath(number)
    paths.push(path)
    const size = piece.bytes.length
    try {
      files[number] = await writePiece(to, path, piece, all, options)
      doneBytes += size
      progress?.(doneBytes, totalBytes)
    } catch (error) {
      failure ??= withName(piece.input.name, error)
    }
  }
  try {
    for (const [i, input] of inputs.entries()) {
      const columns = inTextOrder(input, all.schema, all.added)
      for await (const { bytes, line } of pieces(input, PIECE_BYTES)) {
        if (signal?.aborted === true) failure ??= signal.reason
        if (failure !== undefined) break
        const piece = { input, columns, folders: all.values[i]!, bytes, line }
        const task: Promise<void> = write(piece, paths.length).finally(() => going.delete(task))
        going.add(task)
        // One more than there are threads, so that none has to wait for the disk.
        if (going.size > pool.threads) await Promise.race(going)
      }
    }
  } finally {
    // Nothing may be written any more when the files are taken away.
    await Promise.all(going)
  }
  if (failure !== undefined) {
    await to.staged.discard(paths)
    throw failure
  }
  return files.filter(file => file !== undefined)
}

/** Rows of a CSV file. */
interface CsvPiece {
  readonly input: CsvInput
  /** Those of the text, in its order. */
  readonly columns: Schema
  readonly folders: FolderValues
  readonly bytes: Uint8Array
  /** Where it begins. */
  readonly line: number
}

/** Writes a piece to a data file; undefined if there are no rows in it. */
async function writePiece(
  { staged }: Import,
  path: string,
  { input, columns, folders: { constants, repeated }, bytes, line }: CsvPiece,
  { added }: WithFolders,
  { pool, areGuessed }: CsvOptions,
): Promise<NewFile | undefined> {
  const file = await pool.encode({
    bytes,
    format: 'csv',
    schemaJson: schemaToJson(columns),
    firstLine: line,
    delimiter: input.delimiter,
    foundTypes: areGuessed,
    constants: { schemaJson: schemaToJson(added), cells: added.map(({ name }) => constants.get(name) ?? null) },
    expected: repeated,
  })
  if (file.rows === 0) return undefined
  await staged.write(path, file.bytes)
  return newFile(path, file, [...columns, ...added])
}

/** The columns of a file in its order: all of the table's but those that the folders add. */
function inTextOrder(input: CsvInput, schema: Schema, added: Schema): Schema {
  const own = schema.filter(field => !added.includes(field))
  const matched = matchHeader(input.names, own)
  if (matched === undefined || matched.added.length > 0 || matched.missing.length > 0) {
    throw new TextError(
      'bad_header',
      `${input.name}: line 1: the columns are ${input.names.join(', ')}; expected ${own.map(({ name }) => name).join(', ')}`,
    )
  }
  return matched.fields
}
