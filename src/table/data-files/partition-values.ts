import { TextError } from '../../columns/errors.ts'
import { formatDate, formatScalar, formatTimestamp, parseScalar, ScalarError } from '../../columns/text/scalars.ts'
import type { Cell, DataType } from '../../columns/types.ts'

/** A partition value of the log as a cell (PROTOCOL.md, "Partition Value Serialization"): the empty string is NULL. */
export function parsePartitionValue(text: string | null | undefined, type: DataType): Cell {
  if (text === null || text === undefined || text === '') return null
  try {
    if (type.kind === 'binary') return new TextEncoder().encode(text)
    return parseScalar(text, type)
  } catch (error) {
    if (!(error instanceof ScalarError)) throw error
    throw new TextError('bad_value', `the partition value ${JSON.stringify(text)} is not ${error.message}`, {
      cause: error,
    })
  }
}

/** A cell as the log has it. */
export function formatPartitionValue(cell: Cell, type: DataType): string | null {
  if (cell === null) return null
  switch (type.kind) {
    case 'date':
      return formatDate(cell as number)
    case 'timestamp':
    case 'timestamp_ntz':
      return formatTimestamp(cell as bigint).replace('T', ' ')
    case 'binary':
      return binaryText(cell as Uint8Array)
    default: {
      const text = formatScalar(cell, type)
      return text === '' ? null : text
    }
  }
}

/** The log has binaries as text, so that only those which are UTF-8 can stand there. */
function binaryText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (cause) {
    throw new TextError('bad_value', `the binary ${bytes.toHex()} is not UTF-8 and cannot be a partition value`, {
      cause,
    })
  }
}
