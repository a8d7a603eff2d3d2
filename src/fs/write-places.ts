import { behindUnread, type EndOfFile, type FileClient, isEndOf } from './ends-of-file.ts'
import { isContinuation, type Lineage, textVersion } from './lineage.ts'
import type { TableText } from './text/layout.ts'
import { isAt } from './text/text.ts'

/** Clients write whole pages: so a change of the middle ends where a page does. */
const PAGE_BYTES = 4096
/** Earlier versions that are looked through for the end of one whose connection was told nothing. */
const VERSIONS_TRIED = 16

/**
 * The place of a WRITE. behind: what it has beyond `end` is appended; all in front is what its client knows there.
 * here: at its offset, in the text as it is; `isAppend`: up to its end, its client has what stands there. on: it changes an earlier
 * text, the last that its client knows of.
 */
export type WritePlace =
  | { readonly kind: 'behind'; readonly end: EndOfFile }
  | { readonly kind: 'here'; readonly isAppend: boolean }
  | { readonly kind: 'on'; readonly text: TableText }

/** The texts of lineages, of the version that they are at and of others. */
interface Texts {
  text(lineage: Lineage): Promise<TableText>
  /** Undefined if the table no longer has the version. */
  textAt(lineage: Lineage, version: bigint): Promise<TableText | undefined>
}

/** Finds the places of WRITEs by the texts that their clients know. */
export class WritePlaces {
  readonly #lineages: Texts

  constructor(lineages: Texts) {
    this.#lineages = lineages
  }

  /** Returns the place of a WRITE of a client that comes while no save is under way. */
  async placeOf(lineage: Lineage, client: FileClient, offset: number, bytes: Uint8Array): Promise<WritePlace> {
    const text = await this.#lineages.text(lineage)
    const { version } = text
    const ends = lineage.ends.of(client)
    const last = ends.at(-1)
    if (last === undefined) return this.#placeOfUnknown(lineage, text, offset, bytes)
    const at = (end: EndOfFile): WritePlace =>
      isEndOf(end, version) ? { kind: 'here', isAppend: true } : { kind: 'behind', end }
    const exact = ends.findLast(({ size }) => size === offset)
    if (exact !== undefined) return at(exact)
    // It knows the text by another way than a READ: bytes of others, and more behind them, are no coincidence.
    if (offset + bytes.length > text.size && isEndOf(last, version) && (await isStillAt(text, offset, bytes)))
      return at(last)
    for (const end of ends) {
      if (offset >= end.size || !(await this.#hasInFront(lineage, end, offset, bytes))) continue
      const told = behindUnread(end, bytes.subarray(end.size - offset))
      return told === undefined ? at(end) : { kind: 'behind', end: told }
    }
    if (isEndOf(last, version)) return { kind: 'here', isAppend: false }
    // Pages of one flush come in any order.
    if (offset > last.size) return at(last)
    const known = last.version === undefined ? undefined : await this.#lineages.textAt(lineage, last.version)
    return known === undefined ? { kind: 'here', isAppend: false } : { kind: 'on', text: known }
  }

  /**
   * Its connection was told nothing yet: its client has connected anew, or the server was started anew. What others were
   * told, it may have been told; and each of the last versions.
   */
  async #placeOfUnknown(lineage: Lineage, text: TableText, offset: number, bytes: Uint8Array): Promise<WritePlace> {
    const here = { kind: 'here', isAppend: false } as const
    const stop = offset + bytes.length
    if (await isStillAt(text, offset, bytes)) return here
    if (stop === text.size || (stop < text.size && stop % PAGE_BYTES === 0)) return here
    const fits = async (end: EndOfFile): Promise<boolean> =>
      end.size >= offset &&
      end.size < stop &&
      bytes[end.size - offset] !== 0 &&
      !isEndOf(end, text.version) &&
      (await this.#hasInFront(lineage, end, offset, bytes))
    for (const end of lineage.ends.all()) if (await fits(end)) return { kind: 'behind', end }
    let { version } = text
    for (let i = 0; i < VERSIONS_TRIED && version > 0n; i++) {
      version--
      const earlier = await this.#lineages.textAt(lineage, version)
      if (earlier === undefined || !isContinuation(earlier, text)) break
      const end = { size: earlier.size, version, tail: new Uint8Array(0) }
      if (await fits(end)) return { kind: 'behind', end }
    }
    return here
  }

  /** True if a WRITE has, up to an end, what stands in front of that. */
  async #hasInFront(lineage: Lineage, end: EndOfFile, offset: number, bytes: Uint8Array): Promise<boolean> {
    const front = bytes.subarray(0, end.size - offset)
    const tailStart = end.size - end.tail.length
    const own = Math.max(0, tailStart - offset)
    const tail = end.tail.subarray(Math.max(0, offset - tailStart), Math.max(0, offset + front.length - tailStart))
    if (Buffer.compare(front.subarray(own), tail) !== 0) return false
    const before = front.subarray(0, own)
    // Rows in front of an end mostly stay where they are.
    if (before.length === 0 || (await isAt(await this.#lineages.text(lineage), offset, before))) return true
    if (end.version === undefined || end.version === textVersion(lineage)) return false
    const text = await this.#lineages.textAt(lineage, end.version)
    return text !== undefined && isAt(text, offset, before)
  }
}

/** True if bytes are what a text has at an offset, as far as it goes. */
function isStillAt(text: TableText, offset: number, bytes: Uint8Array): Promise<boolean> {
  return isAt(text, offset, bytes.subarray(0, Math.max(0, text.size - offset)))
}
