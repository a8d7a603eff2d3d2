import type { TextFormatName } from '../columns/text/formats/index.ts'
import { SQL_ERROR_CODES, SqlError, type SqlErrorCode } from './errors.ts'

/*
 * Between a server and a process that runs statements for it: JSON, one message a line, requests on the process's standard
 * input and answers on its standard output. One request at a time; its answers are `begun`, notes, and one of the others. The end
 * of the input is the end of the server: the statement under way is given up, and the process ends.
 */

/** A statement to be run. All paths are absolute. */
export interface StatementRequest {
  readonly sql: string
  readonly format: TextFormatName
  /** The file for a result; it must not be there. */
  readonly resultPath: string
  readonly resultBytes: number
  readonly memoryBytes: number
  readonly spillFolder: string
  /** Of a statement that may change the table, and what is kept of it; without it changes are refused. */
  readonly change: { readonly txnId: string; readonly recordPath: string } | undefined
}

export type StatementAnswer =
  /** The statement has arrived, so that what becomes of the process from now on has to do with it. */
  | { readonly kind: 'begun' }
  /** Something that whoever serves the table should know; a sentence for the log. */
  | { readonly kind: 'note'; readonly sentence: string }
  /** The result is in its file. */
  | { readonly kind: 'rows'; readonly sizeBytes: number }
  | Changed
  /** `isSound`: the process can be given further statements. */
  | { readonly kind: 'failed'; readonly code: SqlErrorCode; readonly message: string; readonly isSound: boolean }

/** The changes of a statement; `version` is undefined if there was nothing to be changed. */
export interface Changed {
  readonly kind: 'changed'
  readonly version: string | undefined
  readonly inserted: number
  readonly updated: number
  readonly deleted: number
}

/** SQL of a megabyte, each of its characters escaped. */
const LINE_BYTES_MAX = 16 << 20

export function encodeMessage(message: StatementRequest | StatementAnswer): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(message)}\n`)
}

export function decodeRequest(line: string): StatementRequest {
  return JSON.parse(line) as StatementRequest
}

export function decodeAnswer(line: string): StatementAnswer {
  const answer = JSON.parse(line) as StatementAnswer
  if (answer.kind === 'failed' && !SQL_ERROR_CODES.includes(answer.code)) return { ...answer, code: 'failed' }
  return answer
}

/** The lines of a stream, without their ends. Throws if one is longer than any message is. */
export async function* linesOf(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    rest += decoder.decode(chunk, { stream: true })
    for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
      yield rest.slice(0, end)
      rest = rest.slice(end + 1)
    }
    if (rest.length > LINE_BYTES_MAX)
      throw new SqlError('failed', 'a message between the server and its SQL process has no end')
  }
}
