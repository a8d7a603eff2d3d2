import { BoundedMap } from '../core/bounded-map.ts'
import { clientKey, type EndOfFile, type FileClient } from './ends-of-file.ts'

const CLIENTS_KEPT = 64
/** Texts that are remembered of one client. */
const TEXTS_KEPT = 32
/** A program that does not read a file again, as its client has it in its cache, has opened it so long before at most. */
export const OPENED_MS = 5000
/** Of one client, so many of its calls are remembered, of those that took this long. */
const SLOW_CALLS_KEPT = 64
const SLOW_MS = 100

const NO_BYTES = new Uint8Array(0)

/** The image of a save under way. */
export interface ImageOfSave {
  /** The version of the table that it began with, and the size of its text in bytes. */
  readonly base: { readonly size: number; readonly version: bigint }
  /** The version that shows the image as it was, once there is one. */
  became: bigint | undefined
}

/** A text that a client was sent or has written: a version of the table, the image of a save, or a version and rows of its own. */
export type TextOf = bigint | ImageOfSave | EndOfFile

/** A text of which a client has had bytes, as it has read or written them; or of which it has only been told (attributes). */
interface KnownText<Lineage> {
  readonly lineage: Lineage
  how: 'read' | 'wrote' | 'told'
  readonly of: TextOf
  /** Up to where the client knew it to go, in bytes. */
  readonly size: number
  /** The moments (see `momentMs`) of the first and the last of these calls, and of the last attributes with this size. */
  readonly firstMs: number
  lastMs: number
  toldMs: number
}

/** A call that took long: its moments. */
interface SlowCall {
  readonly startMs: number
  readonly endMs: number
}

/** A text that a client knew. */
export interface TextOfClient<Lineage> {
  readonly lineage: Lineage
  readonly version: bigint
  /** In bytes, from the start of that version's text; what stands behind it came later. */
  readonly size: number
  /** Rows of its own that it had behind that; they are in the table since version `landed`. */
  readonly tail: Uint8Array
  readonly landed: bigint
}

/** The texts that a program of a client may have had when it began its work. */
export interface TextsAtStart<Lineage> {
  /** One, unless several programs were at work there at the same time: then the one that was opened last comes last. */
  readonly first: readonly TextOfClient<Lineage>[]
  /** Those that its client has read or written since, in their order. */
  readonly later: readonly TextOfClient<Lineage>[]
}

/**
 * The texts that clients have had of one view. The bytes in a client's cache come from its READs and its own WRITEs
 * alone; so rows that another one appended behind what it has read are rows that its programs have not seen. Under each
 * handle (lineage) a client knows one text at a time.
 */
export class KnownTexts<Lineage> {
  readonly #clients = new BoundedMap<string, KnownText<Lineage>[]>(CLIENTS_KEPT)
  readonly #slow = new BoundedMap<string, SlowCall[]>(CLIENTS_KEPT)
  readonly #togetherMs: number

  /** `togetherMs`: see HoldTimes. */
  constructor(togetherMs: number) {
    this.#togetherMs = togetherMs
  }

  /** A client was sent bytes of a text, of a size. */
  read(client: FileClient, lineage: Lineage, of: TextOf, size: number, nowMs: number): void {
    this.#note(clientKey(client), lineage, 'read', of, size, nowMs)
  }

  /** A client was sent attributes with the size of a text: where it is not the one that it knows, its cache is no longer good. */
  told(client: FileClient, lineage: Lineage, of: TextOf, size: number, nowMs: number): void {
    const last = this.#clients.peek(clientKey(client))?.findLast(known => known.lineage === lineage)
    if (last !== undefined && isText(last, of, size)) last.toldMs = nowMs
    else if (last !== undefined) this.#note(clientKey(client), lineage, 'told', of, size, nowMs)
  }

  /** A client has opened a text (LOOKUP), under a handle that may be new to it. */
  opened(client: FileClient, lineage: Lineage, of: TextOf, size: number, nowMs: number): void {
    const last = this.#clients.peek(clientKey(client))?.findLast(known => known.lineage === lineage)
    if (last !== undefined && isText(last, of, size)) last.toldMs = nowMs
    else this.#note(clientKey(client), lineage, 'told', of, size, nowMs)
  }

  /** A client has written a text: all of a version, or what is shown otherwise. */
  wrote(client: string, lineage: Lineage, of: TextOf, size: number, nowMs: number): void {
    this.#note(client, lineage, 'wrote', of, size, nowMs)
  }

  /** A call of a client has ended, which began at a moment. */
  called(client: FileClient, startMs: number, nowMs: number): void {
    if (nowMs - startMs < SLOW_MS) return
    const key = clientKey(client)
    this.#slow.set(key, [...(this.#slow.get(key) ?? []), { startMs, endMs: nowMs }].slice(-SLOW_CALLS_KEPT))
  }

