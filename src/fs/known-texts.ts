import { BoundedMap } from '../core/bounded-map.ts'
import { clientKey, type FileClient } from './ends-of-file.ts'

const CLIENTS_KEPT = 64
/** Texts that are remembered of one client. */
const TEXTS_KEPT = 16
/** A program that does not read a file again, as its client has it in its cache, has opened it so long before at most. */
const OPENED_MS = 5000

/** The image of a save under way. */
export interface ImageOfSave {
  /** The version of the table that it began with, and the size of its text in bytes. */
  readonly base: { readonly size: number; readonly snapshot: { readonly version: bigint } }
  /** The version that shows the image as it was, once there is one. */
  became: bigint | undefined
}

/** A text of which a client has had bytes, as it has read or written them; or of which it has only been told (attributes). */
interface KnownText<Lineage> {
  readonly lineage: Lineage
  readonly how: 'read' | 'wrote' | 'told'
  /** Of the table; undefined for what the image of a save was. */
  readonly version: bigint | undefined
  readonly save: ImageOfSave | undefined
  /** Up to where the client knew it to go, in bytes. */
  readonly size: number
  /** The moments (see `momentMs`) of the first and the last of these calls, and of the last attributes with this size. */
  readonly firstMs: number
  lastMs: number
  toldMs: number
}

/** A text that a client knew. */
export interface TextOfClient<Lineage> {
  readonly lineage: Lineage
  readonly version: bigint
  /** In bytes, from the start of that version's text; what stands behind it came later. */
  readonly size: number
}

/** The text that a program of a client had when it began its work, and the last that its client has had since. */
export interface TextAtStart<Lineage> {
  readonly first: TextOfClient<Lineage>
  readonly last: TextOfClient<Lineage>
  /** False: its client has read or written other texts since, so that it may know more. */
  readonly isSure: boolean
}

/**
 * The texts that clients have had of one view. The bytes in a client's cache come from its READs and its own WRITEs
 * alone; so rows that another one appended behind what it has read are rows that its programs have not seen.
 */
export class KnownTexts<Lineage> {
  readonly #clients = new BoundedMap<string, KnownText<Lineage>[]>(CLIENTS_KEPT)

  /** A client was sent bytes of a text, of a size: that of a version, or the image of a save. */
  read(client: FileClient, lineage: Lineage, of: bigint | ImageOfSave, size: number, nowMs: number): void {
    this.#note(clientKey(client), lineage, 'read', of, size, nowMs)
  }

  /** A client was sent attributes with the size of a text: where it is not the one that it knows, its cache is no longer good. */
  told(client: FileClient, lineage: Lineage, of: bigint | ImageOfSave, size: number, nowMs: number): void {
    const last = this.#clients.peek(clientKey(client))?.at(-1)
    if (last !== undefined && isText(last, lineage, of, size)) last.toldMs = nowMs
    else if (last !== undefined) this.#note(clientKey(client), lineage, 'told', of, size, nowMs)
  }

  /** A client has written a text: all of a version, or the image of a save that is shown otherwise. */
  wrote(client: string, lineage: Lineage, of: bigint | ImageOfSave, size: number, nowMs: number): void {
    this.#note(client, lineage, 'wrote', of, size, nowMs)
  }

  /**
   * Returns the text that a program of a client knew that has been at work since a moment: the first that the client
   * read since then; or, where it read nothing, the last that it had in its cache, if it has asked whether that is good.
   * Undefined if neither is known.
   */
  at(client: FileClient, sinceMs: number): TextAtStart<Lineage> | undefined {
    const known = this.#clients.get(clientKey(client)) ?? []
    const since = known.filter(({ how, lastMs }) => how !== 'told' && lastMs > sinceMs)
    const first = since.find(({ how }) => how === 'read') ?? inCache(known, sinceMs)
    if (first === undefined) return undefined
    const last = since.at(-1) ?? first
    const isSure = since.every(other => other === first) && isInTable(first)
    return { first: textOf(first), last: textOf(last), isSure }
  }

  #note(
    client: string,
    lineage: Lineage,
    how: KnownText<Lineage>['how'],
    of: bigint | ImageOfSave,
    size: number,
    nowMs: number,
  ): void {
    const texts = this.#clients.get(client) ?? []
    const last = texts.at(-1)
    if (last?.how === how && isText(last, lineage, of, size)) {
      last.lastMs = nowMs
      return
    }
    const [version, save] = typeof of === 'bigint' ? [of, undefined] : [undefined, of]
    texts.push({ lineage, how, version, save, size, firstMs: nowMs, lastMs: nowMs, toldMs: nowMs })
    if (texts.length > TEXTS_KEPT) texts.shift()
    this.#clients.set(client, texts)
  }
}

function isText<Lineage>(known: KnownText<Lineage>, lineage: Lineage, of: bigint | ImageOfSave, size: number): boolean {
  return known.lineage === lineage && (known.version ?? known.save) === of && known.size === size
}

/** Returns the text that a client had in its cache at a moment, and was told about then that it is still good. */
function inCache<Lineage>(known: readonly KnownText<Lineage>[], atMs: number): KnownText<Lineage> | undefined {
  const last = known.findLast(({ firstMs }) => firstMs <= atMs)
  if (last === undefined || last.how === 'told') return undefined
  return Math.max(last.lastMs, last.toldMs) > atMs - OPENED_MS ? last : undefined
}

/** True if a version shows the text as it was. */
function isInTable({ version, save }: KnownText<unknown>): boolean {
  return version !== undefined || save!.became !== undefined
}

/** Of the image of a save that is not in the table as it was, the version that it began with. */
function textOf<Lineage>({ lineage, version, save, size }: KnownText<Lineage>): TextOfClient<Lineage> {
  const of = version ?? save!.became
  if (of !== undefined) return { lineage, version: of, size }
  const { base } = save!
  return { lineage, version: base.snapshot.version, size: base.size }
}
