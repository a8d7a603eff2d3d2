import { createHash, timingSafeEqual } from 'node:crypto'
import { type Export, exportOf } from '../fs/filesystem.ts'
import { type AllowedUids, mayCall } from './access.ts'
import type { Credential } from './rpc/message.ts'

const SECRET_BYTES_MIN = 16
const PATH_DIGITS = 32

export interface ExportsOptions {
  /** At least 16 bytes; one per database, the same after a restart. */
  readonly secret: Uint8Array
  /** The users besides root who are let in through every export. */
  readonly uids: ReadonlySet<number>
  /** The export that "/" and "/<name>" lead to, where they are offered. */
  readonly plain: Export
  readonly name?: string
}

/**
 * The exports of one tree (RFC 1813, appendix I). Each is reached by a path that follows from a secret, so that it cannot
 * be guessed and is the same after a restart; the plain one has names that everybody knows, too.
 */
export class Exports {
  readonly name: string
  readonly #options: ExportsOptions
  readonly #open = new Map<string, Export>()

  constructor(options: ExportsOptions) {
    if (options.secret.length < SECRET_BYTES_MIN) {
      throw new RangeError(`The secret of exports has at least ${SECRET_BYTES_MIN} bytes.`)
    }
    this.#options = options
    this.name = options.name ?? 'posixlake'
    this.open(options.plain)
  }

  /** Lets clients in through an export from now on; the result is its path, with the leading slash. */
  open(through: Export): string {
    this.#open.set(keyOf(through), exportOf(through))
    return this.pathOf(through)
  }

  /** Lets nobody in through an export any more: its handles are stale. The plain one stays. */
  close(through: Export): void {
    if (keyOf(through) !== keyOf(this.#options.plain)) this.#open.delete(keyOf(through))
  }

  isOpen(through: Export): boolean {
    return this.#open.has(keyOf(through))
  }

  /** The path of an export, open or not. */
  pathOf(through: Export): string {
    const hash = createHash('sha256').update(keyOf(through)).update(this.#options.secret)
    return `/${hash.digest('hex').slice(0, PATH_DIGITS)}`
  }

  /** The open export of a name without slashes. `plainNames`: whether those that everybody knows count. */
  find(name: string, plainNames: boolean): Export | undefined {
    if (plainNames && (name === '' || name === this.name)) return this.#options.plain
    let found: Export | undefined
    for (const through of this.#open.values()) if (sameText(`/${name}`, this.pathOf(through))) found = through
    return found
  }

  /** The users who may connect: those who may use one export at least. */
  get allowedUids(): AllowedUids {
    const others = [...this.#open.values()].some(through => through.others)
    return others ? 'any' : this.#options.uids
  }

  /** True if a call may be made through an export. */
  admits(through: Export, credential: Credential): boolean {
    return mayCall(through.others ? 'any' : this.#options.uids, credential)
  }
}

/** The key that an export's path is made from. Of a writable export for root and the owner it is what it always was. */
function keyOf({ frozen, readOnly, others }: Export): string {
  return ['export', frozen ? '' : '-plain', readOnly ? '-read-only' : '', others ? '-others' : ''].join('')
}

/** Compares without telling by the time taken how much of a guess was right. */
function sameText(left: string, right: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(left), digest(right))
}
