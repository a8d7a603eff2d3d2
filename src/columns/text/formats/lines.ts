import type { RowCut } from './format.ts'

const LF = 0x0a

/** Rows that hold no newline but the one they end in. */
export const everyLine: RowCut = bytes => start => bytes.indexOf(LF, start) + 1
