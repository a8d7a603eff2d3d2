import { messageOf } from '../core/errors.ts'
import { EXIT } from './command.ts'

/** Writes to standard output at the reader's pace. */
export async function print(data: string | Uint8Array): Promise<void> {
  if (data.length === 0) return
  await new Promise<void>((resolve, reject) => {
    process.stdout.write(data, error => {
      if (error === null || error === undefined) return resolve()
      // A reader that went away has seen enough.
      if ((error as NodeJS.ErrnoException).code === 'EPIPE') process.exit(EXIT.done)
      reject(error)
    })
  })
}

/** Says something that is no result. */
export function note(sentence: string): void {
  process.stderr.write(`${sentence}\n`)
}

/** A sentence for a log, with its time. */
export function logLine(sentence: string): void {
  process.stderr.write(`${new Date().toISOString()} ${messageOf(sentence)}\n`)
}
