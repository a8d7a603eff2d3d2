import type { ActionKind } from './kind.ts'

/** The provenance of a commit (PROTOCOL.md, "Commit Provenance Information"): free text of whoever committed. */
export interface CommitInfoAction {
  readonly timestamp?: number
  readonly operation?: string
  readonly operationParameters?: Readonly<Record<string, unknown>>
  readonly operationMetrics?: Readonly<Record<string, unknown>>
  readonly engineInfo?: string
  readonly txnId?: string
  readonly inCommitTimestamp?: number
  readonly [other: string]: unknown
}

export const commitInfo: ActionKind = { name: 'commitInfo' }
