import type { Caller, Export, Node } from './filesystem.ts'
import type { Text } from './text/text.ts'

/** Sizes that one client was told of one file, and may still write behind. */
const TOLD_KEPT = 16
/** Texts that one client has read of one file, of which it may still have pages. */
const KNOWN_KEPT = 4
/** Clients of one file whose views are remembered. */
const CLIENTS_KEPT = 64
/** Of the bytes that a client wrote and that stand elsewhere by now, so many are remembered. */
export const OWN_BYTES_MAX = 1 << 20

/** Who makes a call, and the export that it came through: attributes of another export are another file to a client. */
export type FileClient = Caller & Partial<Export>

/** Who reaches a file, and how. */
export function fileClientOf({ caller, frozen, others }: Node): FileClient {
  return { ...caller, frozen, others }
}

/**
 * Tells clients apart. A kernel's client has one connection, and a page cache for each export that it mounts. One that
 * connects anew, or has several connections (`nconnect`), is known by what the others of the file were told.
 */
export function clientKey({ connection, frozen, others }: FileClient): string {
  return `${connection}${frozen === true ? ' frozen' : ''}${others === true ? ' others' : ''}`
}

/** A size that a client was told, or has written up to: the end of the file to it (POSIX, O_APPEND), until it hears more. */
export interface Told {
  /** In bytes. */
  readonly size: number
  /** The table version with a text of that size; undefined for the image of a save that was under way, and its own end. */
  readonly version: bigint | undefined
  readonly ms: number
}

/** A text whose bytes a client has. */
export interface Known {
  /** A table version, or the image of a save, until that is over. */
  source: bigint | Text
  /** Up to where it has them. */
  end: number
  /** That is all of it. */
  isWhole: boolean
  /** It has them as it wrote the last ones itself, not by a READ: those of its programs that read before know nothing of that. */
  readonly byWrite: boolean
  /** When it got them (see `momentMs`). */
  readonly ms: number
}

/** Rows that a client has, whatever their bytes: those of a version, up to `end`, but for some that came in meanwhile. */
export interface KnownRows {
  readonly known: Known
  version: bigint | undefined
  end: number
  holes: readonly Range[]
}

/** A range of bytes. */
export interface Range {
  readonly start: number
  readonly end: number
}

/** What the image of a save was, once that is over. */
export interface Settled {
  readonly image: Text
  /** The version that has its rows. */
  readonly version: bigint
  /** Up to where that has the rows that the image has up to some place. */
  readonly rowsTo: (end: number) => number
  /** Rows of the version that the image has not. */
  readonly holes: readonly Range[]
  /** A version that has just its bytes up to `sameTo`, and the bytes behind them. */
  readonly same: bigint
  readonly sameTo: number
  readonly rest: Own | undefined
}

/** Bytes that a client has. To it, they stand there, wherever they stand in the table. */
export interface Own {
  readonly offset: number
  readonly bytes: Uint8Array
}

/** What a client may take a file for. */
export interface ClientView {
  /** The oldest first. */
  readonly told: readonly Told[]
  /** The newest first. */
  readonly known: readonly Known[]
  /** The newest first. */
  readonly own: readonly Own[]
}

interface View extends ClientView {
  told: Told[]
  known: Known[]
  own: Own[]
}

/** What a client has written in a save that is over. */
export interface Wrote {
  /** From its first byte on. */
  readonly start: number
  readonly end: number
  readonly own: readonly Own[]
  /** The version that now has, byte for byte, what the client takes the file for. */
  readonly version: bigint | undefined
  /** That had the text in front of what it wrote; undefined: it wrote all of it. */
  readonly base: bigint | undefined
}

/** The last bytes of what a client wrote. */
export async function endOfImage(image: Text): Promise<Own> {
  const offset = Math.max(0, image.size - OWN_BYTES_MAX)
  return { offset, bytes: (await image.read(offset, image.size)).slice() }
}

/**
 * What the clients of one file may take it for, as far as their calls show. WRITE knows no O_APPEND: a client writes at
 * the end that it knows, whoever has written there since, and mostly whole pages, with the bytes that it has in front. It
 * knows an end by the attributes of any reply (RFC 1813, fattr3), but bytes only by READ, or as it wrote them. Several of
 * each are kept, as what was written behind an earlier one may still be on its way.
 */
export class EndsOfFile {
  /** Those who called last come last. */
  readonly #views = new Map<string, View>()
  readonly #nowMs: () => number
  readonly #onKnown: (client: string, rows: KnownRows) => void
  /** Of images of saves that are under way. */
  readonly #unsettled = new Map<Text, Set<KnownRows>>()

  constructor(nowMs: () => number, onKnown: (client: string, rows: KnownRows) => void) {
    this.#nowMs = nowMs
    this.#onKnown = onKnown
  }

