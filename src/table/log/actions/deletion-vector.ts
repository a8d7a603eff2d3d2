import { count, oneOf, optional, smallCount, struct, text } from '../shapes.ts'

/** The place of a file's deletion vector (PROTOCOL.md, "Deletion Vector Descriptor Schema"). Part of add and remove. */
export interface DeletionVectorDescriptor {
  readonly storageType: 'u' | 'i' | 'p'
  readonly pathOrInlineDv: string
  readonly offset?: number
  readonly sizeInBytes: number
  readonly cardinality: number
}

export const vectorShape = struct({
  storageType: oneOf('u', 'i', 'p'),
  pathOrInlineDv: text,
  offset: optional(smallCount),
  sizeInBytes: smallCount,
  cardinality: count,
})

export const vectorColumn =
  'struct<storageType:string, pathOrInlineDv:string, offset:int, sizeInBytes:int, cardinality:bigint>'

/** Returns an id that tells a vector from all others; '' for none. */
export function vectorId(descriptor: DeletionVectorDescriptor | null | undefined): string {
  if (descriptor === null || descriptor === undefined) return ''
  const { storageType, pathOrInlineDv, offset } = descriptor
  // Some writers spell an absent offset as null, which checkpoints do not keep.
  return `${storageType}${pathOrInlineDv}${(offset ?? undefined) === undefined ? '' : `@${offset}`}`
}
