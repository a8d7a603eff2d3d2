import type { MetadataAction } from './log/actions/index.ts'

/** The name and the configuration of a table. */
export interface TableMetadata {
  readonly id: string
  readonly name: string | undefined
  readonly description: string | undefined
  readonly partitionColumns: readonly string[]
  readonly configuration: ReadonlyMap<string, string>
  readonly action: MetadataAction
}

/** The metadata of an action. */
export function metadataOf(action: MetadataAction): TableMetadata {
  return {
    id: action.id,
    name: action.name ?? undefined,
    description: action.description ?? undefined,
    partitionColumns: action.partitionColumns ?? [],
    configuration: new Map(Object.entries(action.configuration ?? {}).filter(([, value]) => value !== null)),
    action,
  }
}
