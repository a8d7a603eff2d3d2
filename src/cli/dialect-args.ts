import type { Dialect } from '../columns/text/csv.ts'
import { UsageError } from './command.ts'

/** Flags that say how the CSV of an import is written. */
export const dialectArgs = {
  delimiter: {
    type: 'string',
    valueHint: 'TEXT',
    description: 'What stands between the fields of CSV; found if not given: comma, semicolon, tab or bar',
  },
  quote: {
    type: 'string',
    valueHint: 'CHARACTER',
    description: 'What stands around fields of CSV, or none (default: ")',
  },
  escape: {
    type: 'string',
    valueHint: 'CHARACTER',
    description: 'What stands before a quote within quotes, such as \\ (default: another quote)',
  },
  comment: {
    type: 'string',
    valueHint: 'TEXT',
    description: 'What lines of CSV begin with that are no rows, such as #',
  },
} as const

type DialectArgs = { readonly [K in keyof typeof dialectArgs]?: string | undefined }

const NO_QUOTES = 'none'

/** Returns the dialect that the flags describe. UsageError for characters that could not be told from other text. */
export function dialectOf(args: DialectArgs): Partial<Dialect> {
  const delimiter = args.delimiter === '\\t' || args.delimiter === 'tab' ? '\t' : args.delimiter
  const quote = args.quote === NO_QUOTES ? '' : args.quote
  const { escape: before, comment } = args
  if (delimiter !== undefined && !isBetweenFields(delimiter, quote))
    throw new UsageError(
      `--delimiter takes one character or several, such as ';', tab or '||', and no letters, digits or quotes, not ${JSON.stringify(args.delimiter)}`,
    )
  if (args.quote !== undefined && args.quote !== NO_QUOTES && !isMark(args.quote))
    throw new UsageError(`--quote takes one character, such as ', or ${NO_QUOTES}, not ${JSON.stringify(args.quote)}`)
  if (before !== undefined && (!isMark(before) || quote === ''))
    throw new UsageError(
      `--escape takes one character, such as \\, and goes with quotes, not ${JSON.stringify(before)}`,
    )
  if (comment !== undefined && !isInFrontOfLines(comment, [delimiter ?? ',', quote ?? '"']))
    throw new UsageError(`--comment takes what a line begins with, such as #, not ${JSON.stringify(comment)}`)
  const own = before ?? quote
  return {
    ...(delimiter === undefined ? {} : { delimiter }),
    ...(quote === undefined ? {} : { quote }),
    ...(own === undefined ? {} : { escape: own }),
    ...(comment === undefined ? {} : { comment }),
  }
}

/** Text without anything that values are made of, or lines. */
function isBetweenFields(text: string, quote = ''): boolean {
  return text !== '' && !/[\p{L}\p{N}_"]|(?!\t)\p{Cc}/u.test(text) && (quote === '' || !text.includes(quote))
}

/** Text that is no beginning of a row. */
function isInFrontOfLines(text: string, marks: readonly string[]): boolean {
  return /^[^\s\p{Cc}]+$/u.test(text) && !marks.some(mark => mark !== '' && text.startsWith(mark))
}

/** One character that is no letter, digit or blank. */
function isMark(text: string): boolean {
  return /^[!-/:-@[-^`{-~]$/.test(text)
}
