import type { DataType, Field, Schema } from '../columns/types.ts'
import { sha256Hex } from '../core/hash.ts'
import type { ProtocolAction } from './log/actions/index.ts'
import type { TableMetadata } from './metadata.ts'
import { hasColumnMapping } from './protocol.ts'

/** The part of a table that says how its columns are mapped. */
interface MappedTable {
  readonly protocol: ProtocolAction
  readonly metadata: TableMetadata
}

const PREFIX = 'delta.columnMapping.'
const ID = `${PREFIX}id`
const PHYSICAL_NAME = `${PREFIX}physicalName`
/** The property that says how the columns of a table are mapped. */
export const MAPPING_MODE = `${PREFIX}mode`
const MAX_COLUMN_ID = `${PREFIX}maxColumnId`

/**
 * Gives new columns of a table with column mapping an id and a physical name (PROTOCOL.md, "Writer Requirements for Column
 * Mapping"); the same schema in other tables. Both follow from the table and its highest id so far, so that whoever adds
 * the same columns to the same version gets the same answer, and no name ever comes again.
 */
export function withPhysicalNames(schema: Schema, snapshot: MappedTable & { readonly schema: Schema }): Schema {
  const { protocol, metadata } = snapshot
  if (!hasColumnMapping(protocol, metadata.configuration)) return schema
  let id = highestId(snapshot.schema, metadata.configuration)
  return mapFields(schema, field => {
    if (field.metadata[ID] !== undefined) return field.metadata
    id++
    return { ...field.metadata, [ID]: id, [PHYSICAL_NAME]: newPhysicalName(metadata.id, id, field.name) }
  })
}

/** Metadata once columns are mapped that were not. */
interface Mapped {
  readonly schema: Schema
  readonly configuration: Readonly<Record<string, string>>
}

/**
 * Maps the columns of a table, by name if its configuration does not say how: those that have no id yet get one. `hasFiles`: they keep their names, which are
 * those in the files that are there; else each gets one that no other column ever has.
 */
export function mapColumns(
  schema: Schema,
  configuration: ReadonlyMap<string, string>,
  { id: tableId, hasFiles }: { readonly id: string; readonly hasFiles: boolean },
): Mapped {
  const mode = configuration.get(MAPPING_MODE) ?? 'name'
  let id = highestId(schema, configuration)
  const mapped = mapFields(schema, ({ name, metadata }) => {
    if (metadata[ID] !== undefined) return metadata
    id++
    return { ...metadata, [ID]: id, [PHYSICAL_NAME]: hasFiles ? name : newPhysicalName(tableId, id, name) }
  })
  return {
    schema: mapped,
    configuration: { ...Object.fromEntries(configuration), [MAPPING_MODE]: mode, [MAX_COLUMN_ID]: String(id) },
  }
}

/** The field of a name, as it is spelled or else in any case. */
export function fieldNamed(schema: Schema, name: string): Field | undefined {
  return (
    schema.find(other => other.name === name) ?? schema.find(other => other.name.toLowerCase() === name.toLowerCase())
  )
}

/** True if columns of a schema have names in the files that are not their own, or may get such. */
export function isMapped(schema: Schema): boolean {
  return schema.some(({ metadata }) => metadata[PHYSICAL_NAME] !== undefined)
}

function newPhysicalName(tableId: string, id: number, name: string): string {
  const hex = sha256Hex(`${tableId}\0${id}\0${name}`)
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12}).*$/, 'col-$1-$2-$3-$4-$5')
}

/** The columns without what column mapping left behind: where it is off, their names are those in the files. */
export function withoutMapping(schema: Schema): Schema {
  return mapFields(schema, ({ metadata }) =>
    Object.keys(metadata).some(key => key.startsWith(PREFIX))
      ? Object.fromEntries(Object.entries(metadata).filter(([key]) => !key.startsWith(PREFIX)))
      : metadata,
  )
}

/**
 * The columns as they are looked for in files: by ids only where the mapping mode is `id` (PROTOCOL.md, "Reader Requirements
 * for Column Mapping"). In mode `name` files may have ids that mean something else, from before the table was mapped.
 */
export function schemaInFiles({
  schema,
  metadata,
}: Pick<MappedTable, 'metadata'> & { readonly schema: Schema }): Schema {
  if (metadata.configuration.get(MAPPING_MODE) === 'id') return schema
  return mapFields(schema, ({ metadata: { [ID]: id, ...others }, metadata: all }) => (id === undefined ? all : others))
}

/** The configuration of a table whose columns `schema` becomes: it tells the highest id so far (`withPhysicalNames`). */
export function withMaxColumnId(
  configuration: Readonly<Record<string, string>>,
  schema: Schema,
  { protocol, metadata }: MappedTable,
): Readonly<Record<string, string>> {
  if (!hasColumnMapping(protocol, metadata.configuration)) return configuration
  return { ...configuration, [MAX_COLUMN_ID]: String(highestId(schema, metadata.configuration)) }
}

/** The ids rise for ever: that of a column which was dropped is never used again. */
function highestId(schema: Schema, configuration: ReadonlyMap<string, string>): number {
  let max = Number(configuration.get(MAX_COLUMN_ID) ?? 0)
  mapFields(schema, ({ metadata }) => {
    if (typeof metadata[ID] === 'number') max = Math.max(max, metadata[ID])
    return metadata
  })
  return max
}

/** A schema with other metadata on its fields, nested ones too; a field comes before those inside it. */
function mapFields(schema: Schema, of: (field: Field) => Field['metadata']): Schema {
  const inside = (type: DataType): DataType => {
    switch (type.kind) {
      case 'struct':
        return { ...type, fields: mapFields(type.fields, of) }
      case 'array':
        return { ...type, element: inside(type.element) }
      case 'map':
        return { ...type, key: inside(type.key), value: inside(type.value) }
      default:
        return type
    }
  }
  return schema.map(field => ({ ...field, metadata: of(field), type: inside(field.type) }))
}
