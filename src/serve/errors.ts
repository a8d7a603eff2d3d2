import { LakeError } from '../core/errors.ts'

const SERVE_ERROR_CODES = [
  'already_served',
  'state_unusable',
  'address_in_use',
  'listen_failed',
  'bad_registry',
  /** A mount point that another command is at work on. */
  'busy',
  /** The server is on its way out: a new one can be started when it is gone. */
  'stopping',
  'not_answering',
  'not_running',
  'failed',
] as const

export type ServeErrorCode = (typeof SERVE_ERROR_CODES)[number]

/** A table that could not be served, or a server that could not do what it was asked; the message says what to do. */
export class ServeError extends LakeError<ServeErrorCode> {}

/** An error that came from another process: of a code that is not known, it is a failure. */
export function serveError(code: unknown, message: string): ServeError {
  return new ServeError(SERVE_ERROR_CODES.find(known => known === code) ?? 'failed', message)
}
