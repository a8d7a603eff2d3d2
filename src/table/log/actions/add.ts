import { count, flag, integer, mapOf, optional, struct, text, time } from '../shapes.ts'
import { type DeletionVectorDescriptor, vectorColumn, vectorShape } from './deletion-vector.ts'
import type { ActionKind } from './kind.ts'

/** A logical file that is in the table from here on (PROTOCOL.md, "Add File and Remove File"). */
export interface AddAction {
  readonly path: string
  readonly partitionValues: Readonly<Record<string, string | null>>
  readonly size: number
  readonly modificationTime: number
  readonly dataChange: boolean
  readonly stats?: string
  readonly tags?: Readonly<Record<string, string>> | null
  readonly deletionVector?: DeletionVectorDescriptor | null
  /** With row tracking, the id of the first row; a number, or one too large for it as it was spelled. */
  readonly baseRowId?: unknown
  readonly defaultRowCommitVersion?: unknown
  readonly [other: string]: unknown
}

export const add: ActionKind = {
  name: 'add',
  shape: struct({
    path: text,
    partitionValues: optional(mapOf(optional(text))),
    size: count,
    modificationTime: time,
    dataChange: optional(flag),
    stats: optional(text),
    tags: optional(mapOf(optional(text))),
    deletionVector: optional(vectorShape),
    baseRowId: optional(integer),
    defaultRowCommitVersion: optional(integer),
    clusteringProvider: optional(text),
  }),
  column: `struct<path:string, partitionValues:map<string,string>, size:bigint, modificationTime:bigint, dataChange:boolean, stats:string,
    tags:map<string,string>, deletionVector:${vectorColumn}, baseRowId:bigint, defaultRowCommitVersion:bigint, clusteringProvider:string>`,
}
