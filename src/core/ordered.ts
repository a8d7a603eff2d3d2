/** The order of items, and the measure that is added up of them. */
export interface Ordering<T> {
  /** Below 0: `a` stands before `b`. 0: they have the same place, which only one can have. */
  compare(a: T, b: T): number
  /** 32 bits that look random, of nothing but what `compare` looks at. */
  hash(item: T): number
  /** An item's share of sums; 0 if not given. */
  measure?(item: T): number
}

/** The place of something: below 0 before the item, above 0 behind it, 0 at it. */
export type Position<T> = (item: T) => number

/** An item that is not the same in two versions; one of the two is missing where it was added or removed. */
export interface Difference<T> {
  readonly before: T | undefined
  readonly after: T | undefined
}

interface Node<T> {
  readonly item: T
  readonly priority: number
  readonly left: Node<T> | undefined
  readonly right: Node<T> | undefined
  readonly count: number
  readonly sum: number
}

type Tree<T> = Node<T> | undefined

/**
 * An ordered set that never changes: a change makes a new one, which shares all but O(log n) with the old one, so that
 * every version of something large can be kept, and two of them compared in the time that their difference takes. A
 * treap: its form follows from the items alone, whatever the order in which they came.
 */
export class Ordered<T> implements Iterable<T> {
  readonly #ordering: Ordering<T>
  #tree: Tree<T>
  /** The items of a tree that is made once it is asked for what the items in order cannot tell. */
  #source: Source<T> | undefined

  private constructor(ordering: Ordering<T>, tree: Tree<T>, source?: Source<T>) {
    this.#ordering = ordering
    this.#tree = tree
    this.#source = source
  }

  /**
   * Of items in any order; of several with the same place the last counts. `items` may be the way to them: they are looked
   * at when they are asked for first.
   */
  static of<T>(ordering: Ordering<T>, items: Iterable<T> | (() => Iterable<T>) = []): Ordered<T> {
    const given = typeof items === 'function' ? items : [...items]
    return new Ordered(ordering, undefined, new Source(ordering, given))
  }

