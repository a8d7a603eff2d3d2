import { TextError } from '../../columns/errors.ts'
import { type Footer, readFooter, readRowGroup } from '../../columns/parquet/read.ts'
import { schemaOfFooter } from '../../columns/parquet/schema.ts'
import { type ByteSource, fileSource } from '../../columns/parquet/source.ts'
import type { ByteSink } from '../../columns/parquet/write.ts'
import { schemaFault, sqlType } from '../../columns/schema.ts'
import type { Batch, Schema } from '../../columns/types.ts'
import { localEntry, localNames } from '../../storage/local-files.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import type { ReadableFile } from '../../storage/readable-file.ts'
import { DataFileWriter, type WrittenDataFile } from '../data-files/data-file-writer.ts'
import { type NewFile, newFile } from '../data-files/new-file.ts'
import { newDataPath } from '../data-files/paths.ts'
import { RowsWriter } from '../data-files/rows-writer.ts'
import { INDEXED_BY_DEFAULT } from '../data-files/statistics.ts'
import { TableError } from '../errors.ts'
import { LOG_FOLDER } from '../log/paths.ts'
import type { Table } from '../table.ts'
import { checkPartitioning } from './create.ts'
import { type FolderValues, unlikeFolders, withFolders } from './hive-folders.ts'
import { type ImportOptions, importing } from './import-source.ts'

/**
 * Creates a table from Parquet files whose columns agree, in one commit. A folder among `paths` stands for all files in it
 * and in its folders, but for those whose names begin with `_` or a point. Folders that are called `name=value` give
 * columns. TextError and TableError name the file; then there is no table, and no folder that was not there before.
 */
export async function createFromParquet(
  store: ObjectStore,
  paths: readonly string[],
  options: ImportOptions,
): Promise<Table> {
  return importing(store, options, async to => {
    const inputs: ParquetInput[] = []
    for (const path of await filesIn(paths, options)) {
      options.signal?.throwIfAborted()
      inputs.push(await openParquet(await to.open(path), options))
    }
    const names = inputs.map(({ name }) => name)
    const { schema, values, notes } = withFolders(commonColumns(inputs), names)
    const report = reporting(inputs, schema, options)
    const { partitionColumns = [] } = options
    checkPartitioning(schema, partitionColumns)
    const files: NewFile[] = []
    for (const [i, input] of inputs.entries()) {
      if (partitionColumns.length > 0) {
        const target = { schema, partitionColumns, indexed: INDEXED_BY_DEFAULT }
        const rows = new RowsWriter(path => to.staged.create(path), target)
        await copyRows(input, rows, schema, values[i]!, report)
        files.push(...(await rows.finish()))
        continue
      }
      const path = newDataPath(i)
      const out = await to.staged.create(path)
      const file = await copied(input, out, schema, values[i]!, report)
      await out.close()
      files.push(newFile(path, file, schema))
    }
    for (const note of notes) options.log?.(note)
    return { schema, files }
  })
}

/** Hears of the rows of each row group before they are written, and may refuse to go on. */
type Report = (input: ParquetInput, batch: Batch) => void

function reporting(inputs: readonly ParquetInput[], schema: Schema, options: ImportOptions): Report {
  const totalBytes = inputs.reduce((sum, { source }) => sum + source.sizeBytes, 0)
  const told = new Set<string>()
  let doneBytes = 0
  return ({ name, source, footer }, batch) => {
    options.signal?.throwIfAborted()
    noteCut(batch, schema, name, told, options)
    doneBytes += source.sizeBytes / footer.rowGroups.length
    options.progress?.(doneBytes, totalBytes)
  }
}

/** Writes the rows of a file to another, with the values that its folders give. */
async function copied(
  input: ParquetInput,
  out: ByteSink,
  schema: Schema,
  values: FolderValues,
  report: Report,
): Promise<WrittenDataFile> {
  const writer = new DataFileWriter(out, schema)
  await copyRows(input, writer, schema, values, report)
  return writer.finish()
}

async function copyRows(
  input: ParquetInput,
  writer: Pick<RowsWriter, 'write'>,
  schema: Schema,
  { constants, repeated }: FolderValues,
  report: Report,
): Promise<void> {
  const { name, source, footer } = input
  for (const [group, { firstRow }] of footer.rowGroups.entries()) {
    const batch = await readRowGroup(source, footer, group, schema, constants)
    report(input, batch)
    checkRows(batch, schema, name, firstRow, repeated)
    await writer.write(batch)
  }
}