  /**
   * The time (ms) between two moments in which no slow call of a client was under way. A program may be held back by those of others: the
   * kernel lets calls that make names wait for those that look names up in the same folder, and a slow store all of them.
   */
  idleMs(client: FileClient, fromMs: number, untilMs: number): number {
    let [atMs, idleMs] = [fromMs, 0]
    const calls = this.#slow.peek(clientKey(client)) ?? []
    for (const { startMs, endMs } of calls.toSorted((one, other) => one.startMs - other.startMs)) {
      if (startMs >= untilMs || endMs <= atMs) continue
      idleMs += Math.max(0, startMs - atMs)
      atMs = endMs
    }
    return idleMs + Math.max(0, untilMs - atMs)
  }

  /**
   * Returns what a program of a client knew that has been at work since a moment: what it had in its cache, if it has asked just
   * before whether that is good; else the first that the client read since then; else what it had in its cache if it has
   * asked not long before. Undefined if none is known.
   */
  at(client: FileClient, sinceMs: number): TextsAtStart<Lineage> | undefined {
    const known = this.#clients.get(clientKey(client)) ?? []
    const since = known.filter(({ how, firstMs }) => how !== 'told' && firstMs > sinceMs)
    const before = [...Map.groupBy(known, ({ lineage }) => lineage).values()]
      .flatMap(texts => texts.findLast(({ firstMs }) => firstMs <= sinceMs) ?? [])
      .toSorted((left, right) => askedMs(left) - askedMs(right))
      // Of what it opened and had not in its cache, it has had what came then; of a text without bytes, nothing comes.
      .map(opened => ({ opened, texts: hadOf(opened, since) }))
    const isTogether = (askedMs: number): boolean =>
      askedMs > sinceMs || this.idleMs(client, askedMs, sinceMs) < this.#togetherMs
    const together = before.filter(({ opened }) => isTogether(askedMs(opened)))
    const cached = before.slice(-1).filter(({ opened }) => askedMs(opened) > sinceMs - OPENED_MS)
    const [first] = [
      together.flatMap(({ texts }) => texts),
      since.slice(0, 1),
      cached.flatMap(({ texts }) => texts),
    ].filter(({ length }) => length > 0)
    if (first === undefined) return undefined
    return { first: first.map(textOf), later: since.filter(text => !first.includes(text)).map(textOf) }
  }

  #note(
    client: string,
    lineage: Lineage,
    how: KnownText<Lineage>['how'],
    of: TextOf,
    size: number,
    nowMs: number,
  ): void {
    const texts = this.#clients.get(client) ?? []
    const last = texts.findLast(known => known.lineage === lineage)
    if (last !== undefined && isText(last, of, size)) {
      if (last.how === 'told') last.how = how
      last.lastMs = nowMs
      return
    }
    texts.push({ lineage, how, of, size, firstMs: nowMs, lastMs: nowMs, toldMs: nowMs })
    if (texts.length > TEXTS_KEPT) texts.shift()
    this.#clients.set(client, texts)
  }
}

/** The text in front of an end, of which the version is known. */
export function textBefore(end: EndOfFile): TextOf {
  return end.tail.length === 0 ? end.version! : end
}

/** The texts that a program may have had of one that was opened, by what came since. */
function hadOf<Lineage>(opened: KnownText<Lineage>, since: readonly KnownText<Lineage>[]): KnownText<Lineage>[] {
  if (opened.how !== 'told' || opened.size === 0) return [opened]
  const came = since.find(({ lineage }) => lineage === opened.lineage)
  if (came === undefined) return []
  // What another program of the client wrote behind it may be there, or not.
  return came.how === 'wrote' ? [opened, came] : [came]
}

function askedMs({ lastMs, toldMs }: KnownText<unknown>): number {
  return Math.max(lastMs, toldMs)
}

function isText(known: KnownText<unknown>, of: TextOf, size: number): boolean {
  return known.size === size && known.of === of
}

/** Of the image of a save that is not in the table as it was, the version that it began with. */
function textOf<Lineage>({ lineage, of, size }: KnownText<Lineage>): TextOfClient<Lineage> {
  if (typeof of === 'bigint') return { lineage, version: of, size, tail: NO_BYTES, landed: of }
  if ('tail' in of) {
    const version = of.version ?? 0n
    return { lineage, version, size: of.size - of.tail.length, tail: of.tail, landed: of.landed ?? version }
  }
  const { base, became } = of
  if (became !== undefined) return { lineage, version: became, size, tail: NO_BYTES, landed: became }
  const { version } = base
  return { lineage, version, size: base.size, tail: NO_BYTES, landed: version }
}
