import { TextError } from '../../columns/errors.ts'
import { LakeError, messageOf } from '../../core/errors.ts'
import { FsError, type FsErrorCode } from '../filesystem.ts'

/** Tells what goes wrong with the saves of one view: to their programs as FsErrors, and in `.errors`, once each. */
export class Reporter {
  readonly #view: string
  readonly #report: (sentence: string) => void
  /** Refusals whose sentences are in `.errors`. */
  readonly #told = new WeakSet<FsError>()
  #saidLast = ''

  /** `report`: takes the sentence for `.errors`. */
  constructor(view: string, report: (sentence: string) => void) {
    this.#view = view
    this.#report = report
  }

  /** A sentence that begins with the view's name. */
  say(sentence: string): void {
    this.#report(`${this.#view}: ${sentence}`)
  }

  /** A sentence that stands by itself. */
  sayAlone(sentence: string): void {
    this.#report(sentence)
  }

  /** Turns a refusal into the FsError that the program gets, and the sentence in `.errors`. */
  refusal(error: unknown): FsError {
    if (error instanceof FsError && this.#told.has(error)) return error
    this.say(messageOf(error))
    const refusal = error instanceof FsError ? error : new FsError(codeOf(error), messageOf(error), { cause: error })
    this.#told.add(refusal)
    return refusal
  }

  /** Does something whose failure is a refusal. */
  async refusing<T>(run: () => T | Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (error) {
      throw this.refusal(error)
    }
  }

  /** FsError EJUKEBOX: whether a commit is in the log cannot be known now, and the client is to ask again. */
  askAgain(error: unknown): FsError {
    const sentence = `${this.#view}: ${messageOf(error)}; the program waits until that is known`
    // Said once, not each time that the client asks.
    if (sentence !== this.#saidLast) this.#report(sentence)
    this.#saidLast = sentence
    return new FsError('EJUKEBOX', sentence, { cause: error })
  }
}

/** The POSIX error that a program gets for what went wrong. */
function codeOf(error: unknown): FsErrorCode {
  const code = error instanceof LakeError ? error.code : ''
  if (code === 'no_space') return 'ENOSPC'
  if (code === 'access_denied' || code === 'read_only') return 'EACCES'
  if (code === 'append_only') return 'EPERM'
  if (error instanceof TextError || code === 'constraint' || code === 'bad_schema') return 'EINVAL'
  return 'EIO'
}
