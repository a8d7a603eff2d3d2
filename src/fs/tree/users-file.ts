import type { Attributes, Change, NewAttributes, ReadResult, Stability, TimeNs, WriteResult } from '../filesystem.ts'
import type { Scratch } from '../scratch/scratch.ts'
import type { FileNode } from './node.ts'

/** One of the users' own files. */
export class UsersFile implements FileNode {
  readonly kind = 'file'
  readonly writable = true
  readonly executable = true
  readonly id: bigint
  readonly name: string
  readonly #own: Scratch

  constructor(id: bigint, name: string, own: Scratch) {
    this.id = id
    this.name = name
    this.#own = own
  }

  attributes(): Promise<Attributes> {
    return this.#own.getattr(this.id)
  }

  setattr(changes: NewAttributes, guardCtime: TimeNs | undefined): Promise<Change> {
    return this.#own.setattr(this.id, changes, guardCtime)
  }

  read(offset: bigint, count: number): Promise<ReadResult> {
    return this.#own.read(this.id, offset, count)
  }

  write(offset: bigint, bytes: Uint8Array, stability: Stability): Promise<WriteResult> {
    return this.#own.write(this.id, offset, bytes, stability)
  }

  /** All of it becomes durable, whatever the range. */
  commit(): Promise<Change> {
    return this.#own.commit(this.id)
  }
}
