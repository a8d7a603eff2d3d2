import { laterTime, MODE, type Owner, viewAttributes } from '../attributes.ts'
import { type Attributes, type Change, FsError, type ReadResult } from '../filesystem.ts'
import { bytesText } from '../text/text.ts'
import type { FileNode } from '../tree/node.ts'
import { listedAttributes, type ViewContext, type ViewDefinition } from './context.ts'
import { named, readText } from './view.ts'

export interface Produced {
  readonly produce: () => Promise<Uint8Array>
  /** Truncating the file to nothing does this; without it the view is read-only. */
  readonly clear?: () => void
}

export interface GeneratedViewOptions extends Produced {
  readonly name: string
  readonly id: bigint
  readonly owner: Owner
  /** Nanoseconds since the epoch. */
  readonly now: () => bigint
}

/** The view of bytes that are produced as a whole; its cookie is its id, too. */
export function generated(make: (context: ViewContext) => Produced): ViewDefinition['node'] {
  return (context, entry) => {
    const { owner, now } = context
    const view = new GeneratedView({ name: entry.name, id: entry.cookie, owner, now, ...make(context) })
    return named(entry, {
      kind: 'file',
      find: ({ id }) => (id === view.id ? view : undefined),
      open: () => view,
      entry: async folder => ({ id: view.id, attributes: await listedAttributes(context, view, folder) }),
    })
  }
}

/** Bytes and the attributes that tell of them. Replaced as a whole, so that they always belong together. */
interface Shown {
  readonly bytes: Uint8Array
  readonly attributes: Attributes
}

/**
 * A small view whose bytes are produced as a whole (`schema.sql`, `.stats`, `.errors`). GETATTR produces them, READ
 * gives what the last GETATTR measured, and says so: a size and the bytes behind it always belong together.
 */
export class GeneratedView implements FileNode {
  readonly kind = 'file'
  readonly isReported = true
  readonly id: bigint
  readonly name: string
  readonly writable: boolean
  readonly #options: GeneratedViewOptions
  #shown: Shown | undefined
  #looks = 0
  /** The look that found what is shown. */
  #shownBy = 0

  constructor(options: GeneratedViewOptions) {
    this.id = options.id
    this.name = options.name
    this.writable = options.clear !== undefined
    this.#options = options
  }

  /** Produces the bytes anew. */
  async attributes(): Promise<Attributes> {
    return (await this.#look()).attributes
  }

  async read(offset: bigint, count: number): Promise<ReadResult> {
    const { bytes, attributes } = this.#shown ?? (await this.#look())
    return { ...(await readText(bytesText(bytes), offset, count)), attributes }
  }

  async #look(): Promise<Shown> {
    const look = ++this.#looks
    const bytes = await this.#options.produce()
    // One that began later may have ended first: then this one has older bytes.
    if (this.#shown !== undefined && look < this.#shownBy) return this.#shown
    this.#shownBy = look
    if (this.#shown !== undefined && Buffer.compare(bytes, this.#shown.bytes) === 0) return this.#shown
    this.#shown = { bytes, attributes: this.#attributesOf(bytes) }
    return this.#shown
  }

  #attributesOf({ length: size }: Uint8Array): Attributes {
    const { id, owner, now } = this.#options
    const mtime = laterTime(now(), this.#shown?.attributes.mtime ?? 0n)
    return viewAttributes(owner, { id, size, mtime, mode: this.writable ? MODE.file : MODE.readOnly })
  }

  async truncate(size: bigint, before: Attributes): Promise<Change> {
    const { clear } = this.#options
    if (size !== 0n || clear === undefined)
      throw new FsError('EACCES', `${this.name}: it can be emptied, and not written`)
    clear()
    return { before, after: await this.attributes() }
  }
}
