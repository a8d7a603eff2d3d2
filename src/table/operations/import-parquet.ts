import { randomUUID } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { TextError } from '../../columns/errors.ts'
import { type Footer, readFooter, readRowGroup } from '../../columns/parquet/read.ts'
import { schemaOfFooter } from '../../columns/parquet/schema.ts'
import { localSource } from '../../columns/parquet/source.ts'
import { ParquetFileWriter } from '../../columns/parquet/write.ts'
import { schemaFault, sqlType } from '../../columns/schema.ts'
import type { Batch, Schema } from '../../columns/types.ts'
import { localStore } from '../../storage/local.ts'
import type { NewFile } from '../commit/change-set.ts'
import { TableError } from '../errors.ts'
import { LOG_FOLDER } from '../log/paths.ts'
import type { Table } from '../table.ts'
import { type FolderValues, unlikeFolders, withFolders } from './hive-folders.ts'
import { type ImportOptions, importing, openFile, type SourceFile, sourceFile } from './import-source.ts'
import { newFile } from './write.ts'

/**
 * Creates a table from Parquet files whose columns agree, in one commit. A folder among `paths` stands for all files in it
 * and in its folders, but for those whose names begin with `_` or a point. Folders that are called `name=value` give
 * columns. TextError and TableError name the file; then there is no table, and no folder that was not there before.
 */
export async function createFromParquet(
  directory: string,
  paths: readonly string[],
  options: ImportOptions,
): Promise<Table> {
  return importing(directory, options, async written => {
    const opened: ParquetInput[] = []
    for (const path of await filesIn(paths, options)) {
      options.signal?.throwIfAborted()
      opened.push(await openParquet(await sourceFile(path, directory, written, options), options))
    }
    const own = commonColumns(opened)
    const { schema, values, notes } = withFolders(
      own,
      opened.map(({ name }) => name),
    )
    const totalBytes = opened.reduce((sum, { source }) => sum + source.sizeBytes, 0)
    let doneBytes = 0
    const store = localStore(directory)
    const files: NewFile[] = []
    const told = new Set<string>()
    for (const [i, input] of opened.entries()) {
      const { source, footer } = input
      const { constants, repeated } = values[i]!
      const path = `part-${String(i).padStart(5, '0')}-${randomUUID()}.snappy.parquet`
      const out = await store.create(path)
      written.push(path)
      try {
        const writer = new ParquetFileWriter(out, schema)
        for (const [group, { firstRow }] of footer.rowGroups.entries()) {
          options.signal?.throwIfAborted()
          const batch = await readRowGroup(source, footer, group, schema, constants)
          noteCut(batch, schema, input.name, told, options)
          checkRows(batch, schema, input.name, firstRow, repeated)
          await writer.write(batch)
          doneBytes += source.sizeBytes / footer.rowGroups.length
          options.progress?.(doneBytes, totalBytes)
        }
        const file = await writer.finish()
        await out.close()
        files.push(newFile(path, file, schema))
      } catch (error) {
        await out.abort()
        throw error
      }
    }
    for (const note of notes) options.log?.(note)
    return { schema, files }
  })
}

interface ParquetInput {
  readonly name: string
  readonly source: ReturnType<typeof localSource>
  readonly footer: Footer
  readonly schema: Schema
}

/** Folders among the paths by the files in them, in the order of their names. */
async function filesIn(paths: readonly string[], options: ImportOptions): Promise<string[]> {
  const files: string[] = []
  for (const path of paths) {
    const info = await stat(path).catch(() => undefined)
    if (info?.isDirectory() !== true) {
      files.push(path)
      continue
    }
    const before = files.length
    await gather(path, files, new Set(), options)
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
  files: string[],
  within: ReadonlySet<string>,
  options: ImportOptions,
): Promise<void> {
  options.signal?.throwIfAborted()
  const { dev, ino } = await stat(folder)
  const id = `${dev}:${ino}`
  if (within.has(id)) return // A link that leads back up.
  const names = (await readdir(folder)).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  if (names.includes(LOG_FOLDER)) {
    throw new TableError(
      'bad_schema',
      `${folder} is a Delta table, whose files may hold rows that were deleted; copy its rows: posixlake query ${folder} "FROM data" --format parquet | posixlake create TABLE --from-parquet -`,
    )
  }
  for (const name of names) {
    if (/^[_.]/.test(name)) continue
    const path = join(folder, name)
    if ((await stat(path)).isDirectory()) await gather(path, files, new Set([...within, id]), options)
    else files.push(path)
  }
}

async function openParquet(file: SourceFile, { log }: ImportOptions): Promise<ParquetInput> {
  await (await openFile(file)).close()
  const { name, path } = file
  const source = { ...localSource(path, (await stat(path)).size), name }
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
