import type { Action } from '../log/actions/index.ts'
import type { Snapshot } from '../snapshot.ts'

/**
 * The progress of an application in what it writes (PROTOCOL.md, "Transaction Identifiers"): a change with it is made once,
 * however often it is asked for.
 */
export interface AppVersion {
  readonly appId: string
  readonly version: number
}

/** The version up to which an application has come in a table; undefined if it has not begun. */
export function progressOf({ state }: Snapshot, { appId }: AppVersion): number | undefined {
  const found = state.txns.get(appId)?.version
  return found === undefined ? undefined : Number(JSON.stringify(found))
}

/** True if a table has what an application wrote as of this version. */
export function isDone(snapshot: Snapshot, app: AppVersion): boolean {
  return (progressOf(snapshot, app) ?? Number.NEGATIVE_INFINITY) >= app.version
}

/** The action that tells of the progress; none without an application. */
export function txnActions(app: AppVersion | undefined, nowMs: number): Action[] {
  return app === undefined ? [] : [{ txn: { appId: app.appId, version: app.version, lastUpdated: nowMs } }]
}
