import type { At, LongColumn, ObjectColumn, TextColumn } from './action-column.ts'
import type { AddAction, DeletionVectorDescriptor } from './actions/index.ts'

/** The column of add actions of a row group of a checkpoint. */
export class AddColumn {
  /** The rows that have one, ascending. */
  readonly rows: Int32Array
  readonly action: (row: number) => AddAction
  readonly path: At
  readonly size: At
  readonly modificationTime: At
  readonly partitionValues: At
  readonly stat: At
  readonly tags: At
  readonly vector: (row: number) => DeletionVectorDescriptor | undefined
  readonly #texts: ObjectColumn['texts']
  readonly #longs: ObjectColumn['longs']

  constructor({ has, at, members, texts, longs }: ObjectColumn, rows: number) {
    const member = (name: string): At => members.get(name) ?? (() => undefined)
    this.rows = rowsWith(has, rows)
    this.action = at as (row: number) => AddAction
    this.path = member('path')
    this.size = member('size')
    this.modificationTime = member('modificationTime')
    this.partitionValues = member('partitionValues')
    this.stat = member('stats')
    this.tags = member('tags')
    this.vector = member('deletionVector') as AddColumn['vector']
    this.#texts = texts
    this.#longs = longs
  }

  /** The paths where they lie; undefined if the file lacks them. */
  get paths(): TextColumn | undefined {
    return this.#texts.get('path')?.()
  }

  /** The statistics where they lie; undefined if the file lacks them. */
  get stats(): TextColumn | undefined {
    return this.#texts.get('stats')?.()
  }

  /**
   * The places in `rows` of actions that may be wrong in a way that the types of their columns leave: they must be looked at as a
   * whole.
   */
  inDoubt(): number[] {
    const { paths, rows } = this
    const [hasSize, hasTime] = [usual(this.#longs.get('size')?.()), usual(this.#longs.get('modificationTime')?.())]
    const found: number[] = []
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]!
      const hasPath = paths !== undefined && (paths.index === undefined || paths.index[row]! >= 0)
      if (!hasPath || !hasSize(row) || !hasTime(row) || this.vector(row) !== undefined) found.push(i)
    }
    return found
  }
}

/** Times that are not before 1970 and sizes that no file reaches have less in their upper half. */
const USUAL_MAX = 0x1e_0000

/** Tells of the rows that have a number which is right as a size and as a time in milliseconds. */
function usual(longs: LongColumn | undefined): (row: number) => boolean {
  if (longs === undefined) return () => false
  const { array, index } = longs
  const halves = new Int32Array(array.buffer, array.byteOffset, array.length * 2)
  return row => {
    const value = index === undefined ? row : index[row]!
    if (value < 0) return false
    const high = halves[2 * value + 1]!
    return high >= 0 && high < USUAL_MAX
  }
}

function rowsWith(has: (row: number) => boolean, rows: number): Int32Array {
  const found = new Int32Array(rows)
  let count = 0
  for (let row = 0; row < rows; row++) if (has(row)) found[count++] = row
  return found.subarray(0, count)
}

/** An add action of a checkpoint, of which most is read where it lies when somebody asks for it. */
export class LoggedAdd {
  readonly path: string
  readonly #column: AddColumn
  readonly #row: number

  constructor(column: AddColumn, row: number) {
    this.#column = column
    this.#row = row
    this.path = column.path(row) as string
  }

  /** The action as commits have it, made anew each time. */
  get action(): AddAction {
    return this.#column.action(this.#row)
  }

  get size(): number {
    return this.#column.size(this.#row) as number
  }

  get modificationTime(): number {
    return this.#column.modificationTime(this.#row) as number
  }

  get partitionValues(): AddAction['partitionValues'] {
    return (this.#column.partitionValues(this.#row) ?? {}) as AddAction['partitionValues']
  }

  get stats(): string | undefined {
    return this.#column.stat(this.#row) as string | undefined
  }

  get tags(): AddAction['tags'] {
    return this.#column.tags(this.#row) as AddAction['tags']
  }

  get deletionVector(): DeletionVectorDescriptor | undefined {
    return this.#column.vector(this.#row)
  }
}
