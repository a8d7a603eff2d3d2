import { BoundedMap } from '../core/bounded-map.ts'
import type { Clock } from '../core/clock.ts'
import type { Brought } from './brought.ts'
import type { Caller, Export, Node } from './filesystem.ts'
import type { Text } from './text/text.ts'

/** Sizes that one client was told of one file, and may still write behind. */
const ENDS_KEPT = 16
/** Clients of one file whose ends are remembered. */
const CLIENTS_KEPT = 64
/** Of the bytes that a client wrote and that stand elsewhere by now, so many are remembered. */
export const TAIL_BYTES_MAX = 1 << 20

const NO_BYTES = new Uint8Array(0)

/**
 * The caller of a file, and the export that it came through: attributes of another export are another file to a client.
 * `key`: its `clientKey`, where that was worked out before.
 */
export type FileClient = Caller & Partial<Export> & { readonly key?: string }

/** Returns the caller who reaches a file, and the export. */
export function fileClientOf({ caller, frozen, others }: Node): FileClient {
  return { ...caller, frozen, others, key: clientKey({ ...caller, frozen, others }) }
}

/** The end of a file as a client knows it (POSIX, O_APPEND), and the text that it is the end of. */
export interface EndOfFile {
  /** In bytes. */
  readonly size: number
  /** The table version whose text stands in front of `tail`; undefined for the image of a save that was under way. */
  readonly version: bigint | undefined
  /** The last of the bytes in front of the end, which the client wrote there itself and which the version has not. */
  readonly tail: Uint8Array
  /** The table version that has the rows of `tail`, elsewhere. */
  readonly landed?: bigint | undefined
}

export function endOf(
  size: number,
  version: bigint | undefined,
  tail: Uint8Array = NO_BYTES,
  landed: bigint | undefined = version,
): EndOfFile {
  return { size, version, tail: tail.length > TAIL_BYTES_MAX ? tail.slice(-TAIL_BYTES_MAX) : tail, landed }
}

/** The end of what a client wrote, where no version has just that text. */
export async function endOfImage(image: Text): Promise<EndOfFile> {
  const tail = await image.read(Math.max(0, image.size - TAIL_BYTES_MAX), image.size)
  return endOf(image.size, undefined, tail.slice())
}

/**
 * The end that a client was told of since it had its bytes up to another one, if what it writes behind that begins with
 * NULs. While a file is open for writing, the Linux client takes over a new size, but does not read the pages anew that it
 * has cached: NULs stand there for what others have appended. It appends behind them, and sends the whole page.
 */
export function behindUnread({ size, version, tail }: EndOfFile, behind: Uint8Array): EndOfFile | undefined {
  const unread = behind.findIndex(byte => byte !== 0)
  if (unread <= 0) return undefined
  const longer = new Uint8Array(tail.length + unread)
  longer.set(tail)
  return endOf(size + unread, version, longer)
}

function isSame(left: EndOfFile, right: EndOfFile): boolean {
  return left.size === right.size && left.version === right.version && left.tail.length === right.tail.length
}

/** True if an end is that of a version's text, as the table has it. */
export function isEndOf({ version, tail }: EndOfFile, of: bigint): boolean {
  return version === of && tail.length === 0
}

/**
 * Tells clients apart. A kernel's client has one connection, which it makes anew from the same port, and a page cache for each
 * export that it mounts. One that connects from another port, or has several connections (`nconnect`), is known by what the
 * others of the file were told.
 */
export function clientKey({
  connection,
  peer,
  frozen,
  others,
  key,
}: Pick<FileClient, 'connection' | 'peer' | keyof Export | 'key'>): string {
  return key ?? `${peer ?? connection}${frozen === true ? ' frozen' : ''}${others === true ? ' others' : ''}`
}

/** The facts that are kept of a client of a file. */
export interface KnownEnds {
  /** The oldest first. */
  readonly ends: EndOfFile[]
  /** Until when (ms since the epoch) nothing but its own WRITEs moves what the client is shown; 0: it is never pinned. */
  pinnedUntilMs: number
  /** Rows that it wrote elsewhere, of which its WRITEs here may still be on their way. */
  brought?: Brought | undefined
}

export interface EndsOfFileOptions {
  readonly pinnedMs: number
  readonly clock: Clock
  /** Called, at once, with what is to be kept of a client (`clientKey`) for a later process, or if it is forgotten. */
  readonly onChange: (client: string, known: KnownEnds | undefined) => void
}

/**
 * The ends that the clients of one file know: the sizes in the attributes that they were sent (RFC 1813, fattr3), and
 * what they wrote since. WRITE knows no O_APPEND: a client writes at the end that it knows, whoever has written there
 * since. Several ends are kept for each, as bytes that were written behind an earlier one may still be on their way, held
 * back by the client or in another call. They are over when the client has read, or written, what is behind them.
 */
export class EndsOfFile {
  /** Those who called last come last. */
  readonly #clients = new BoundedMap<string, KnownEnds>(CLIENTS_KEPT)
  readonly #options: EndsOfFileOptions

  constructor(options: EndsOfFileOptions) {
    this.#options = options
  }

