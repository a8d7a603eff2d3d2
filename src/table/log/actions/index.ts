import { TableError } from '../../errors.ts'
import { type AddAction, add } from './add.ts'
import { type CdcAction, cdc } from './cdc.ts'
import { type CheckpointMetadataAction, checkpointMetadata } from './checkpoint-metadata.ts'
import { type CommitInfoAction, commitInfo } from './commit-info.ts'
import { type DomainMetadataAction, domainMetadata } from './domain-metadata.ts'
import type { ActionKind } from './kind.ts'
import { type MetadataAction, metaData } from './metadata.ts'
import { type ProtocolAction, protocol } from './protocol.ts'
import { type RemoveAction, remove } from './remove.ts'
import { type SidecarAction, sidecar } from './sidecar.ts'
import { type TxnAction, txn } from './txn.ts'

export type { AddAction } from './add.ts'
export type { CdcAction } from './cdc.ts'
export type { CommitInfoAction } from './commit-info.ts'
export { type DeletionVectorDescriptor, vectorId } from './deletion-vector.ts'
export type { DomainMetadataAction } from './domain-metadata.ts'
export type { ActionKind } from './kind.ts'
export type { MetadataAction } from './metadata.ts'
export type { ProtocolAction } from './protocol.ts'
export type { RemoveAction } from './remove.ts'
export type { TxnAction } from './txn.ts'

/**
 * The actions of the log in the spelling of PROTOCOL.md ("Actions"), in the order of a checkpoint's columns. A new one is
 * a file here, a line here and a member of Action.
 */
export const ACTIONS: readonly ActionKind[] = [
  txn,
  add,
  remove,
  metaData,
  protocol,
  domainMetadata,
  checkpointMetadata,
  sidecar,
  cdc,
  commitInfo,
]

/** One line of a commit or one row of a checkpoint: at most one of these is set. What else stands there is passed over. */
export interface Action {
  readonly add?: AddAction | null
  readonly remove?: RemoveAction | null
  readonly metaData?: MetadataAction | null
  readonly protocol?: ProtocolAction | null
  readonly txn?: TxnAction | null
  readonly domainMetadata?: DomainMetadataAction | null
  readonly cdc?: CdcAction | null
  readonly commitInfo?: CommitInfoAction | null
  readonly checkpointMetadata?: CheckpointMetadataAction | null
  readonly sidecar?: SidecarAction | null
}

const SHAPES = new Map(ACTIONS.map(({ name, shape }) => [name, shape]))

/** Refuses an action with a member of the wrong type: TableError `corrupt_log` that begins with `where`. */
export function checkAction(action: Action, where: () => string): void {
  for (const kind in action) {
    const value = action[kind as keyof Action]
    if (value === null || value === undefined) continue
    const complaint = SHAPES.get(kind)?.(value, kind)
    if (complaint !== undefined) throw new TableError('corrupt_log', `${where()}: ${complaint}`)
  }
}
