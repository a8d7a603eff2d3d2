import { LakeError } from '../core/errors.ts'

/**
 * not_a_table: there is no Delta log; exists: there is one already; unsupported_feature: the table needs something
 * posixlake lacks, named in the message; corrupt_log, missing_file: the log or a file that it names is damaged or gone;
 * conflict: another writer changed what this change rests on; constraint, append_only, bad_schema: the table does not
 * allow the change; no_such_version: the version was never written or has been cleaned up; undecided: a commit failed, and
 * whether it is in the log all the same cannot be known until the log can be read again.
 */
export type TableErrorCode =
  | 'not_a_table'
  | 'exists'
  | 'unsupported_feature'
  | 'corrupt_log'
  | 'missing_file'
  | 'conflict'
  | 'constraint'
  | 'append_only'
  | 'bad_schema'
  | 'bad_property'
  | 'no_such_version'
  | 'undecided'

export class TableError extends LakeError<TableErrorCode> {}
