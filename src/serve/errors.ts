import { LakeError } from '../core/errors.ts'

export type ServeErrorCode = 'already_served' | 'state_unusable' | 'address_in_use' | 'listen_failed'

/** A table that could not be served; the message says what to do. */
export class ServeError extends LakeError<ServeErrorCode> {}
