import { TextError } from '../../columns/errors.ts'
import { nameFault, schemaFault, sqlType } from '../../columns/schema.ts'
import { DATE, LONG, literalOf } from '../../columns/text/literals.ts'
import { parseScalar, ScalarError } from '../../columns/text/scalars.ts'
import type { Batch, Cell, DataType, Field, Schema } from '../../columns/types.ts'
import { cellAt } from '../../columns/vectors.ts'

/** Stands for NULL in the name of a folder. */
const NULL_FOLDER = '__HIVE_DEFAULT_PARTITION__'

/** The columns in the names of folders, and for each file their values in the same order, as texts; NULL is null. */
export interface FolderColumns {
  readonly schema: Schema
  readonly values: readonly (readonly (string | null)[])[]
}

/**
 * The columns that are in the names of the folders which files lie in (`year=2023/month=05/a.parquet`), as Hive, Spark and
 * DuckDB write them. BIGINT or DATE where each value is one, else STRING. TextError `bad_schema` names files whose folders
 * disagree.
 */
export function folderColumns(paths: readonly string[]): FolderColumns {
  const found = paths.map(pairsOf)
  const names = found[0]?.map(({ name }) => name) ?? []
  for (const [i, pairs] of found.entries()) {
    const own = pairs.map(({ name }) => name)
    if (own.join('\0') === names.join('\0')) continue
    const said = (of: readonly string[]): string =>
      of.length === 0 ? 'no folders that name a column' : `folders that name ${of.join(', ')}`
    throw new TextError(
      'bad_schema',
      `${paths[i]} lies in ${said(own)}, ${paths[0]} in ${said(names)}; import them one by one`,
    )
  }
  const fault = nameFault(names)
  if (fault !== undefined) throw new TextError('bad_schema', `${paths[0]}: in the names of the folders ${fault}`)
  const values = found.map(pairs => pairs.map(({ value }) => value))
  const schema = names.map((name, i): Field => {
    const type = typeOf(values.map(own => own[i] ?? null))
    return { name, type, nullable: true, metadata: {} }
  })
  return { schema, values }
}

/** The values in the names of one file's folders. */
export interface FolderValues {
  /** Values of columns that are in the names alone. */
  readonly constants: ReadonlyMap<string, Cell>
  /** Values of columns that are in the file, too. */
  readonly repeated: ReadonlyMap<string, Cell>
}

/** The columns of files with those of their folders behind them. */
export interface WithFolders {
  readonly schema: Schema
  readonly added: Schema
  /** Of each file. */
  readonly values: readonly FolderValues[]
  /** Sentences about it. */
  readonly notes: readonly string[]
}

/**
 * Puts the columns of folders behind `own`, those of the files. `given`: the only columns that are wanted, with their types.
 * TextError names the file whose folders say what cannot be.
 */
export function withFolders(own: Schema, paths: readonly string[], given?: Schema): WithFolders {
  const folders = folderColumns(paths)
  const find = (schema: Schema | undefined, name: string): Field | undefined =>
    schema?.find(field => field.name === name)
  const isOwn = ({ name }: Field): boolean => find(own, name) !== undefined
  const others = folders.schema.filter(field => !isOwn(field))
  const added = others.flatMap(field => (given === undefined ? field : (find(given, field.name) ?? [])))
  const schema = [...own, ...added]
  const fault = schemaFault(schema)
  if (fault !== undefined) throw new TextError('bad_schema', `${paths[0]}: with the names of its folders ${fault}`)
  const values = paths.map((path, i) => {
    const constants = new Map<string, Cell>()
    const repeated = new Map<string, Cell>()
    for (const [c, { name }] of folders.schema.entries()) {
      const field = find(schema, name)
      if (field !== undefined)
        (isOwn(field) ? repeated : constants).set(name, cellOf(folders.values[i]![c]!, field, path))
    }
    return { constants, repeated }
  })
  const left = others.filter(field => find(schema, field.name) === undefined)
  const named = (fields: Schema): string => fields.map(({ name, type }) => `${name} ${sqlType(type)}`).join(', ')
  const notes = [
    ...(added.length === 0 ? [] : [`the names of the folders give ${named(added)}`]),
    ...(left.length === 0 ? [] : [`the names of the folders also give ${named(left)}, which --schema leaves out`]),
  ]
  return { schema, added, values, notes }
}

function cellOf(text: string | null, { name, type, nullable }: Field, path: string): Cell {
  try {
    const cell = folderCell(text, type)
    if (cell === null && !nullable) throw new ScalarError('a value')
    return cell
  } catch (error) {
    if (!(error instanceof ScalarError)) throw error
    throw new TextError(
      'bad_schema',
      `${path}: column ${name} is ${sqlType(type)}, and its folder is called ${name}=${text ?? NULL_FOLDER}`,
    )
  }
}

/** Returns the fault of rows whose values are others than the names of their folders say; undefined if there is none. */
export function unlikeFolders(
  { vectors, rows }: Batch,
  schema: Schema,
  { repeated }: Pick<FolderValues, 'repeated'>,
): { row: number; column: string } | undefined {
  for (const [i, { name }] of schema.entries()) {
    const expected = repeated.get(name)
    if (expected === undefined) continue
    for (let row = 0; row < rows; row++)
      if (!Bun.deepEquals(cellAt(vectors[i]!, row), expected)) return { row, column: name }
  }
  return undefined
}

/** A value of a folder's name as a cell; the empty text is NULL where the type has no such value. */
export function folderCell(text: string | null, type: DataType): Cell {
  return text === null || (text === '' && type.kind !== 'string') ? null : parseScalar(text, type)
}

function pairsOf(path: string): { name: string; value: string | null }[] {
  return path
    .split('/')
    .slice(0, -1)
    .flatMap(folder => {
      const [, name, value] = /^([^=]+)=(.*)$/s.exec(folder) ?? []
      if (name === undefined || value === undefined) return []
      return [{ name: decoded(name, path), value: value === NULL_FOLDER ? null : decoded(value, path) }]
    })
}

/** Takes percent-encoding away; a percent sign that begins none stays. */
function decoded(text: string, path: string): string {
  const bytes = Buffer.from(text).toString('latin1')
  const raw = bytes.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(raw, 'latin1'))
  } catch (cause) {
    throw new TextError('malformed_text', `${path}: ${text} in the name of the folder is not UTF-8`, { cause })
  }
}

function typeOf(values: readonly (string | null)[]): DataType {
  const texts = values.filter(value => value !== null && value !== '') as string[]
  const types = texts.reduce((left, text) => left & literalOf(text).types, LONG | DATE)
  if (texts.length === 0 || types === 0) return { kind: 'string' }
  return (types & LONG) === 0 ? { kind: 'date' } : { kind: 'long' }
}
