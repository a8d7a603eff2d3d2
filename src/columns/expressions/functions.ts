import type { Compiled } from './compiled.ts'

/** Functions by their names in lower case. ExpressionError `unsupported` for operands that they do not take here. */
export type Functions = Readonly<Record<string, (...args: Compiled[]) => Compiled>>
