import type { FileClient } from './ends-of-file.ts'
import type { KnownTexts, TextOfClient } from './known-texts.ts'
import { isContinuation, type Lineage } from './lineage.ts'
import type { TableText } from './text/layout.ts'

/** Texts of a lineage from before commits of others that are remembered. */
const EARLIER_KEPT = 64
const NO_TAIL = new Uint8Array(0)

/** A text that a program saw of the view: the first bytes of a version's text, and behind them rows of its own client. */
export interface Seen {
  readonly lineage: Lineage
  readonly text: TableText
  readonly size: number
  readonly tail: Uint8Array
  /** The text has all of it; false where others rewrote it before those rows were there. */
  readonly isWhole: boolean
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
  noteEarlier(lineage: Lineage, { snapshot: { version } }: TableText, untilMs: number): void {
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
    return { first: [{ lineage: earlier.lineage, text, size: text.size, tail: NO_TAIL, isWhole: true }], later: [] }
  }

  async #seen({ lineage, version, size, tail, landed }: TextOfClient<Lineage>): Promise<Seen> {
    const text = await this.#textOf(version)
    if (tail.length === 0) return { lineage, text, size, tail, isWhole: true }
    const there = await this.#textOf(landed)
    return { lineage, text: there, size, tail, isWhole: isContinuation(text, there) && text.size === size }
  }
}
