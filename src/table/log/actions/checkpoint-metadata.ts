import type { ActionKind } from './kind.ts'

/** The version of a checkpoint, in one of version 2 (PROTOCOL.md, "Checkpoint Metadata"). Nothing follows from it. */
export interface CheckpointMetadataAction {
  readonly version: number
}

export const checkpointMetadata: ActionKind = {
  name: 'checkpointMetadata',
  column: 'struct<version:bigint, tags:map<string,string>>',
}