interface ParquetInput {
  readonly name: string
  readonly source: ByteSource
  readonly footer: Footer
  readonly schema: Schema
}

/** Folders among the paths by the files in them, in the order of their names. */
async function filesIn(paths: readonly string[], options: ImportOptions): Promise<string[]> {
  const files: string[] = []
  for (const path of paths) {
    const entry = await localEntry(path)
    if (entry.kind !== 'folder') {
      files.push(path)
      continue
    }
    const before = files.length
    await gather(path, entry.id, files, new Set(), options)
    if (files.length === before)
      throw new TableError(
        'missing_file',
        `${path}: there are no files in this folder whose names begin with neither _ nor .`,
      )
  }
  return files
}

async function gather(
  folder: string,
  id: string,
  files: string[],
  within: ReadonlySet<string>,
  options: ImportOptions,
): Promise<void> {
  options.signal?.throwIfAborted()
  if (within.has(id)) return // A link that leads back up.
  const names = await localNames(folder)
  if (names.includes(LOG_FOLDER)) {
    throw new TableError(
      'bad_schema',
      `${folder} is a Delta table, whose files may hold rows that were deleted; copy its rows: posixlake query ${folder} "FROM data" --format parquet | posixlake create TABLE --from-parquet -`,
    )
  }
  for (const name of names) {
    if (/^[_.]/.test(name)) continue
    const path = `${folder.replace(/\/$/, '')}/${name}`
    const entry = await localEntry(path)
    if (entry.kind === 'folder') await gather(path, entry.id, files, new Set([...within, id]), options)
    else files.push(path)
  }
}

async function openParquet(file: ReadableFile, { log }: ImportOptions): Promise<ParquetInput> {
  const { name } = file
  const source = fileSource(file)
  const footer = await readFooter(source)
  const schema = schemaOfFooter(footer, name, log)
  const fault = schemaFault(schema)
  if (fault !== undefined) throw new TextError('bad_schema', `${name}: ${fault}; rename it in the file first`)
  return { name, source, footer, schema }
}

/** Tells once of each column whose values had more digits than a Delta timestamp has. */
function noteCut({ vectors }: Batch, schema: Schema, file: string, told: Set<string>, { log }: ImportOptions): void {
  for (const [i, { name }] of schema.entries()) {
    if (vectors[i]!.cut === undefined || told.has(name)) continue
    told.add(name)
    log?.(`${file}: column ${name} counts nanoseconds; they are cut to microseconds, the most that Delta has`)
  }
}

/** The columns of all files, which have to agree. */
function commonColumns(inputs: readonly ParquetInput[]): Schema {
  const [first] = inputs
  if (first === undefined) throw new TableError('missing_file', 'there is no file to import')
  const columns = first.schema.map(field => ({ ...field, nullable: true }))
  for (const { schema, name } of inputs) checkSame(columns, schema, name, first.name)
  return columns
}

/** Refuses what would be lost: text that is not UTF-8, and values that are others than the folder's name says. */
function checkRows(
  batch: Batch,
  schema: Schema,
  file: string,
  firstRow: number,
  repeated: FolderValues['repeated'],
): void {
  for (const [i, field] of schema.entries()) {
    const { notUtf8 } = batch.vectors[i]!
    if (notUtf8 === undefined) continue
    throw new TextError(
      'malformed_text',
      `${file}: row ${firstRow + notUtf8 + 1}, column ${field.name}: the text is not UTF-8, as text in Parquet has to be; write the file anew as UTF-8, or the column as binary`,
      { column: field.name },
    )
  }
  const unlike = unlikeFolders(batch, schema, { repeated })
  if (unlike === undefined) return
  const { row, column } = unlike
  throw new TextError(
    'malformed_text',
    `${file}: row ${firstRow + row + 1}, column ${column}: the value is not the one in the name of the folder`,
    { column },
  )
}

function checkSame(schema: Schema, own: Schema, path: string, firstPath: string): void {
  const wrong = schema.find(field => {
    const other = own.find(candidate => candidate.name === field.name)
    return other === undefined || sqlType(other.type) !== sqlType(field.type)
  })
  if (wrong !== undefined || own.length !== schema.length) {
    const columns = (of: Schema): string => of.map(({ name, type }) => `${name} ${sqlType(type)}`).join(', ')
    throw new TableError(
      'bad_schema',
      `${path} has the columns ${columns(own)}, ${firstPath} has ${columns(schema)}; import them one by one`,
    )
  }
}
