import { flag, integer, mapOf, optional, struct, text, time } from '../shapes.ts'
import { type DeletionVectorDescriptor, vectorColumn, vectorShape } from './deletion-vector.ts'
import type { ActionKind } from './kind.ts'

/** A logical file that is no longer in the table (PROTOCOL.md, "Add File and Remove File"). */
export interface RemoveAction {
  readonly path: string
  readonly deletionTimestamp?: number
  readonly dataChange: boolean
  readonly extendedFileMetadata?: boolean
  readonly partitionValues?: Readonly<Record<string, string | null>> | null
  readonly size?: number
  readonly deletionVector?: DeletionVectorDescriptor | null
  readonly [other: string]: unknown
}

export const remove: ActionKind = {
  name: 'remove',
  shape: struct({
    path: text,
    deletionTimestamp: optional(time),
    dataChange: optional(flag),
    extendedFileMetadata: optional(flag),
    partitionValues: optional(mapOf(optional(text))),
    size: optional(integer),
    tags: optional(mapOf(optional(text))),
    deletionVector: optional(vectorShape),
    baseRowId: optional(integer),
    defaultRowCommitVersion: optional(integer),
  }),
  column: `struct<path:string, deletionTimestamp:bigint, dataChange:boolean, extendedFileMetadata:boolean, partitionValues:map<string,string>,
    size:bigint, deletionVector:${vectorColumn}, baseRowId:bigint, defaultRowCommitVersion:bigint>`,
}
