import { constants } from 'node:os'
import { LakeError } from '../core/errors.ts'
import { EXIT } from './exit.ts'

/** The user, or the system, ended the command. */
export class Interrupted extends LakeError<'interrupted'> {
  readonly signal: NodeJS.Signals

  constructor(signal: NodeJS.Signals) {
    super('interrupted', `ended by ${signal}`)
    this.signal = signal
  }
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

/**
 * Runs work that would leave something behind if it ended in the middle: at a signal it is told to stop, and what it made
 * is taken back first. Rejects with Interrupted then; a second signal ends the process as it stands.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const interrupt = (signal: NodeJS.Signals): void => {
    for (const known of SIGNALS) process.off(known, interrupt)
    controller.abort(new Interrupted(signal))
  }
  for (const signal of SIGNALS) process.on(signal, interrupt)
  try {
    return await work(controller.signal)
  } catch (error) {
    // What the work failed with is only how it noticed.
    throw controller.signal.aborted ? controller.signal.reason : error
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupt)
  }
}

/** Ends the process by the signal that it was sent, so that a shell's loop ends, too. Gives the exit status if that fails. */
export function endedBy({ signal }: Interrupted): number {
  process.kill(process.pid, signal)
  return 128 + constants.signals[signal]
}

/** A signal that tells to end, while a mount is being made that must not be left half made. A second one ends at once. */
export class Interruption {
  readonly come: Promise<void>
  hasCome = false
  readonly #note: () => void

  constructor() {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.come = promise
    this.#note = () => {
      if (this.hasCome) process.exit(EXIT.failed)
      this.hasCome = true
      resolve()
    }
    for (const signal of SIGNALS) process.on(signal, this.#note)
  }

  forget(): void {
    for (const signal of SIGNALS) process.off(signal, this.#note)
  }
}
