import type { LiveFile } from '../live-files.ts'
import { orderRefsOf } from '../order-hint.ts'
import type { Snapshot } from '../snapshot.ts'
import { ORDER_REFS_TAG } from '../tags.ts'
import type { Change } from './change.ts'

/** A file that rows are deleted from. */
interface Emptied {
  readonly file: LiveFile
  /** No row is left. */
  readonly whole: boolean
}

/** Files without a row, which are there only as places that order hints name. */
export interface Places {
  /** The paths of those that lose their last row now, and stay. */
  readonly staying: ReadonlySet<string>
  /** Those that had no row before, and are of no use any more: what named them goes. */
  readonly left: readonly LiveFile[]
}

/**
 * Returns the effect of a change on places: a file without rows stays as long as a hint of a file that stays, or is new,
 * names it. One that stays only as a place may itself have its place by another. Takes the time of the files that go, and of what they
 * hang on.
 */
export function placesOf(change: Change, newest: Snapshot, deletions: readonly Emptied[]): Places {
  const whole = new Map(deletions.filter(entry => entry.whole).map(({ file }) => [file.path, file]))
  const removed = new Set(change.removeFiles.map(({ path }) => path))
  const candidates = new Map(whole)
  const going = [...whole.values(), ...change.removeFiles]
  for (let file = going.pop(); file !== undefined; file = going.pop()) {
    for (const path of file.orderRefs) {
      const place = newest.live.get(path)
      if (place === undefined || candidates.has(path) || removed.has(path) || !hasNoRows(place)) continue
      candidates.set(path, place)
      going.push(place)
    }
  }
  const staying = stayingOf(candidates, removed, change, newest)
  const left = [...candidates.values()].filter(({ path }) => !whole.has(path) && !staying.has(path))
  return { staying, left }
}

function stayingOf(
  candidates: ReadonlyMap<string, LiveFile>,
  removed: ReadonlySet<string>,
  change: Change,
  { live }: Snapshot,
): ReadonlySet<string> {
  const added = candidates.size === 0 ? [] : change.add
  const named = new Set(added.flatMap(file => orderRefsOf(file.tags?.get(ORDER_REFS_TAG))))
  const isNamed = (path: string): boolean =>
    named.has(path) || live.referrers(path).some(from => !candidates.has(from) && !removed.has(from))
  const staying = new Set<string>()
  const waiting = [...candidates.keys()].filter(isNamed)
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const file = candidates.get(path)
    if (file === undefined || staying.has(path)) continue
    staying.add(path)
    waiting.push(...file.orderRefs)
  }
  return staying
}

function hasNoRows({ vector, rows }: LiveFile): boolean {
  return vector !== undefined && vector.cardinality === rows
}
