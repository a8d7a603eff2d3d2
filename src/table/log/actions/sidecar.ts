import { struct, text } from '../shapes.ts'
import type { ActionKind } from './kind.ts'

/** A file beside a checkpoint that holds some of its actions (PROTOCOL.md, "Sidecar File Information"). */
export interface SidecarAction {
  readonly path: string
  readonly sizeInBytes?: number
  readonly modificationTime?: number
}

export const sidecar: ActionKind = {
  name: 'sidecar',
  shape: struct({ path: text }),
  column: 'struct<path:string, sizeInBytes:bigint, modificationTime:bigint, tags:map<string,string>>',
}
