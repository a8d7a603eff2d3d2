import type { Shape } from '../shapes.ts'

/** One kind of action: how it is called, what its members must be, and how checkpoints hold it. */
export interface ActionKind {
  /** Its member in a line of a commit, and its column in a checkpoint. */
  readonly name: string
  /** Undefined where anything goes: free text of whoever committed. */
  readonly shape?: Shape
  /** The type of its column in the checkpoints that we write, as SQL; undefined for what no checkpoint holds. */
  readonly column?: string
}
