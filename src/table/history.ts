import type { Action } from './log/actions/index.ts'

/** One version, as `history` tells of it. */
export interface HistoryEntry {
  readonly version: bigint
  readonly timestampMs: number
  readonly operation: string
  readonly parameters: Readonly<Record<string, unknown>>
  readonly metrics: Readonly<Record<string, unknown>>
  readonly engine: string | undefined
  readonly txnId: string | undefined
}

/** commitInfo is free text of whoever committed: what is not what it should be counts as not said. */
export function historyEntry(version: bigint, modifiedMs: number, actions: readonly Action[]): HistoryEntry {
  const info = actions.find(action => action.commitInfo)?.commitInfo ?? undefined
  const said = [info?.inCommitTimestamp, info?.timestamp].find(isTime)
  return {
    version,
    timestampMs: said ?? modifiedMs,
    operation: typeof info?.operation === 'string' ? info.operation : 'unknown',
    parameters: recordOf(info?.operationParameters),
    metrics: recordOf(info?.operationMetrics),
    engine: typeof info?.engineInfo === 'string' ? info.engineInfo : undefined,
    txnId: info?.txnId,
  }
}

function isTime(value: unknown): value is number {
  return typeof value === 'number' && !Number.isNaN(new Date(value).getTime())
}

function recordOf<T>(value: Readonly<Record<string, T>> | undefined): Readonly<Record<string, T>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}
}
