import { count, flag, mapOf, optional, struct, text } from '../shapes.ts'
import type { ActionKind } from './kind.ts'

/** A file with the rows that a version changed (PROTOCOL.md, "Add CDC File"). It is no part of the table. */
export interface CdcAction {
  readonly path: string
  readonly partitionValues: Readonly<Record<string, string | null>>
  readonly size: number
  readonly dataChange: false
  readonly tags?: Readonly<Record<string, string>> | null
}

export const cdc: ActionKind = {
  name: 'cdc',
  shape: struct({
    path: text,
    partitionValues: optional(mapOf(optional(text))),
    size: count,
    dataChange: optional(flag),
    tags: optional(mapOf(optional(text))),
  }),
}
