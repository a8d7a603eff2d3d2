import { listOf, mapOf, optional, struct, text, time } from '../shapes.ts'
import type { ActionKind } from './kind.ts'

/** The id, schema and configuration of the table (PROTOCOL.md, "Change Metadata"). */
export interface MetadataAction {
  readonly id: string
  readonly name?: string | null
  readonly description?: string | null
  readonly format: { readonly provider: string; readonly options: Readonly<Record<string, string>> }
  readonly schemaString: string
  readonly partitionColumns: readonly string[]
  readonly configuration: Readonly<Record<string, string>>
  readonly createdTime?: number
}

export const metaData: ActionKind = {
  name: 'metaData',
  shape: struct({
    id: text,
    name: optional(text),
    description: optional(text),
    format: optional(struct({ provider: text, options: optional(mapOf(optional(text))) })),
    schemaString: text,
    partitionColumns: optional(listOf(text)),
    configuration: optional(mapOf(optional(text))),
    createdTime: optional(time),
  }),
  column: `struct<id:string, name:string, description:string, format:struct<provider:string, options:map<string,string>>, schemaString:string,
    partitionColumns:array<string>, configuration:map<string,string>, createdTime:bigint>`,
}
