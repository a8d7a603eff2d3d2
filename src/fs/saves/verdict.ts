import { TextError } from '../../columns/errors.ts'
import { TableError } from '../../table/errors.ts'
import type { Committed } from '../../table/table.ts'
import type { ChangePlan, EditPlan } from '../edits/change-plan.ts'
import type { Committer } from './committer.ts'
import {
  type Incomplete,
  type IncompleteTimes,
  isBadForGood,
  mayGoOn,
  mayStillParse,
  outsideSigns,
} from './completeness.ts'
import { effectOf, isBetweenOldBytes, isParsedEarly, kindOf, outsideOf } from './image-facts.ts'
import { withoutBrought } from './places.ts'
import type { Save } from './save.ts'
import type { Doubt } from './state.ts'

/** The end of a save that is judged. */
export type Verdict =
  | { readonly kind: 'committed'; readonly plan: ChangePlan; readonly committed: Committed }
  /** The table has already what the image shows. */
  | { readonly kind: 'unchanged'; readonly plan: EditPlan }
  /** It may not be whole: nothing was done. */
  | ({ readonly kind: 'incomplete' } & Incomplete)
  /** The table is as it was. */
  | { readonly kind: 'refused'; readonly error: unknown }
  /** The commit failed, and may be in the log all the same. */
  | { readonly kind: 'undecided'; readonly error: unknown }

/** Compares an image with its base, and commits it if it can be taken; with a doubt only if it looks whole. */
export async function judge(
  save: Save,
  doubt: Doubt | undefined,
  committer: Committer,
  times: IncompleteTimes,
): Promise<Verdict> {
  try {
    const plan = await planUnlessIncomplete(save, doubt, committer, times)
    if (plan.kind === 'unchanged') return { kind: 'unchanged', plan }
    if (plan.kind === 'incomplete') return plan
    const fresh = await withoutBrought(save, plan)
    if (fresh !== plan) committer.sayBrought()
    if (fresh.removed.length === 0 && fresh.added.length === 0) return { kind: 'unchanged', plan }
    const committed = await committer.commit(fresh, save.base, save.journal.header.editId)
    return { kind: 'committed', plan, committed }
  } catch (error) {
    return { kind: isUndecided(error) ? 'undecided' : 'refused', error }
  }
}

async function planUnlessIncomplete(
  save: Save,
  doubt: Doubt | undefined,
  committer: Committer,
  times: IncompleteTimes,
): Promise<EditPlan | Extract<Verdict, { kind: 'incomplete' }>> {
  if (doubt === undefined) return committer.planOf(save)
  const signs = outsideSigns(await outsideOf(save, doubt.committed), times)
  if (signs !== undefined) return { kind: 'incomplete', ...signs }
  try {
    const plan = await committer.planOf(save)
    const wait = plan.kind === 'unchanged' ? undefined : mayGoOn(await effectOf(save, plan), times)
    return wait === undefined ? plan : { kind: 'incomplete', ...wait }
  } catch (error) {
    if (!(error instanceof TextError)) throw error
    const { code } = error
    const isBetween = code !== 'unterminated' && (await isBetweenOldBytes(save))
    const wait = mayStillParse({ code, isBetweenOldBytes: isBetween }, times)
    if (wait === undefined) throw error
    return { kind: 'incomplete', ...wait }
  }
}

/** Why a save that goes on can never be taken, whatever is yet written; undefined if it may be. */
export async function refusalInAdvance(save: Save, committer: Committer): Promise<unknown> {
  if (!isParsedEarly(save)) return undefined
  try {
    await committer.planOf(save)
    return undefined
  } catch (error) {
    if (!(error instanceof TextError)) return undefined
    const isAppend = (await kindOf(save)) === 'append'
    return isBadForGood(error.code, { ...(await outsideOf(save, false)), isAppend }) ? error : undefined
  }
}

/** True if a commit failed, and may be in the log all the same. */
export function isUndecided(error: unknown): boolean {
  return error instanceof TableError && error.code === 'undecided'
}
