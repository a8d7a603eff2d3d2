import { randomUUID } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { TextError } from '../../columns/errors.ts'
import { type Footer, readFooter, readRowGroup } from '../../columns/parquet/read.ts'
import { schemaOfFooter } from '../../columns/parquet/schema.ts'
import { localSource } from '../../columns/parquet/source.ts'
import { ParquetFileWriter } from '../../columns/parquet/write.ts'
import { schemaFault, sqlType } from '../../columns/schema.ts'
import { ScalarError } from '../../columns/text/scalars.ts'
import type { Batch, Cell, Field, Schema } from '../../columns/types.ts'
import { cellAt } from '../../columns/vectors.ts'
import { localStore } from '../../storage/local.ts'
import type { NewFile } from '../commit/change-set.ts'
import { TableError } from '../errors.ts'
import { LOG_FOLDER } from '../log/paths.ts'
import type { Table } from '../table.ts'
import { folderCell, folderColumns } from './hive-folders.ts'
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
      opened.push(await openParquet(await sourceFile(path, directory, written, options)))
    }
    const { schema, inputs } = withFolders(opened, options)
    const totalBytes = inputs.reduce((sum, { source }) => sum + source.sizeBytes, 0)
    let doneBytes = 0
    const store = localStore(directory)
    const files: NewFile[] = []
    for (const [i, input] of inputs.entries()) {
      const { source, footer } = input
      const path = `part-${String(i).padStart(5, '0')}-${randomUUID()}.snappy.parquet`
      const out = await store.create(path)
      written.push(path)
      try {
        const writer = new ParquetFileWriter(out, schema)
        for (const [group, { firstRow }] of footer.rowGroups.entries()) {
          options.signal?.throwIfAborted()
          const batch = await readRowGroup(source, footer, group, schema, input.constants)
          checkRows(batch, schema, input, firstRow)
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
    return { schema, files }
  })
}

interface ParquetInput {
  readonly name: string
  readonly source: ReturnType<typeof localSource>
  readonly footer: Footer
  readonly schema: Schema
  /** Values of columns that are in the names of its folders alone. */
  readonly constants: ReadonlyMap<string, Cell>
  /** Values of columns of the file that are in the names of its folders, too. */
  readonly repeated: ReadonlyMap<string, Cell>
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

async function openParquet(file: SourceFile): Promise<ParquetInput> {
  await (await openFile(file)).close()
  const { name, path } = file
  const source = { ...localSource(path, (await stat(path)).size), name }
  const footer = await readFooter(source)
  const schema = schemaOfFooter(footer, name)
  const fault = schemaFault(schema)
  if (fault !== undefined) throw new TextError('bad_schema', `${name}: ${fault}; rename it in the file first`)
  return { name, source, footer, schema, constants: new Map(), repeated: new Map() }
}

/** The table's columns: those of the files, which have to agree, and behind them those of the folders. */
function withFolders(
  opened: readonly ParquetInput[],
  { log }: ImportOptions,
): { schema: Schema; inputs: readonly ParquetInput[] } {
  const [first] = opened
  if (first === undefined) throw new TableError('missing_file', 'there is no file to import')
  const own = first.schema.map(field => ({ ...field, nullable: true }))
  for (const { schema, name } of opened) checkSame(own, schema, name, first.name)
  const folders = folderColumns(opened.map(({ name }) => name))
  const isInFile = ({ name }: Field): boolean => own.some(field => field.name === name)
  const added = folders.schema.filter(field => !isInFile(field))
  const schema = [...own, ...added]
  const fault = schemaFault(schema)
  if (fault !== undefined) throw new TextError('bad_schema', `${first.name}: with the names of its folders ${fault}`)
  const inputs = opened.map((input, i) => {
    const cells = folders.schema.map(({ name }, c) => {
      const field = schema.find(known => known.name === name)!
      return [name, cellOf(folders.values[i]![c] ?? null, field, input.name)] as const
    })
    const isAdded = ([name]: readonly [string, Cell]): boolean => added.some(field => field.name === name)
    return {
      ...input,
      constants: new Map(cells.filter(isAdded)),
      repeated: new Map(cells.filter(pair => !isAdded(pair))),
    }
  })
  if (added.length > 0)
    log?.(`the names of the folders give ${added.map(({ name, type }) => `${name} ${sqlType(type)}`).join(', ')}`)
  return { schema, inputs }
}

function cellOf(text: string | null, { name, type }: Field, file: string): Cell {
  try {
    return folderCell(text, type)
  } catch (error) {
    if (!(error instanceof ScalarError)) throw error
    throw new TextError(
      'bad_value',
      `${file}: column ${name} is ${sqlType(type)}, and its folder is called ${name}=${text}`,
    )
  }
}

/** Refuses what would be lost: text that is not UTF-8, and values that are others than the folder's name says. */
function checkRows({ vectors, rows }: Batch, schema: Schema, { name, repeated }: ParquetInput, firstRow: number): void {
  for (const [i, field] of schema.entries()) {
    const vector = vectors[i]!
    if (vector.notUtf8 !== undefined) {
      throw new TextError(
        'malformed_text',
        `${name}: row ${firstRow + vector.notUtf8 + 1}, column ${field.name}: the text is not UTF-8, as text in Parquet has to be; write the file anew as UTF-8, or the column as binary`,
        { column: field.name },
      )
    }
    const expected = repeated.get(field.name)
    if (expected === undefined) continue
    for (let row = 0; row < rows; row++) {
      if (Bun.deepEquals(cellAt(vector, row), expected)) continue
      throw new TextError(
        'bad_value',
        `${name}: row ${firstRow + row + 1}, column ${field.name}: the value is not the one in the name of the folder`,
        { column: field.name },
      )
    }
  }
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
