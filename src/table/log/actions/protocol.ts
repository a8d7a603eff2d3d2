import { listOf, optional, smallCount, struct, text } from '../shapes.ts'
import type { ActionKind } from './kind.ts'

/** The versions and features that a reader and a writer must know (PROTOCOL.md, "Protocol Evolution"). */
export interface ProtocolAction {
  readonly minReaderVersion: number
  readonly minWriterVersion: number
  readonly readerFeatures?: readonly string[] | null
  readonly writerFeatures?: readonly string[] | null
}

export const protocol: ActionKind = {
  name: 'protocol',
  shape: struct({
    minReaderVersion: smallCount,
    minWriterVersion: smallCount,
    readerFeatures: optional(listOf(text)),
    writerFeatures: optional(listOf(text)),
  }),
  column:
    'struct<minReaderVersion:int, minWriterVersion:int, readerFeatures:array<string>, writerFeatures:array<string>>',
}
