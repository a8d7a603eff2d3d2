import { BoundedMap } from '../core/bounded-map.ts'
import { clientKey, type FileClient } from './ends-of-file.ts'
import type { Line } from './lines.ts'
import type { Edit } from './saves/edit.ts'

const CLIENTS_KEPT = 64
/** Texts that are remembered of one client. */
const TEXTS_KEPT = 16

/** A text of which a client has had bytes: it has read them, or written them. */
interface KnownText {
  readonly line: Line
  readonly how: 'read' | 'wrote'
  /** Of the table; undefined for what the image of a save was. */
  readonly version: bigint | undefined
  readonly edit: Edit | undefined
  /** Up to where the client knew it to go, in bytes. */
  size: number
  /** The moments (see `momentMs`) of the first and the last of these calls. */
  readonly firstMs: number
  lastMs: number
}

/** The text that a program of a client had when it began its work. */
export interface TextAtStart {
  readonly line: Line
  readonly version: bigint
  /** In bytes, from the start of that version's text; what stands behind it came later. */
  readonly size: number
  /** False: its client has read or written other texts since, so that it may know more. */
  readonly isSure: boolean
}

/**
 * What the clients of one view have had of it. The bytes in a client's cache come from its READs and its own WRITEs
 * alone; so rows that another one appended behind what it has read are rows that its programs have not seen.
 */
export class KnownTexts {
  readonly #clients = new BoundedMap<string, KnownText[]>(CLIENTS_KEPT)

  /** A client was sent bytes of a text, of a size: that of a version, or the image of a save. */
  read(client: FileClient, line: Line, of: bigint | Edit, size: number, nowMs: number): void {
    this.#note(clientKey(client), line, 'read', of, size, nowMs)
  }

  /** A client has written a text: all of a version, or the image of a save that is shown otherwise. */
  wrote(client: string, line: Line, of: bigint | Edit, size: number, nowMs: number): void {
    this.#note(client, line, 'wrote', of, size, nowMs)
  }

  /**
   * What a program of a client knew that has been at work since a moment: the first that the client read since then, or the
   * last that it knew before, where it read nothing (it had it in its cache). Undefined if that is not known.
   */
  at(client: FileClient, sinceMs: number): TextAtStart | undefined {
    const known = this.#clients.get(clientKey(client)) ?? []
    const since = known.filter(({ lastMs }) => lastMs > sinceMs)
    const first = since.find(({ how }) => how === 'read') ?? known.findLast(({ firstMs }) => firstMs <= sinceMs)
    if (first === undefined) return undefined
    const isAlone = since.every(other => other === first)
    const { line, version, edit, size } = first
    if (version !== undefined) return { line, version, size, isSure: isAlone }
    const { base, became } = edit!
    if (became === undefined) return { line, version: base.snapshot.version, size: base.size, isSure: false }
    return { line, version: became, size, isSure: isAlone }
  }

  #note(client: string, line: Line, how: 'read' | 'wrote', of: bigint | Edit, size: number, nowMs: number): void {
    const texts = this.#clients.get(client) ?? []
    const [version, edit] = typeof of === 'bigint' ? [of, undefined] : [undefined, of]
    const last = texts.at(-1)
    if (
      last?.line === line &&
      last.how === how &&
      last.version === version &&
      last.edit === edit &&
      last.size === size
    ) {
      last.lastMs = nowMs
      return
    }
    texts.push({ line, how, version, edit, size, firstMs: nowMs, lastMs: nowMs })
    if (texts.length > TEXTS_KEPT) texts.shift()
    this.#clients.set(client, texts)
  }
}
