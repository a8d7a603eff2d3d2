import { write } from 'node:fs'
import { errnoOf, LakeError, messageOf } from '../core/errors.ts'
import { logLine } from '../serve/log.ts'
import { EXIT } from './exit.ts'

/** Standard output takes no more. */
class OutputError extends LakeError<'no_space' | 'io'> {}

const STDOUT = 1
const RETRY_MS = 1

/** Writes to standard output at the reader's pace. Ends the process quietly if the reader has gone away: it has seen enough. */
export async function print(data: string | Uint8Array): Promise<void> {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data
  for (let done = 0; done < bytes.length; ) {
    try {
      // Not by this thread, which would wait in the system where no signal and no timer reaches it.
      done += await writeSome(bytes, done)
    } catch (error) {
      const code = errnoOf(error)
      if (code === 'EPIPE') process.exit(EXIT.done)
      if (code === 'ENOSPC') throw new OutputError('no_space', 'the output could not be written: the disk is full')
      if (code !== 'EAGAIN')
        throw new OutputError('io', `the output could not be written: ${messageOf(error)}`, { cause: error })
      await Bun.sleep(RETRY_MS)
    }
  }
}

function writeSome(bytes: Uint8Array, start: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(STDOUT, bytes, start, bytes.length - start, null, (error, count) => (error ? reject(error) : resolve(count)))
  })
}

/** Says something that is no result. */
export function note(sentence: string): void {
  process.stderr.write(`${sentence}\n`)
}

/** Takes sentences for a log that the user looks at. */
export function logToTerminal(sentence: string): void {
  process.stderr.write(logLine(sentence))
}
