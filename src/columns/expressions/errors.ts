import { LakeError } from '../../core/errors.ts'

/** unsupported: the expression is none that is worked out here; no_value: it has no value for a row (an overflow, a division by 0). */
export type ExpressionErrorCode = 'unsupported' | 'no_value'

/** An expression of SQL that is not worked out. The message is the reason, to stand behind the expression's text. */
export class ExpressionError extends LakeError<ExpressionErrorCode> {}

/** An expression that might mean something else here than where it was written is not run. */
export function unsupported(what: string, options: { readonly cause?: unknown } = {}): ExpressionError {
  return new ExpressionError('unsupported', what, options)
}

/** The expression has no value for these operands. */
export function noValue(what: string): ExpressionError {
  return new ExpressionError('no_value', what)
}
