import type { At, ObjectColumn } from './action-column.ts'
import type { AddAction, DeletionVectorDescriptor } from './actions/index.ts'
import { count, time } from './shapes.ts'

/** The column of add actions of a row group of a checkpoint. */
export class AddColumn {
  readonly has: (row: number) => boolean
  readonly action: (row: number) => AddAction
  readonly path: At
  readonly size: At
  readonly modificationTime: At
  readonly partitionValues: At
  readonly stats: At
  readonly tags: At
  readonly deletionVector: At

  constructor({ has, at, members }: ObjectColumn) {
    const member = (name: string): At => members.get(name) ?? (() => undefined)
    this.has = has
    this.action = at as (row: number) => AddAction
    this.path = member('path')
    this.size = member('size')
    this.modificationTime = member('modificationTime')
    this.partitionValues = member('partitionValues')
    this.stats = member('stats')
    this.tags = member('tags')
    this.deletionVector = member('deletionVector')
  }

  /** True if an action may be wrong in a way that the types of its columns leave: then it must be looked at as a whole. */
  isInDoubt(row: number): boolean {
    return (
      this.path(row) === undefined ||
      count(this.size(row), '') !== undefined ||
      time(this.modificationTime(row), '') !== undefined ||
      this.deletionVector(row) !== undefined
    )
  }
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
    return this.#column.stats(this.#row) as string | undefined
  }

  get tags(): AddAction['tags'] {
    return this.#column.tags(this.#row) as AddAction['tags']
  }

  get deletionVector(): DeletionVectorDescriptor | undefined {
    return this.#column.deletionVector(this.#row) as DeletionVectorDescriptor | undefined
  }
}
