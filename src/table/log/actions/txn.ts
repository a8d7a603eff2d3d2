import { integer, optional, struct, text, time } from '../shapes.ts'
import type { ActionKind } from './kind.ts'

/** The progress of an application in what it writes (PROTOCOL.md, "Transaction Identifiers"). */
export interface TxnAction {
  readonly appId: string
  readonly version: number
  readonly lastUpdated?: number | null
}

export const txn: ActionKind = {
  name: 'txn',
  shape: struct({ appId: text, version: integer, lastUpdated: optional(time) }),
  column: 'struct<appId:string, version:bigint, lastUpdated:bigint>',
}
