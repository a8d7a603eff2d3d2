import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import { appendFile, mkdir, open, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Changed } from './protocol.ts'
import type { WrittenFile } from './written.ts'

/*
 * The record of a statement that changes the table, in a file of its own beside the state, one JSON object a line: what it
 * is, each file before it is made, what came of it. So whoever finds it after the statement's process, or the server, was
 * killed can tell whether it is in the table, take back what came to nothing, and knows it if it comes once more.
 */

/** A statement before it runs. */
export interface StatementHeader {
  /** Becomes the `txnId` of its commit. */
  readonly txnId: string
  readonly sql: string
  /** Its commit is of a later version than this one. */
  readonly base: string
  /** A name that tells the call that it came with from all others, and stays the same when that is repeated. */
  readonly call: string | undefined
  readonly process: ProcessId
  readonly begunMs: number
}

/** A process, told from a later one of the same number. */
export interface ProcessId {
  readonly pid: number
  /** Field 22 of proc_pid_stat(5); undefined where there is no /proc. */
  readonly startTicks: string | undefined
}

/** A statement as its file tells it. */
export interface StatementRecord {
  readonly path: string
  readonly header: StatementHeader
  readonly written: readonly WrittenFile[]
  /** Undefined: it was cut off. */
  readonly answer: RecordedAnswer | undefined
}

export interface RecordedAnswer {
  /** Undefined: it failed, and is not in the table. */
  readonly changed: Changed | undefined
  readonly answeredMs: number
}

interface Line {
  readonly header?: StatementHeader
  readonly written?: WrittenFile
  readonly answer?: RecordedAnswer
}

const ENDING = '.statement'

function lineOf(line: Line): string {
  return `${JSON.stringify(line)}\n`
}

/** Writes down what is about to run; durable when it resolves. Rejects with the error of the system call. */
export async function beginRecord(folder: string, header: StatementHeader): Promise<string> {
  const path = join(folder, `${header.txnId}${ENDING}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const file = await open(path, 'wx', 0o600)
  try {
    await file.write(lineOf({ header }))
    await file.datasync()
  } finally {
    await file.close()
  }
  const parent = await open(dirname(path), 'r')
  try {
    await parent.sync()
  } finally {
    await parent.close()
  }
  return path
}

/** Notes a file before it is made. */
export function noteWritten(path: string, written: WrittenFile): void {
  const fd = openSync(path, 'a')
  try {
    writeSync(fd, lineOf({ written }))
  } finally {
    closeSync(fd)
  }
}

export async function noteAnswer(path: string, answer: RecordedAnswer): Promise<void> {
  await appendFile(path, lineOf({ answer }))
}

export async function removeRecord(path: string): Promise<void> {
  await rm(path, { force: true })
}

/** All statements that something is kept of, oldest first. */
export async function readRecords(folder: string): Promise<StatementRecord[]> {
  const names = await readdir(folder).catch(() => [])
  const records = names
    .filter(name => name.endsWith(ENDING))
    .map(name => readRecord(join(folder, name)))
    .filter(record => record !== undefined)
  return records.sort((a, b) => a.header.begunMs - b.header.begunMs)
}

/** Undefined where not even the header is whole: then its statement never ran. */
export function readRecord(path: string): StatementRecord | undefined {
  let header: StatementHeader | undefined
  let answer: RecordedAnswer | undefined
  const written: WrittenFile[] = []
  // What stands behind the last newline was cut off while it was written, and so was what it was to announce.
  for (const text of readFileSync(path, 'utf8').split('\n').slice(0, -1)) {
    const line = parseLine(text)
    header ??= line.header
    answer ??= line.answer
    if (line.written !== undefined) written.push(line.written)
  }
  return header && { path, header, written, answer }
}

/** A line that a crash of the machine damaged says nothing. */
function parseLine(text: string): Line {
  try {
    return JSON.parse(text) as Line
  } catch {
    return {}
  }
}
