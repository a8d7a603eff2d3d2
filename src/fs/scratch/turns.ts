interface State {
  /** The last exclusive run: everything that comes later waits for it. */
  tail: Promise<unknown> | undefined
  /** The shared runs since then. */
  readonly shared: Set<Promise<unknown>>
}

/**
 * Runs work on one file in the order of the calls: an exclusive run is alone, shared ones go side by side. Work that
 * has nothing to wait for begins within the call.
 */
export class Turns {
  readonly #states = new Map<bigint, State>()

  shared<T>(key: bigint, run: () => Promise<T>): Promise<T> {
    const state = this.#state(key)
    const result = state.tail === undefined ? run() : state.tail.then(run)
    const settled = result.then(ignore, ignore).then(() => {
      state.shared.delete(settled)
      this.#forget(key, state)
    })
    state.shared.add(settled)
    return result
  }

  exclusive<T>(key: bigint, run: () => Promise<T>): Promise<T> {
    const state = this.#state(key)
    const before = state.tail === undefined ? [...state.shared] : [state.tail, ...state.shared]
    const result = before.length === 0 ? run() : Promise.all(before).then(run)
    state.shared.clear()
    const settled = result.then(ignore, ignore).then(() => {
      if (state.tail === settled) state.tail = undefined
      this.#forget(key, state)
    })
    state.tail = settled
    return result
  }

  #state(key: bigint): State {
    let state = this.#states.get(key)
    if (state === undefined) {
      state = { tail: undefined, shared: new Set() }
      this.#states.set(key, state)
    }
    return state
  }

  #forget(key: bigint, state: State): void {
    if (state.tail === undefined && state.shared.size === 0 && this.#states.get(key) === state) this.#states.delete(key)
  }
}

function ignore(): void {}
