import type { FileClient } from './ends-of-file.ts'
import type { KnownTexts, TextOfClient } from './known-texts.ts'
import { isContinuation, type Lineage } from './lineage.ts'
import type { TableText } from './text/layout.ts'

/** Texts of a lineage from before commits of others that are remembered. */
const EARLIER_KEPT = 64
const NO_BYTES = new Uint8Array(0)

/** A text that a program saw of the view: the first `size` bytes of a version's text, and behind them rows of its own client. */
export interface Seen {
  readonly lineage: Lineage
  readonly front: TableText
  readonly size: number
  readonly tail: Uint8Array
  /** A version that has the rows of `tail`, too. */
  readonly text: TableText
  /** `text` has all of it; false where others rewrote the front before those rows were there. */
  readonly isWhole: boolean
}

/** Returns a version's text that a program saw all of. */
export function seenWhole(lineage: Lineage, text: TableText): Seen {
  return { lineage, front: text, size: text.size, tail: NO_BYTES, text, isWhole: true }
}

/** See TextsAtStart. */
export interface SeenTexts {
  readonly first: readonly Seen[]
  readonly later: readonly Seen[]
}

/** A version that the name led to. Its text is made again if it is asked for. */
interface Earlier {
  readonly lineage: Lineage
  readonly version: bigint
  readonly untilMs: number
}

/** The texts that programs may have seen of a view. */
export class SeenBefore {
  readonly #known: KnownTexts<Lineage>
  readonly #textOf: (version: bigint) => Promise<TableText>
  /** The versions that the name led to before commits of others and appends, oldest first, each with its end. */
  #earlier: Earlier[] = []

  constructor(known: KnownTexts<Lineage>, textOf: (version: bigint) => Promise<TableText>) {
    this.#known = known
    this.#textOf = textOf
  }

  /** The name led to a text of a lineage until the moment `untilMs`. */
  noteEarlier(lineage: Lineage, { version }: TableText, untilMs: number): void {
    this.#earlier = [...this.#earlier, { lineage, version, untilMs }].slice(-EARLIER_KEPT)
  }

  /**
   * Returns what a program of a client may have seen that has been at work since the moment `sinceMs`, as far as its client's READs and
   * WRITEs tell; of a client that has sent none, what the name led to then. Undefined if the table has not changed since.
   */
  async since(sinceMs: number, client: FileClient): Promise<SeenTexts | undefined> {
    const known = this.#known.at(client, sinceMs)
    if (known !== undefined) {
      const [first, later] = await Promise.all(
        [known.first, known.later].map(texts => Promise.all(texts.map(text => this.#seen(text)))),
      )
      return { first: first!, later: later! }
    }
    const earlier = this.#earlier.find(({ untilMs }) => untilMs > sinceMs)
    if (earlier === undefined) return undefined
    const text = await this.#textOf(earlier.version)
    return { first: [seenWhole(earlier.lineage, text)], later: [] }
  }

  async #seen({ lineage, version, size, tail, landed }: TextOfClient<Lineage>): Promise<Seen> {
    const front = await this.#textOf(version)
    if (tail.length === 0) return { lineage, front, size, tail, text: front, isWhole: true }
    const text = await this.#textOf(landed)
    return { lineage, front, size, tail, text, isWhole: isContinuation(front, text) && front.size === size }
  }
}