  /** Takes over the facts that an earlier process kept of a client. */
  restore(client: string, known: KnownEnds): void {
    this.#clients.set(client, known)
  }

  /** A client opens the file (LOOKUP), and is shown a version of the table for a while. */
  open(client: FileClient, size: number, version: bigint): void {
    const key = clientKey(client)
    const known = this.#knownOf(key)
    this.#tell(known, size, version)
    known.pinnedUntilMs = this.#nowMs + this.#options.pinnedMs
    this.#options.onChange(key, known)
  }

  /** True if a client that opens the file takes it for what the table has: it knows of no other text of this file. */
  isAt(client: FileClient, version: bigint): boolean {
    const ends = this.of(client)
    return ends.length === 0 || (ends.length === 1 && isEndOf(ends[0]!, version))
  }

  /**
   * The end of the text that a client is shown, whatever others have appended since: it is the only one that it knows, so
   * that there is no doubt what its WRITEs mean. Undefined where it is shown what the table has.
   */
  pinned(client: FileClient): EndOfFile | undefined {
    const known = this.#clients.peek(clientKey(client))
    if (known === undefined || known.ends.length !== 1 || this.#nowMs >= known.pinnedUntilMs) return undefined
    const [end] = known.ends
    return end!.version === undefined ? undefined : end
  }

  /** A client was sent attributes with this size, of a version or of a save under way. */
  tell(client: FileClient, size: number, version: bigint | undefined): void {
    const key = clientKey(client)
    const known = this.#knownOf(key)
    if (this.#tell(known, size, version)) this.#options.onChange(key, known)
  }

  /** False if that is known already. */
  #tell({ ends }: KnownEnds, size: number, version: bigint | undefined): boolean {
    const last = ends.at(-1)
    if (last !== undefined && last.size === size && last.version === version && last.tail.length === 0) return false
    ends.push(endOf(size, version))
    // The first says how much of the file the client may know.
    if (ends.length > ENDS_KEPT) ends.splice(1, 1)
    return true
  }

  /** A client has the bytes in front of `offset`, as it read or wrote them; `size`: it also saw that the file ends there. */
  know(client: FileClient, offset: number, size = Number.POSITIVE_INFINITY): void {
    const key = clientKey(client)
    const known = this.#clients.peek(key)
    if (known === undefined) return
    const { ends } = known
    const last = ends.at(-1)
    const kept = ends.filter(end => end === last || (end.size >= offset && end.size <= size))
    if (kept.length === ends.length) return
    ends.splice(0, ends.length, ...kept)
    this.#options.onChange(key, known)
  }

  /** A client wrote up to `end`, behind `before`. What it was told since stands: another of its programs may have it. */
  wrote(client: string, end: EndOfFile, before?: EndOfFile): void {
    const { ends, pinnedUntilMs, brought } = this.#clients.peek(client) ?? { ends: [], pinnedUntilMs: 0 }
    const at = before === undefined ? ends.length : ends.findLastIndex(known => isSame(known, before))
    const told = ends.slice(at + 1).filter(known => known.size > end.size)
    const isOver = pinnedUntilMs > 0 && this.#nowMs >= pinnedUntilMs
    const untilMs = isOver ? this.#nowMs + this.#options.pinnedMs : pinnedUntilMs
    const known = { ends: [end, ...told], pinnedUntilMs: untilMs, brought }
    this.#set(client, known)
    this.#options.onChange(client, known)
  }

  /** True if what a client (`clientKey`) knows is a version, or a later one, or has its rows there. */
  hasLanded(client: string, version: bigint): boolean {
    const last = this.#clients.peek(client)?.ends.at(-1)
    const landed = last?.landed ?? last?.version
    return landed !== undefined && landed >= version
  }

  /** Rows that a client wrote elsewhere, whose WRITEs here may still come. */
  broughtBy(client: string): Brought | undefined {
    const brought = this.#clients.peek(client)?.brought
    return brought === undefined || this.#nowMs > brought.untilMs ? undefined : brought
  }

  /** Notes such rows. */
  bring(client: string, brought: Brought): void {
    const known = this.#knownOf(client)
    known.brought = brought
    this.#options.onChange(client, known)
  }

  /** The ends that a client may write behind, the oldest first. */
  of(client: FileClient): readonly EndOfFile[] {
    return this.#clients.peek(clientKey(client))?.ends ?? []
  }

  /** Those of all clients, the newest first. */
  all(): EndOfFile[] {
    return [...this.#clients.values()].flatMap(({ ends }) => ends).reverse()
  }

  get #nowMs(): number {
    return this.#options.clock.nowMs()
  }

  #knownOf(key: string): KnownEnds {
    const there = this.#clients.get(key)
    if (there !== undefined) return there
    const known: KnownEnds = { ends: [], pinnedUntilMs: 0 }
    this.#set(key, known)
    return known
  }

  #set(key: string, known: KnownEnds): void {
    const [first] = this.#clients.keys()
    if (this.#clients.size === CLIENTS_KEPT && !this.#clients.has(key)) this.#options.onChange(first!, undefined)
    this.#clients.set(key, known)
  }
}
