import { TextError } from '../../columns/errors.ts'
import { nameFault } from '../../columns/schema.ts'
import { DATE, LONG, literalOf } from '../../columns/text/literals.ts'
import { parseScalar } from '../../columns/text/scalars.ts'
import type { Cell, DataType, Field, Schema } from '../../columns/types.ts'

/** Stands for NULL in the name of a folder. */
const NULL_FOLDER = '__HIVE_DEFAULT_PARTITION__'

/** What the folders of files say: columns, and for each file their values in the same order, as texts; NULL is null. */
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
