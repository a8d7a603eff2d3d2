import { VERSION } from '../../core/version.ts'
import type { CommitInfoAction } from '../log/actions/index.ts'
import type { Operation } from './change.ts'

const ENGINE = `posixlake/${VERSION}`

/** The facts that a commitInfo is made from, beside the operation. */
export interface CommitFacts {
  readonly nowMs: number
  readonly txnId: string
  /** The version that the commit stands on; undefined for the first. */
  readonly readVersion?: bigint
  /** The commit adds rows, and follows from none that are there. */
  readonly isBlindAppend: boolean
  /** If the table has in-commit timestamps: that of the version before. */
  readonly timestampBeforeMs?: number | undefined
}

/** The commitInfo of a commit; first in its file, as in-commit timestamps ask (PROTOCOL.md, "In-Commit Timestamps"). */
export function commitInfo({ name, parameters = {}, metrics }: Operation, facts: CommitFacts): CommitInfoAction {
  const { nowMs, txnId, readVersion, isBlindAppend, timestampBeforeMs } = facts
  return {
    ...(timestampBeforeMs === undefined ? {} : { inCommitTimestamp: Math.max(nowMs, timestampBeforeMs + 1) }),
    timestamp: nowMs,
    operation: name,
    operationParameters: parameters,
    ...(readVersion === undefined ? {} : { readVersion: Number(readVersion) }),
    isBlindAppend,
    ...(metrics === undefined ? {} : { operationMetrics: metrics }),
    engineInfo: ENGINE,
    txnId,
  }
}
