/** A call that is being executed, and for whom. */
export interface CallUnderWay {
  /** Tells the call from all others, and is the same when it is repeated; undefined for calls that may be executed twice. */
  readonly name: string | undefined
  /** Aborted when nobody waits for the reply any more. Made when it is first asked for: most calls are over before. */
  readonly signal: AbortSignal
  /** This connection has its reply. */
  leave(): void
}

interface Execution {
  readonly waiting: Set<object>
  controller: AbortController | undefined
  timer: ReturnType<typeof setTimeout> | undefined
  isGivenUp: boolean
}

/**
 * The calls that are being executed. A client whose connection broke makes another one and repeats what was not answered
 * (RFC 5531, section 4); only where it does not, within a time, is a call given up.
 */
export class CallsUnderWay {
  readonly #graceMs: number
  readonly #entries = new Map<string, Execution>()
  readonly #byConnection = new Map<object, Set<Execution>>()

  constructor(graceMs: number) {
    this.#graceMs = graceMs
  }

  /** A connection waits for the reply to the call of this name; to a call without one, it alone does. */
  enter(name: string | undefined, connection: object): CallUnderWay {
    const known = name === undefined ? undefined : this.#entries.get(name)
    const entry = known ?? { waiting: new Set(), controller: undefined, timer: undefined, isGivenUp: false }
    if (name !== undefined) this.#entries.set(name, entry)
    clearTimeout(entry.timer)
    entry.waiting.add(connection)
    const ofConnection = this.#byConnection.get(connection) ?? new Set()
    this.#byConnection.set(connection, ofConnection.add(entry))
    return {
      name,
      get signal() {
        entry.controller ??= new AbortController()
        if (entry.isGivenUp) entry.controller.abort()
        return entry.controller.signal
      },
      leave: () => {
        clearTimeout(entry.timer)
        entry.waiting.delete(connection)
        ofConnection.delete(entry)
        if (ofConnection.size === 0) this.#byConnection.delete(connection)
        if (name !== undefined && this.#entries.get(name) === entry) this.#entries.delete(name)
      },
    }
  }

  /** A connection is gone, and with it whoever waited there, unless the calls come again. */
  closed(connection: object): void {
    for (const entry of this.#byConnection.get(connection) ?? []) {
      entry.waiting.delete(connection)
      if (entry.waiting.size > 0) continue
      entry.timer = setTimeout(() => {
        entry.isGivenUp = true
        entry.controller?.abort()
      }, this.#graceMs)
      entry.timer.unref()
    }
  }
}
