import { messageOf } from '../../core/errors.ts'
import { type ObjectStore, putAfter, StorageError } from '../../storage/object-store.ts'
import { TableError } from '../errors.ts'
import type { Action } from '../log/actions/index.ts'
import { formatCommit } from '../log/json.ts'
import { readCommit } from '../log/load.ts'
import { commitPath } from '../log/paths.ts'
import { namedFiles } from './file-actions.ts'
import type { StagedFiles } from './staged-files.ts'

/** The end of an attempt to put a commit into the log. */
export type Put =
  /** `doubt`: the store reported an error all the same. A power cut may take it away. */
  | { readonly kind: 'written'; readonly doubt?: string }
  /** Another writer has that version. */
  | { readonly kind: 'exists' }

/**
 * Puts a commit into the log. A put that fails may have taken effect all the same (the name is there, and making it
 * durable failed; a reply was lost), and one that finds the name taken may have taken it itself: the log tells. Rejects
 * with StorageError if nothing has changed, with TableError `undecided` if that is not known.
 */
async function putCommit(
  store: ObjectStore,
  version: bigint,
  actions: readonly Action[],
  txnId: string,
  filesAreDurable: Promise<void>,
): Promise<Put> {
  let failure: unknown
  try {
    const put = await putAfter(store, commitPath(version), formatCommit(actions), filesAreDurable)
    if (put === 'written') return { kind: 'written' }
  } catch (error) {
    failure = error
  }
  const found = await readCommit(store, version).catch(cause => {
    throw undecided(store, version, failure ?? cause, `it cannot be read back: ${messageOf(cause)}`, cause)
  })
  if (found !== undefined && isOf(txnId, found.actions))
    return failure === undefined ? { kind: 'written' } : { kind: 'written', doubt: messageOf(failure) }
  // What is not there may still come: the store never said that it has given it up.
  if (found === undefined && failure instanceof StorageError && failure.mayHaveTakenEffect)
    throw undecided(store, version, failure, 'it is not there yet')
  if (failure !== undefined) throw failure
  return { kind: 'exists' }
}

/** The same once the staged files are durable, and keeps the staged files that the commit names if it is in the log, or may be. */
export async function putWithFiles(
  store: ObjectStore,
  staged: StagedFiles,
  version: bigint,
  actions: readonly Action[],
  txnId: string,
): Promise<Put> {
  try {
    const put = await putCommit(store, version, actions, txnId, staged.durable())
    if (put.kind === 'written') staged.keep(namedFiles(store, actions))
    return put
  } catch (error) {
    // Its files must be there, if it is.
    if (error instanceof TableError && error.code === 'undecided') staged.keep(namedFiles(store, actions))
    throw error
  }
}

/** True if a commit is that of a transaction. */
export function isOf(txnId: string, actions: readonly Action[]): boolean {
  return actions.some(({ commitInfo }) => commitInfo?.txnId === txnId)
}

function undecided(store: ObjectStore, version: bigint, why: unknown, and: string, cause = why): TableError {
  return new TableError(
    'undecided',
    `${store.location}: whether version ${version} is in the log is not known: ${messageOf(why)}; and ${and}`,
    { cause },
  )
}
