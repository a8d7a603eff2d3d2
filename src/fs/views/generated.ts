import { laterTime, MODE, type Owner, viewAttributes } from '../attributes.ts'
import { type Attributes, type Change, FsError } from '../filesystem.ts'
import { bytesText } from '../text/text.ts'
import { type ReadResult, readText, type ViewFile } from './view.ts'

export interface GeneratedViewOptions {
  readonly name: string
  readonly id: bigint
  readonly owner: Owner
  /** Nanoseconds since the epoch. */
  readonly now: () => bigint
  readonly produce: () => Promise<Uint8Array>
  /** Truncating the file to nothing does this; without it the view is read-only. */
  readonly clear?: () => void
}

/**
 * A small view whose bytes are produced as a whole (`schema.sql`, `.stats`, `.errors`). GETATTR produces them, READ
 * gives what the last GETATTR measured, so that a size and the bytes behind it always belong together.
 */
export class GeneratedView implements ViewFile {
  readonly id: bigint
  readonly name: string
  readonly writable: boolean
  readonly #options: GeneratedViewOptions
  #bytes: Uint8Array | undefined
  #mtime = 0n

  constructor(options: GeneratedViewOptions) {
    this.id = options.id
    this.name = options.name
    this.writable = options.clear !== undefined
    this.#options = options
  }

  /** Produces the bytes anew. */
  async attributes(): Promise<Attributes> {
    const { id, owner, now, produce } = this.#options
    const bytes = await produce()
    if (this.#bytes === undefined || Buffer.compare(bytes, this.#bytes) !== 0) {
      this.#mtime = laterTime(now(), this.#mtime)
      this.#bytes = bytes
    }
    const mode = this.writable ? MODE.file : MODE.readOnly
    return viewAttributes(owner, { id, size: bytes.length, mtime: this.#mtime, mode })
  }

  async read(offset: bigint, count: number): Promise<ReadResult> {
    if (this.#bytes === undefined) await this.attributes()
    return readText(bytesText(this.#bytes!), offset, count)
  }

  async truncate(size: number, before: Attributes): Promise<Change> {
    const { clear } = this.#options
    if (size !== 0 || clear === undefined)
      throw new FsError('EACCES', `${this.name}: it can be emptied, and not written`)
    clear()
    return { before, after: await this.attributes() }
  }
}
