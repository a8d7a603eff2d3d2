import type { Caller } from '../filesystem.ts'
import type { Killed, Opener, Openers, Openings } from './openers.ts'

/** open(2) with O_TRUNC truncates before its descriptor is there: for so long nobody is taken to have closed it. */
const OPENING_MS = 50
/** Between two looks at a file that nobody calls about: close(2) takes the descriptor away before it flushes. */
const CLOSING_MS = 30
/** So often a close is waited for whose process waits for something; it may also be for the answer to this look. */
const CLOSING_LOOKS_MAX = 5

/** The openers of a save's file, as /proc shows them. */
export type Sight =
  /** Nothing: the calls come from elsewhere, or from processes that may not be looked into. */
  | { readonly kind: 'unknown' }
  /** A process has it open for writing, or is about to. */
  | { readonly kind: 'open'; readonly by: string }
  | { readonly kind: 'closed' }
  /** Nobody has it open, and one who had was killed before it could close it. */
  | { readonly kind: 'killed'; readonly by: Killed }

/** append: rows behind the end. rewrite: truncated, then written. in place: written over what was there. */
export type SaveKind = 'append' | 'rewrite' | 'in place'

export const UNKNOWN: Sight = { kind: 'unknown' }

/** Watches who has the file of one save open for writing, for as long as the save lasts. */
export class Watch {
  readonly #openers: Openers
  readonly #fileId: bigint
  readonly #uids = new Set<number>()
  #callers = new Set<string>()
  #canSee = false
  /** Everyone who was seen with the file open, by process and descriptor. */
  readonly #seen = new Map<string, Opener>()
  /** Descriptors that were open before this save began, by process and descriptor, with their positions. */
  #bystanders: ReadonlyMap<string, Opener> = new Map()
  /** Until when a program may be on its way from the truncation to its descriptor. */
  #openingUntilMs = Number.NEGATIVE_INFINITY
  #lookMs = 0
  #killed: Killed | undefined

  constructor(openers: Openers, fileId: bigint) {
    this.#openers = openers
    this.#fileId = fileId
  }

  /** A call on the save has come. Of all its callers it must be known whose processes they stand for. */
  async note(caller: Caller): Promise<void> {
    const key = `${caller.connection} ${caller.uid}`
    if (this.#callers.has(key)) return
    this.#callers.add(key)
    if (caller.uid !== undefined) this.#uids.add(caller.uid)
    const isFirst = this.#callers.size === 1
    const can = await this.#openers.canSee(caller)
    this.#canSee = can && (isFirst || this.#canSee)
  }

  /** True if /proc shows who has the file open. */
  get canSee(): boolean {
    return this.#canSee
  }

  /** The file is about to be cut to nothing: who has it open by now has not opened it in order to do so. */
  async beginTruncation(): Promise<void> {
    if (!this.#canSee) return
    const { openers } = await this.#openers.look(this.#fileId, false)
    // Who cuts it by ftruncate(2) waits for the answer at this moment.
    this.#bystanders = new Map(openers.filter(({ waits }) => !waits).map(opener => [keyOf(opener), opener]))
    this.#openingUntilMs = Number.POSITIVE_INFINITY
  }

  /** The call that cut the file is about to be answered: its open(2) goes on only then. */
  answered(): void {
    if (this.#openingUntilMs !== Number.POSITIVE_INFINITY) return
    this.#openingUntilMs = performance.now() + OPENING_MS + this.#lookMs
  }

  /** Bytes have come: whoever cut the file to nothing has opened it. */
  written(): void {
    this.#openingUntilMs = Number.NEGATIVE_INFINITY
  }

  /**
   * Looks once. A descriptor that can only append (O_APPEND) does not rewrite, and only what is written in place may come
   * from a shared mapping.
   */
  async look(kind: SaveKind): Promise<Sight> {
    if (!this.#canSee) return UNKNOWN
    const startMs = performance.now()
    let seen: Openings
    try {
      seen = await this.#openers.look(this.#fileId, kind === 'in place')
    } catch {
      return UNKNOWN
    }
    this.#lookMs = performance.now() - startMs
    const writers = seen.openers.filter(opener => this.#isWriter(opener, kind, seen.openers))
    for (const opener of writers) this.#seen.set(keyOf(opener), opener)
    this.#noteKilled(seen)
    const [first] = writers
    if (first !== undefined) return { kind: 'open', by: `${first.command} (process ${first.pid})` }
    if (this.#killed !== undefined) return { kind: 'killed', by: this.#killed }
    if (this.#seen.size === 0 && startMs < this.#openingUntilMs) {
      return { kind: 'open', by: 'a program that is opening it' }
    }
    return { kind: 'closed' }
  }

  /**
   * Looks until it is sure: for when no call of a close has come. Nobody may be in the middle of a close, whose bytes are
   * still on their way, or of an open that has truncated the file already.
   */
  async lookClosely(kind: SaveKind, hasChanged: () => boolean): Promise<Sight> {
    for (let looks = 0; ; looks++) {
      const first = await this.look(kind)
      const isOpening = first.kind === 'open' && this.#seen.size === 0
      if (first.kind !== 'closed' && !isOpening) return first
      await Bun.sleep(CLOSING_MS)
      if (hasChanged()) return { kind: 'open', by: 'a program that is closing it' }
      if (isOpening || (looks < CLOSING_LOOKS_MAX && this.#isClosing())) continue
      const second = await this.look(kind)
      if (second.kind !== 'closed' || !hasChanged()) return second
    }
  }

  #isWriter(opener: Opener, kind: SaveKind, all: readonly Opener[]): boolean {
    if (kind !== 'append' && opener.append) return false
    return !this.#isBystander(opener, all)
  }

  /** True if a descriptor was there before the save and has not moved since, or was inherited from one that is so. */
  #isBystander(opener: Opener, all: readonly Opener[]): boolean {
    const before = this.#bystanders.get(keyOf(opener))
    if (before !== undefined) return before.position === opener.position
    const { parent, descriptor, position } = opener
    if (descriptor === undefined) return false
    const source = all.find(other => other.pid === parent && other.descriptor === descriptor)
    return source !== undefined && source.position === position && this.#isBystander(source, all)
  }

  #noteKilled({ dying }: Openings): void {
    for (const opener of this.#seen.values()) this.#killed ??= this.#openers.killedBy(opener)
    // All of a short save comes with the flush of its close: then nobody was seen before.
    if (this.#seen.size === 0) this.#killed ??= dying.find(({ uid }) => this.#uids.has(uid))
  }

  /** One who had it open waits for an answer: its close is not over. */
  #isClosing(): boolean {
    return [...this.#seen.values()].some(opener => this.#openers.isWaiting(opener))
  }
}

function keyOf({ pid, startTime, descriptor }: Opener): string {
  return `${pid} ${startTime} ${descriptor ?? 'map'}`
}
