import type { Clock } from '../../core/clock.ts'

export interface ReplyCacheLimits {
  readonly entriesMax: number
  readonly bytesMax: number
  readonly ageMaxMs: number
}

export interface KeptReply {
  readonly pieces: readonly Uint8Array[]
  /** True if a retransmission may be answered with it. */
  readonly keep: boolean
}

interface AnsweredCall {
  readonly reply: Uint8Array
  readonly finishedMs: number
}

/**
 * Remembers the replies to calls that must not be executed twice. A client that got no answer sends the same call again
 * under the same XID, over a new connection: it gets the first reply, and waits for it if it is still being made.
 */
export class ReplyCache {
  readonly #limits: ReplyCacheLimits
  readonly #clock: Clock
  readonly #running = new Map<string, Promise<readonly Uint8Array[]>>()
  // In the order of their completion: the oldest is the first.
  readonly #finished = new Map<string, AnsweredCall>()
  #bytes = 0
  #hits = 0

  constructor(limits: ReplyCacheLimits, clock: Clock) {
    this.#limits = limits
    this.#clock = clock
  }

  /** Calls answered without executing them. */
  get hits(): number {
    return this.#hits
  }

  get entries(): number {
    return this.#finished.size
  }

  /** Runs `execute`, unless the call of this key runs already or has run: then its reply is the answer. */
  async once(key: string, execute: () => Promise<KeptReply>): Promise<readonly Uint8Array[]> {
    const earlier = this.#running.get(key) ?? this.#replyOf(key)
    if (earlier !== undefined) {
      this.#hits++
      return earlier
    }
    const running = this.#execute(key, execute)
    this.#running.set(key, running)
    try {
      return await running
    } finally {
      this.#running.delete(key)
    }
  }

  async #execute(key: string, execute: () => Promise<KeptReply>): Promise<readonly Uint8Array[]> {
    const { pieces, keep } = await execute()
    if (keep) this.#keep(key, pieces)
    return pieces
  }

  #replyOf(key: string): readonly Uint8Array[] | undefined {
    const entry = this.#finished.get(key)
    if (entry === undefined) return undefined
    if (this.#clock.nowMs() - entry.finishedMs > this.#limits.ageMaxMs) return undefined
    return [entry.reply]
  }

  #keep(key: string, pieces: readonly Uint8Array[]): void {
    // A copy of its own: the pieces may be views on something much larger.
    const reply = new Uint8Array(Buffer.concat(pieces))
    const now = this.#clock.nowMs()
    this.#finished.set(key, { reply, finishedMs: now })
    this.#bytes += reply.length
    for (const [oldKey, entry] of this.#finished) {
      const { entriesMax, bytesMax, ageMaxMs } = this.#limits
      const fits = this.#finished.size <= entriesMax && this.#bytes <= bytesMax
      if (fits && now - entry.finishedMs <= ageMaxMs) break
      this.#finished.delete(oldKey)
      this.#bytes -= entry.reply.length
    }
  }
}
