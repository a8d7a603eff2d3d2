import { flag, struct, text } from '../shapes.ts'
import type { ActionKind } from './kind.ts'

/** Configuration of a named feature (PROTOCOL.md, "Domain Metadata"). */
export interface DomainMetadataAction {
  readonly domain: string
  readonly configuration: string
  readonly removed: boolean
}

export const domainMetadata: ActionKind = {
  name: 'domainMetadata',
  shape: struct({ domain: text, configuration: text, removed: flag }),
  column: 'struct<domain:string, configuration:string, removed:boolean>',
}
