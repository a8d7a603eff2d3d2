/** A map of a bounded number of entries: the one that was used least recently goes first. */
export class BoundedMap<K, V> {
  readonly #entriesMax: number
  readonly #dropped: (value: V, key: K) => void
  readonly #entries = new Map<K, V>()

  /** `dropped` hears of each entry for which there is no room any more. */
  constructor(entriesMax: number, dropped: (value: V, key: K) => void = () => undefined) {
    this.#entriesMax = entriesMax
    this.#dropped = dropped
  }

  get size(): number {
    return this.#entries.size
  }

  has(key: K): boolean {
    return this.#entries.has(key)
  }

  /** The value of a key, which counts as a use of it. */
  get(key: K): V | undefined {
    const value = this.#entries.get(key)
    if (value === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, value)
    return value
  }

  /** The value of a key; nothing is noted. */
  peek(key: K): V | undefined {
    return this.#entries.get(key)
  }

  set(key: K, value: V): void {
    this.#entries.delete(key)
    this.#entries.set(key, value)
    if (this.#entries.size <= this.#entriesMax) return
    const [oldest, oldestValue] = this.#entries.entries().next().value!
    this.#entries.delete(oldest)
    this.#dropped(oldestValue, oldest)
  }

  delete(key: K): boolean {
    return this.#entries.delete(key)
  }

  clear(): void {
    this.#entries.clear()
  }

  /** The least recently used first. */
  values(): IterableIterator<V> {
    return this.#entries.values()
  }

  keys(): IterableIterator<K> {
    return this.#entries.keys()
  }
}
