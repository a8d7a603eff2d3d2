import type { Cell } from '../columns/types.ts'
import { type Difference, hashOf, Ordered, type Ordering } from '../core/ordered.ts'
import { compareByBytes } from '../core/text-order.ts'
import { decodeTextTag, type FileTextSizes } from './data-files/text-sizes.ts'
import type { AddAction, DeletionVectorDescriptor } from './log/actions/index.ts'
import { vectorId } from './log/actions/index.ts'
import { LoggedAdd } from './log/logged-add.ts'
import { orderRefsOf } from './order-hint.ts'
import { ORDER_REFS_TAG, TEXT_TAG } from './tags.ts'

/** No Parquet file that can be read here has more rows: their numbers are of 32 bits. */
const ROWS_MAX = 2 ** 32

/** A data file of the table, with the rows that its vector leaves. */
export class LiveFile {
  /** Relative to the table, as on disk. */
  readonly path: string
  /** Values of the partition columns, by physical name. */
  readonly partition: ReadonlyMap<string, Cell>
  readonly #logged: AddAction | LoggedAdd
  #rows: number | undefined | 'unread' = 'unread'

  constructor(logged: AddAction | LoggedAdd, path: string, partition: ReadonlyMap<string, Cell>) {
    this.#logged = logged
    this.path = path
    this.partition = partition
  }

  /** Made anew each time for a file of a checkpoint; what is asked for often has its own property. */
  get add(): AddAction {
    return this.#logged instanceof LoggedAdd ? this.#logged.action : this.#logged
  }

  /** 32 bits of the path, for an Ordering. */
  get hash(): number {
    return hashOf(this.path)
  }

  get sizeBytes(): number {
    return this.#logged.size
  }

  get modificationTime(): number {
    return this.#logged.modificationTime
  }

  get vector(): DeletionVectorDescriptor | undefined {
    return this.#logged.deletionVector ?? undefined
  }

  /** A key that tells this logical file from every other: the path and the vector. */
  get key(): string {
    return logicalKey(this.path, this.vector)
  }

  /** The file's statistics as the log has them: JSON, if it is right. */
  get stats(): string | undefined {
    return this.#logged.stats
  }

  /** The rows in the file, deleted ones too, if its statistics say. */
  get rows(): number | undefined {
    if (this.#rows === 'unread') this.#rows = numRecords(this.stats)
    return this.#rows
  }

  tag(name: string): string | undefined {
    return this.#logged.tags?.[name] ?? undefined
  }

  /** The paths that the file's order hint refers to. */
  get orderRefs(): readonly string[] {
    return orderRefsOf(this.tag(ORDER_REFS_TAG))
  }
}

/** The name of a logical file: a path in the store, and a vector. */
export function logicalKey(path: string, vector: DeletionVectorDescriptor | null | undefined): string {
  // No path has a NUL in it.
  return vector === null || vector === undefined ? path : `${path}\0${vectorId(vector)}`
}

/** `numRecords` of statistics. It stands first as a rule; columns may have that name too, and so may their bounds. */
export function numRecords(stats: string | null | undefined): number | undefined {
  const first = /^\s*{\s*"numRecords"\s*:\s*(\d+)\s*[,}]/.exec(stats ?? '')
  if (first !== null) return rowCount(Number(first[1]))
  try {
    return rowCount((JSON.parse(stats ?? '{}') as { numRecords?: unknown } | null)?.numRecords)
  } catch {
    return undefined
  }
}

/** Returns a number of rows; undefined for what cannot be one: then the file is asked. */
function rowCount(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= ROWS_MAX
    ? (value as number)
    : undefined
}

/** The text sizes of a whole physical file as its tag gives them, for the schema of that time; undefined where there are none. */
export function fileTextSizes(file: LiveFile): FileTextSizes | undefined {
  const tag = file.tag(TEXT_TAG)
  return tag === undefined ? undefined : decodeTextTag(tag)
}

/** The facts that give a file its place among the others. */
export type FilePlace = Pick<LiveFile, 'modificationTime' | 'path'>

/** The order in which a table's views show its files: by modification time, then by the bytes of the path. */
export function inViewOrder(a: FilePlace, b: FilePlace): number {
  return a.modificationTime - b.modificationTime || compareByBytes(a.path, b.path)
}

const viewOrdering: Ordering<LiveFile> = { compare: inViewOrder, hash: ({ hash }) => hash }
const pathOrdering: Ordering<LiveFile> = {
  compare: (a, b) => compareTexts(a.path, b.path),
  hash: ({ hash }) => hash,
}
/** One file's order hint names another file. */
interface Reference {
  readonly to: string
  readonly from: string
}
const referenceOrdering: Ordering<Reference> = {
  compare: (a, b) => compareTexts(a.to, b.to) || compareTexts(a.from, b.from),
  hash: ({ to, from }) => hashOf(`${to}\0${from}`),
}

function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** The rows of files that their vectors leave; undefined if the statistics of one do not tell. */
export function liveRows(files: Iterable<LiveFile>): bigint | undefined {
  let live = 0n
  for (const { rows, vector } of files) {
    if (rows === undefined) return undefined
    live += BigInt(rows) - BigInt(vector?.cardinality ?? 0)
  }
  return live
}

/** Files of which no two have the same path, and what is known of them before there are objects of them. */
interface LaterFiles {
  readonly size: number
  readonly files: () => readonly LiveFile[]
  readonly rows: () => bigint | undefined
}

/**
 * The files of one version, in view order and by path. It never changes: the next version's shares with it all that is
 * the same, so that a commit costs its own files, and versions are compared in the time that their difference takes.
 */
export class LiveFiles implements Iterable<LiveFile> {
  readonly #inOrder: Ordered<LiveFile>
  readonly #byPath: Ordered<LiveFile>
  readonly #references: Ordered<Reference>
  #later: Omit<LaterFiles, 'files'> | undefined