  get #root(): Tree<T> {
    if (this.#source !== undefined) {
      this.#tree = treeOf(this.#ordering, this.#source.items)
      this.#source = undefined
    }
    return this.#tree
  }

  get size(): number {
    return this.#source?.items.length ?? this.#tree?.count ?? 0
  }

  /** The sum of all items' measures. */
  get sum(): number {
    return this.#root?.sum ?? 0
  }

  /** With an item in its place, instead of the one that may be there. */
  with(item: T): Ordered<T> {
    return new Ordered(this.#ordering, inserted(this.#ordering, this.#root, item, this.#ordering.hash(item)))
  }

  /** Without the item at the place of `item`, if there is one. */
  without(item: T): Ordered<T> {
    const root = removed(this.#ordering, this.#root, item)
    return root === this.#root ? this : new Ordered(this.#ordering, root)
  }

  /** The item at a position. */
  find(position: Position<T>): T | undefined {
    let node = this.#root
    while (node !== undefined) {
      const order = position(node.item)
      if (order === 0) return node.item
      node = order < 0 ? node.left : node.right
    }
    return undefined
  }

  /** The item at the place of `item`. */
  get(item: T): T | undefined {
    return this.find(other => this.#ordering.compare(item, other))
  }

  /** The item that so many others stand before; from the end for a negative number, as in an array. */
  at(index: number): T | undefined {
    if (this.#source !== undefined) return this.#source.items.at(index)
    let left = index < 0 ? this.size + index : index
    let node = left < 0 ? undefined : this.#root
    while (node !== undefined) {
      const before = node.left?.count ?? 0
      if (left === before) return node.item
      if (left < before) node = node.left
      else {
        left -= before + 1
        node = node.right
      }
    }
    return undefined
  }

  /** The first item up to which, itself included, the items count for more than `sum`, and what those before it do. */
  atSum(sum: number): { readonly item: T; readonly start: number } | undefined {
    if (sum < 0 || sum >= this.sum) return undefined
    let start = 0
    let node = this.#root
    while (node !== undefined) {
      const before = start + (node.left?.sum ?? 0)
      const end = start + node.sum - (node.right?.sum ?? 0)
      if (sum < before) node = node.left
      else if (sum < end) return { item: node.item, start: before }
      else {
        start = end
        node = node.right
      }
    }
    return undefined
  }

  /** Returns the sum of the items in front of a position. */
  sumBefore(position: Position<T>): number {
    let sum = 0
    let node = this.#root
    while (node !== undefined) {
      const isBefore = position(node.item) > 0
      if (isBefore) sum += node.sum - (node.right?.sum ?? 0)
      node = isBefore ? node.right : node.left
    }
    return sum
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#source?.items[Symbol.iterator]() ?? this.from()
  }

  /** The items in order, from a position on. */
  *from(position?: Position<T>): Generator<T> {
    const above: Node<T>[] = []
    for (let node = this.#root; node !== undefined; ) {
      const isBefore = position !== undefined && position(node.item) > 0
      if (!isBefore) above.push(node)
      node = isBefore ? node.right : node.left
    }
    for (let node = above.pop(); node !== undefined; node = above.pop()) {
      yield node.item
      for (let next = node.right; next !== undefined; next = next.left) above.push(next)
    }
  }

  toArray(): T[] {
    if (this.#source !== undefined) return [...this.#source.items]
    const items: T[] = []
    collect(this.#root, items)
    return items
  }

  /** The items that are not the same object as in `before`, in order. */
  changesSince(before: Ordered<T>): Difference<T>[] {
    const found: Difference<T>[] = []
    compare(this.#ordering, before.#root, this.#root, found)
    return found
  }
}

function nodeOf<T>({ measure }: Ordering<T>, item: T, priority: number, left: Tree<T>, right: Tree<T>): Node<T> {
  return {
    item,
    priority,
    left,
    right,
    count: 1 + (left?.count ?? 0) + (right?.count ?? 0),
    sum: (measure?.(item) ?? 0) + (left?.sum ?? 0) + (right?.sum ?? 0),
  }
}

function withChildren<T>(ordering: Ordering<T>, node: Node<T>, left: Tree<T>, right: Tree<T>): Node<T> {
  return left === node.left && right === node.right ? node : nodeOf(ordering, node.item, node.priority, left, right)
}

function inserted<T>(ordering: Ordering<T>, tree: Tree<T>, item: T, priority: number): Node<T> {
  if (tree === undefined) return nodeOf(ordering, item, priority, undefined, undefined)
  const order = ordering.compare(item, tree.item)
  if (order === 0) return nodeOf(ordering, item, tree.priority, tree.left, tree.right)
  if (priority > tree.priority) {
    const { left, right } = split(ordering, tree, item)
    return nodeOf(ordering, item, priority, left, right)
  }
  return order < 0
    ? withChildren(ordering, tree, inserted(ordering, tree.left, item, priority), tree.right)
    : withChildren(ordering, tree, tree.left, inserted(ordering, tree.right, item, priority))
}

function removed<T>(ordering: Ordering<T>, tree: Tree<T>, item: T): Tree<T> {
  if (tree === undefined) return undefined
  const order = ordering.compare(item, tree.item)
  if (order === 0) return joined(ordering, tree.left, tree.right)
  return order < 0
    ? withChildren(ordering, tree, removed(ordering, tree.left, item), tree.right)
    : withChildren(ordering, tree, tree.left, removed(ordering, tree.right, item))
}

/** Returns the items before, at and behind the place of an item. */
function split<T>(
  ordering: Ordering<T>,
  tree: Tree<T>,
  item: T,
): { readonly left: Tree<T>; readonly middle: Tree<T>; readonly right: Tree<T> } {
  if (tree === undefined) return { left: undefined, middle: undefined, right: undefined }
  const order = ordering.compare(item, tree.item)
  if (order === 0) return { left: tree.left, middle: tree, right: tree.right }
  if (order < 0) {
    const { left, middle, right } = split(ordering, tree.left, item)
    return { left, middle, right: withChildren(ordering, tree, right, tree.right) }
  }
  const { left, middle, right } = split(ordering, tree.right, item)
  return { left: withChildren(ordering, tree, tree.left, left), middle, right }
}

/** Items that are put in order when they are asked for first. */
class Source<T> {
  readonly #ordering: Ordering<T>
  #given: Iterable<T> | (() => Iterable<T>)
  #items: readonly T[] | undefined

  constructor(ordering: Ordering<T>, given: Iterable<T> | (() => Iterable<T>)) {
    this.#ordering = ordering
    this.#given = given
  }

  get items(): readonly T[] {
    if (this.#items === undefined) {
      this.#items = sorted(this.#ordering, typeof this.#given === 'function' ? this.#given() : this.#given)
      this.#given = []
    }
    return this.#items
  }
}

/** All of `left` stands before all of `right`. */
function joined<T>(ordering: Ordering<T>, left: Tree<T>, right: Tree<T>): Tree<T> {
  if (left === undefined) return right
  if (right === undefined) return left
  return left.priority >= right.priority
    ? withChildren(ordering, left, left.left, joined(ordering, left.right, right))
    : withChildren(ordering, right, joined(ordering, left, right.left), right.right)
}

function sorted<T>({ compare }: Ordering<T>, items: Iterable<T>): T[] {
  const list = [...items]
  // What a checkpoint of ours has is in order.
  if (list.every((item, i) => i === 0 || compare(list[i - 1]!, item) < 0)) return list
  list.sort(compare)
  // The sort is stable: of several at one place the last one came last.
  return list.filter((item, i) => i + 1 === list.length || compare(item, list[i + 1]!) !== 0)
}

/** The tree of items in order, in time proportional to their number. */
function treeOf<T>(ordering: Ordering<T>, items: readonly T[]): Tree<T> {
  /** The right edge of the tree so far, without right children, from the root down. */
  const edge: { readonly item: T; readonly priority: number; readonly left: Tree<T> }[] = []
  const closed = (below: number): Tree<T> => {
    let tree: Tree<T>
    while (edge.length > 0 && edge.at(-1)!.priority < below) {
      const { item, priority, left } = edge.pop()!
      tree = nodeOf(ordering, item, priority, left, tree)
    }
    return tree
  }
  for (const item of items) {
    const priority = ordering.hash(item)
    edge.push({ item, priority, left: closed(priority) })
  }
  return closed(Number.POSITIVE_INFINITY)
}

function collect<T>(tree: Tree<T>, items: T[]): void {
  if (tree === undefined) return
  collect(tree.left, items)
  items.push(tree.item)
  collect(tree.right, items)
}

/** Trees of nearly the same items have nearly the same form, so that what they share is met side by side. */
function compare<T>(ordering: Ordering<T>, before: Tree<T>, after: Tree<T>, found: Difference<T>[]): void {
  if (before === after) return
  if (before === undefined || after === undefined) {
    const items: T[] = []
    collect(before ?? after, items)
    for (const item of items)
      found.push(before === undefined ? { before: undefined, after: item } : { before: item, after: undefined })
    return
  }
  if (before.priority >= after.priority) {
    const { left, middle, right } = split(ordering, after, before.item)
    compare(ordering, before.left, left, found)
    if (before.item !== middle?.item) found.push({ before: before.item, after: middle?.item })
    compare(ordering, before.right, right, found)
  } else {
    const { left, middle, right } = split(ordering, before, after.item)
    compare(ordering, left, after.left, found)
    if (after.item !== middle?.item) found.push({ before: middle?.item, after: after.item })
    compare(ordering, right, after.right, found)
  }
}

/** Nobody who chooses texts can choose the form of a tree by them: it is another one in each process. */
const SEED = crypto.getRandomValues(new Uint32Array(1))[0]!

/** 32 bits that look random, for an Ordering. */
export function hashOf(text: string): number {
  return Bun.hash.xxHash32(text, SEED)
}

type KeyedValue<V> = readonly [key: string, value: V]

function entryOrdering<V>(): Ordering<KeyedValue<V>> {
  return {
    compare: ([a], [b]) => (a < b ? -1 : a > b ? 1 : 0),
    hash: ([key]) => hashOf(key),
  }
}

/** A map by texts that never changes, see Ordered; in the order of its keys. */
export class TextMap<V> implements ReadonlyMap<string, V> {
  readonly #entries: Ordered<KeyedValue<V>>

  private constructor(entries: Ordered<KeyedValue<V>>) {
    this.#entries = entries
  }

  static of<V>(entries: Iterable<KeyedValue<V>> = []): TextMap<V> {
    return new TextMap(Ordered.of(entryOrdering<V>(), entries))
  }

  get size(): number {
    return this.#entries.size
  }

  get(key: string): V | undefined {
    return this.#find(key)?.[1]
  }

  has(key: string): boolean {
    return this.#find(key) !== undefined
  }

  with(key: string, value: V): TextMap<V> {
    return new TextMap(this.#entries.with([key, value]))
  }

  without(key: string): TextMap<V> {
    const found = this.#find(key)
    return found === undefined ? this : new TextMap(this.#entries.without(found))
  }

  #find(key: string): KeyedValue<V> | undefined {
    return this.#entries.find(([other]) => (key < other ? -1 : key > other ? 1 : 0))
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries()
  }

  *entries(): MapIterator<[string, V]> {
    for (const [key, value] of this.#entries) yield [key, value]
  }

  *keys(): MapIterator<string> {
    for (const [key] of this.#entries) yield key
  }

  *values(): MapIterator<V> {
    for (const [, value] of this.#entries) yield value
  }

  forEach(run: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this.#entries) run(value, key, this)
  }
}