  of(client: FileClient): ClientView | undefined {
    return this.#views.get(clientKey(client))
  }

  /** Those of all clients, the one that called last first. */
  all(): ClientView[] {
    return [...this.#views.values()].reverse()
  }

  /** A client was sent attributes with this size, of a version or of a save under way. */
  tell(client: FileClient, size: number, version: bigint | undefined): void {
    this.#tell(this.#viewOf(clientKey(client)), size, version)
  }

  #tell(view: View, size: number, version: bigint | undefined): void {
    const last = view.told.at(-1)
    if (last !== undefined && last.size === size && last.version === version) return
    view.told.push({ size, version, ms: this.#nowMs() })
    // The first says how much of the file the client may know.
    if (view.told.length > TOLD_KEPT) view.told.splice(1, 1)
  }

  /** A client was sent the bytes from `start` to `end` of a text with that size. */
  noteRead(client: FileClient, source: bigint | Text, start: number, end: number, size: number): void {
    if (end <= start) return
    const key = clientKey(client)
    const view = this.#viewOf(key)
    const before = view.known.find(known => known.source === source && !known.byWrite)
    const isWhole = end === size || before?.isWhole === true
    const known = { source, end: Math.max(end, before?.end ?? 0), isWhole, byWrite: false, ms: this.#nowMs() }
    this.#know(key, view, known)
    // It has what stands behind these ends now, and has seen where the file ends.
    this.#prune(view, told => (told >= start && told < end) || (end === size && told > size))
    view.own = view.own.filter(({ offset, bytes }) => offset < start || offset + bytes.length > end)
  }

  #know(key: string, view: View, known: Known): void {
    const others = view.known.filter(({ source, byWrite }) => source !== known.source || byWrite !== known.byWrite)
    view.known = [known, ...others].slice(0, KNOWN_KEPT)
    if (!known.isWhole) return
    const { source, end } = known
    const rows = { known, version: typeof source === 'bigint' ? source : undefined, end, holes: [] }
    if (typeof source !== 'bigint') this.#unsettled.set(source, (this.#unsettled.get(source) ?? new Set()).add(rows))
    this.#onKnown(key, rows)
  }

  #prune(view: View, isOver: (size: number) => boolean): void {
    const last = view.told.at(-1)
    view.told = view.told.filter(told => told === last || !isOver(told.size))
  }

  /** A save that a client wrote to is over: what it takes the file for now, until it is told more. */
  wrote(key: string, { start, end, own, version, base }: Wrote): void {
    const view = this.#viewOf(key)
    const last = view.told.at(-1)
    view.told = view.told.filter(({ size }) => size < start || size > end)
    const knewBase = base === undefined || view.known.some(known => known.source === base && known.isWhole)
    if (version !== undefined && knewBase) {
      this.#know(key, view, { source: version, end, isWhole: true, byWrite: true, ms: this.#nowMs() })
    }
    view.own = bounded([...own, ...view.own])
    this.#tell(view, end, version)
    // What it was told since stands, as another of its programs may have it.
    if (last !== undefined && last.size > end && view.told.at(-1) !== last) {
      view.told = [...view.told.filter(told => told !== last), last]
    }
  }

  /** A save is over, and its image is no more: those who have read it have rows of a version. */
  settle({ image, version, rowsTo, holes, same, sameTo, rest }: Settled): void {
    for (const rows of this.#unsettled.get(image) ?? []) Object.assign(rows, { version, end: rowsTo(rows.end), holes })
    this.#unsettled.clear()
    for (const view of this.#views.values()) {
      for (const known of view.known) {
        if (known.source !== image) continue
        const cut = rest?.bytes.subarray(0, Math.max(0, known.end - rest.offset))
        if (cut !== undefined && cut.length > 0) view.own = bounded([{ offset: rest!.offset, bytes: cut }, ...view.own])
        Object.assign(known, { source: same, end: Math.min(known.end, sameTo) })
      }
    }
  }

  #viewOf(key: string): View {
    const view = this.#views.get(key) ?? { told: [], known: [], own: [] }
    this.#views.delete(key)
    this.#views.set(key, view)
    if (this.#views.size > CLIENTS_KEPT) this.#views.delete(this.#views.keys().next().value!)
    return view
  }
}

/** The newest bytes, as many as are remembered. */
function bounded(own: readonly Own[]): Own[] {
  let left = OWN_BYTES_MAX
  const kept: Own[] = []
  for (const { offset, bytes } of own) {
    if (left <= 0) break
    const cut = Math.max(0, bytes.length - left)
    kept.push({ offset: offset + cut, bytes: cut === 0 ? bytes : bytes.slice(cut) })
    left -= bytes.length
  }
  return kept
}
