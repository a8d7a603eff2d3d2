import { TextError } from '../../columns/errors.ts'
import { schemaToJson } from '../../columns/schema.ts'
import { matchHeader, SchemaInference } from '../../columns/text/csv.ts'
import { csv } from '../../columns/text/formats/index.ts'
import type { Schema } from '../../columns/types.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { columnsInFiles, type NewFile, newFile } from '../data-files/new-file.ts'
import { newDataPath } from '../data-files/paths.ts'
import type { Table } from '../table.ts'
import { checkPartitioning } from './create.ts'
import { type CsvInput, type CsvRows, openCsv } from './csv-input.ts'
import { type FolderValues, folderColumns, type WithFolders, withFolders } from './hive-folders.ts'
import { type Import, type ImportOptions, importing, named, withName } from './import-source.ts'

export { createFromParquet } from './import-parquet.ts'
export type { ImportOptions } from './import-source.ts'

/** Each piece becomes a data file of its own. */
const PIECE_BYTES = 12 << 20
const SAMPLE_BYTES = 4 << 20

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
    // They load their code while the types are found.
    if (inputs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) > PIECE_BYTES) options.pool.start()
    const write = async ({ schema, notes, isSure }: Inferred, given?: Schema): Promise<Written> => {
      const all = withFolders(schema, names, given)
      checkPartitioning(given ?? all.schema, options.partitionColumns ?? [])
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
    for await (const rows of input.rows(Math.min(bytesMax, SAMPLE_BYTES))) {
      signal?.throwIfAborted()
      named(input.name, () => inference.feed(rows.bytes, { ...rows, delimiter: input.delimiter }))
      seen += rows.bytes.length
      if (seen < bytesMax || rows.isLast) continue
      isSure = false
      break
    }
  }
  return { schema: inference.result(), notes: inference.notes(), isSure }
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
  const files: NewFile[][] = []
  const going = new Set<Promise<void>>()
  const paths: string[] = []
  let count = 0
  let doneBytes = 0
  let failure: unknown
  const write = async (piece: CsvPiece, number: number): Promise<void> => {
    const newPath = (folder: string): string => {
      const path = newDataPath(number, folder)
      paths.push(path)
      return path
    }
    const { sourceBytes } = piece.rows
    try {
      files[number] = await writePiece(to, newPath, piece, all, options).catch(async error => {
        if (!(error instanceof TextError)) throw error
        return writePiece(to, newPath, { ...piece, rows: await countedRows(piece) }, all, options)
      })
      doneBytes += sourceBytes
      progress?.(doneBytes, totalBytes)
    } catch (error) {
      failure ??= withName(piece.input.name, error)
    }
  }
  try {
    for (const [i, input] of inputs.entries()) {
      const columns = inTextOrder(input, all.schema, all.added)
      let place = 0
      for await (const rows of input.rows(PIECE_BYTES, false)) {
        if (signal?.aborted === true) failure ??= signal.reason
        if (failure !== undefined) break
        const piece = { input, columns, folders: all.values[i]!, rows, place: place++ }
        const task: Promise<void> = write(piece, count++).finally(() => going.delete(task))
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
  return files.flat()
}

/** Rows of a CSV file. */
interface CsvPiece {
  readonly input: CsvInput
  /** Those of the text, in its order. */
  readonly columns: Schema
  readonly folders: FolderValues
  readonly rows: CsvRows
  /** The number of pieces of the file in front of it. */
  readonly place: number
}

/** The rows of a piece once more, with their lines: for the message of a bad one. */
async function countedRows({ input, place }: CsvPiece): Promise<CsvRows> {
  let left = place
  for await (const rows of input.rows(PIECE_BYTES)) if (left-- === 0) return rows
  throw new TextError('malformed_text', 'the file became shorter while it was read')
}

/** Writes a piece to a data file, or to one for each partition; to none if there are no rows in it. */
async function writePiece(
  { staged }: Import,
  newPath: (folder: string) => string,
  { input, columns, folders: { constants, repeated }, rows }: CsvPiece,
  { added }: WithFolders,
  { pool, areGuessed, partitionColumns = [] }: CsvOptions,
): Promise<NewFile[]> {
  const { files } = await pool.encode({
    bytes: rows.bytes,
    format: csv.name,
    schemaJson: schemaToJson(columns),
    firstLine: rows.firstLine,
    lines: rows.lines,
    delimiter: input.delimiter,
    foundTypes: areGuessed,
    constants: { schemaJson: schemaToJson(added), cells: added.map(({ name }) => constants.get(name) ?? null) },
    expected: repeated,
    partitionColumns,
  })
  const inFiles = columnsInFiles([...columns, ...added], partitionColumns)
  const written: NewFile[] = []
  for (const { pieces, folder, partitionValues, ...file } of files) {
    const path = newPath(folder)
    const out = await staged.create(path)
    for (const bytes of pieces) await out.write(bytes)
    await out.close()
    written.push(newFile(path, file, inFiles, { partitionValues }))
  }
  return written
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
