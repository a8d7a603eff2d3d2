import { randomUUID } from 'node:crypto'
import type { ObjectStore } from '../../storage/object-store.ts'
import { putCommit } from '../commit/put.ts'
import { TableError } from '../errors.ts'
import { readCommit } from '../log/load.ts'
import { checkNoTable, openTable, type Table } from '../table.ts'

const PIECE_BYTES = 4 << 20

/**
 * Copies a table that has its first version only into another store, its commit last. TableError `exists` if there is a
 * table meanwhile; whatever it fails of, nothing is left behind. `progress`: in bytes of the files.
 */
export async function copyNewTable(
  from: Table,
  to: ObjectStore,
  { signal, progress }: { readonly signal?: AbortSignal; readonly progress?: (done: number, total: number) => void },
): Promise<Table> {
  const { files } = from.snapshot
  const totalBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0)
  let doneBytes = 0
  const copied: string[] = []
  try {
    for (const { path, sizeBytes } of files) {
      copied.push(path)
      const out = await to.create(path)
      try {
        for (let at = 0; at < sizeBytes; at += PIECE_BYTES) {
          signal?.throwIfAborted()
          await out.write(await from.store.read(path, at, Math.min(sizeBytes, at + PIECE_BYTES)))
          progress?.(doneBytes + Math.min(sizeBytes, at + PIECE_BYTES), totalBytes)
        }
        await out.close()
      } catch (error) {
        await out.abort()
        throw error
      }
      doneBytes += sizeBytes
    }
    signal?.throwIfAborted()
    const first = await readCommit(from.store, 0n)
    const actions = first?.actions ?? []
    const txnId = actions.find(({ commitInfo }) => commitInfo)?.commitInfo?.txnId ?? randomUUID()
    if ((await putCommit(to, 0n, actions, txnId)).kind === 'exists') await checkNoTable(to)
  } catch (error) {
    // After 'undecided' nobody knows whether the table is there, and needs them.
    if (!(error instanceof TableError && error.code === 'undecided')) await to.deleteMany(copied).catch(() => undefined)
    throw error
  }
  return openTable(to)
}
