import { struct, text } from '../shapes.ts'
import type { ActionKind } from './kind.ts'

/** A file beside a checkpoint that holds some of its actions (PROTOCOL.md, "Sidecar File Information"). Only read. */
export interface SidecarAction {
  readonly path: string
}

export const sidecar: ActionKind = { name: 'sidecar', shape: struct({ path: text }) }
