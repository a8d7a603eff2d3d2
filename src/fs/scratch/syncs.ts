interface State {
  running: Promise<void>
  next: Promise<void> | undefined
}

/**
 * Shares fsync calls: those that ask while one is under way wait for one more, together. What was written before a
 * call is on disk when its promise resolves. The system reports lost bytes to one fsync only, so a failure is told to
 * all who wait.
 */
export class Syncs<Key> {
  readonly #states = new Map<Key, State>()

  run(key: Key, sync: () => Promise<void>): Promise<void> {
    const state = this.#states.get(key)
    if (state === undefined) return this.#start(key, sync)
    state.next ??= state.running.then(() => this.#start(key, sync))
    return state.next
  }

  #start(key: Key, sync: () => Promise<void>): Promise<void> {
    const running = sync()
    const state: State = { running, next: undefined }
    this.#states.set(key, state)
    const forget = (): void => {
      if (this.#states.get(key) === state) this.#states.delete(key)
    }
    running.then(() => {
      // Those who wait for the next one have it started, which replaces the state.
      if (state.next === undefined) forget()
    }, forget)
    return running
  }
}
