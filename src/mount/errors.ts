import { LakeError } from '../core/errors.ts'

export type MountErrorCode =
  | 'no_mount_point'
  | 'busy'
  | 'not_mounted'
  | 'needs_root'
  | 'no_nfs_client'
  | 'not_supported'
  | 'failed'
  | 'no_server'

/** A mount or unmount that did not come about; the message says what to run. */
export class MountError extends LakeError<MountErrorCode> {}