  private constructor(inOrder: Ordered<LiveFile>, byPath: Ordered<LiveFile>, references: Ordered<Reference>) {
    this.#inOrder = inOrder
    this.#byPath = byPath
    this.#references = references
  }

  /** Of files of which no two have the same path. */
  static of(files: readonly LiveFile[]): LiveFiles {
    return new LiveFiles(
      Ordered.of(viewOrdering, files),
      Ordered.of(pathOrdering, () => files),
      Ordered.of(referenceOrdering, () => files.flatMap(referencesOf)),
    )
  }

  /** Of files of which objects are made when one of them is asked for first. */
  static later({ size, rows, files }: LaterFiles): LiveFiles {
    const inOrder = Ordered.of(viewOrdering, files)
    const live = new LiveFiles(
      inOrder,
      Ordered.of(pathOrdering, () => inOrder),
      Ordered.of(referenceOrdering, () => inOrder.toArray().flatMap(referencesOf)),
    )
    live.#later = { size, rows }
    return live
  }

  /** The rows that are live in all of them, if their statistics tell. */
  get rows(): bigint | undefined {
    return this.#later === undefined ? liveRows(this) : this.#later.rows()
  }

  get size(): number {
    return this.#later?.size ?? this.#inOrder.size
  }

  /** The file that stands last. */
  get last(): LiveFile | undefined {
    return this.#inOrder.at(-1)
  }

  get(path: string): LiveFile | undefined {
    return this.#byPath.find(file => compareTexts(path, file.path))
  }

  /** With a file, instead of the one that may have its path. */
  with(file: LiveFile): LiveFiles {
    const before = this.get(file.path)
    const cleared =
      before === undefined || (isSamePlace(before, file) && isSameHint(before, file)) ? this : this.without(before)
    return new LiveFiles(
      cleared.#inOrder.with(file),
      cleared.#byPath.with(file),
      cleared === this && before !== undefined
        ? this.#references
        : referencesOf(file).reduce((references, reference) => references.with(reference), cleared.#references),
    )
  }

  without(file: LiveFile): LiveFiles {
    return new LiveFiles(
      this.#inOrder.without(file),
      this.#byPath.without(file),
      referencesOf(file).reduce((references, reference) => references.without(reference), this.#references),
    )
  }

  /** The paths of the files whose order hints name a file. */
  *referrers(path: string): Generator<string> {
    for (const { to, from } of this.#references.from(reference => compareTexts(path, reference.to) || -1)) {
      if (to !== path) return
      yield from
    }
  }

  [Symbol.iterator](): Iterator<LiveFile> {
    return this.#inOrder[Symbol.iterator]()
  }

  toArray(): LiveFile[] {
    return this.#inOrder.toArray()
  }

  /** The logical files that are not among others, in view order. */
  notIn(others: LiveFiles): LiveFile[] {
    return this.toArray().filter(file => others.get(file.path)?.key !== file.key)
  }

  /** The files that are others than in `before`, in view order; a file whose vector changed is one difference. */
  changesSince(before: LiveFiles): Difference<LiveFile>[] {
    // The same file read from the log twice is two objects.
    return this.#inOrder.changesSince(before.#inOrder).filter(change => change.before?.key !== change.after?.key)
  }
}

function referencesOf(file: LiveFile): Reference[] {
  return [...new Set(file.orderRefs)].map(to => ({ to, from: file.path }))
}

function isSamePlace(a: LiveFile, b: LiveFile): boolean {
  return inViewOrder(a, b) === 0
}

function isSameHint(a: LiveFile, b: LiveFile): boolean {
  return a.tag(ORDER_REFS_TAG) === b.tag(ORDER_REFS_TAG)
}
