import type { Sight } from './watch.ts'

/*
 * The life of a save, as a machine: what it is doing (SaveState), what can happen to it (SaveEvent), and one function
 * that says for each of them what comes next. It knows nothing of files, sockets or timers, which are the Editor's.
 */

export type SaveState =
  /** Bytes came whose client has yet to end with a COMMIT: nobody was told that they are saved. */
  | { readonly kind: 'receiving' }
  /** All that came is durable and was answered; what is waited for ends it. */
  | { readonly kind: 'held'; readonly until: Until; readonly because: string }
  /** It is compared with the table, and committed or refused. */
  | { readonly kind: 'judged' }

export type Until =
  /** Nobody has the file open for writing any more. */
  | { readonly kind: 'closed' }
  /** So many milliseconds have passed, as /proc cannot tell. */
  | { readonly kind: 'time'; readonly ms: number }

export type SaveEvent =
  /** WRITE with stable = UNSTABLE (RFC 1813, 3.3.7). */
  | 'unstable write'
  /** WRITE with another stability, or SETATTR of the size: it may be what ends the save. */
  | 'stable write'
  /** COMMIT (RFC 1813, 3.3.21). */
  | 'commit'
  /** Time to look again, or somebody wants to see the table. */
  | 'look'
  /** What it is held for, or the wait for its client, took too long. */
  | 'deadline'
  /** Unmount and shutdown. */
  | 'end'

export type Step =
  /** The bytes are staged; its client still owes a COMMIT. */
  | { readonly kind: 'receive' }
  /** What came is made durable and answered. */
  | { readonly kind: 'hold'; readonly until: Until; readonly because: string }
  /** The answer to a COMMIT waits for the close of a bulk append, or for a moment of silence. */
  | { readonly kind: 'await close'; readonly because: string }
  /** It is over: committed if every row parses, else refused. */
  | { readonly kind: 'judge' }
  /** As far as its bytes can tell: committed if they look whole, else held. */
  | { readonly kind: 'judge by bytes' }
  /** Not to be committed: its bytes are kept beside the table. */
  | { readonly kind: 'set aside'; readonly because: string }
  /** As it is. */
  | { readonly kind: 'stay' }
  /** Its journal is left for the next process. */
  | { readonly kind: 'leave' }

/** What the image of a save looks like, as far as it matters here. */
export interface Shape {
  /** The base with a tail, as far as is known. */
  readonly isAppend: boolean
  /** Its size is a whole number of pages, as when a client writes back in the middle of a save. */
  readonly isPages: boolean
}

const CLOSED: Until = { kind: 'closed' }

/** What an event leads to. `sight`: what /proc shows at that moment. */
export function next(state: SaveState, event: SaveEvent, sight: Sight, shape: Shape): Step {
  switch (event) {
    case 'unstable write':
      return { kind: 'receive' }
    case 'stable write':
      // Of what was written before it, its client still has to send a COMMIT.
      return state.kind === 'receiving' ? { kind: 'receive' } : ended(sight, shape, event)
    case 'commit':
      return ended(sight, shape, event)
    case 'look':
      return state.kind === 'held' && state.until.kind === 'closed' ? looked(sight) : { kind: 'stay' }
    case 'deadline':
      if (state.kind === 'receiving') {
        if (sight.kind === 'open') return { kind: 'receive' }
        return { kind: 'set aside', because: 'it was not finished, and its client has not been heard of since' }
      }
      return sight.kind === 'open' || sight.kind === 'killed' ? looked(sight) : { kind: 'judge' }
    case 'end':
      if (state.kind === 'receiving' || sight.kind === 'open') return { kind: 'leave' }
      return sight.kind === 'killed' ? looked(sight) : { kind: 'judge' }
  }
}

/** A call has come that can be the last one of a save. */
function ended(sight: Sight, { isAppend, isPages }: Shape, event: 'stable write' | 'commit'): Step {
  if (sight.kind === 'unknown') return { kind: 'judge by bytes' }
  // Write-back in the middle of a save is answered at once, since it is what makes room for the rest.
  if (sight.kind === 'open' && event === 'commit' && isAppend && !isPages) {
    return { kind: 'await close', because: openBy(sight.by) }
  }
  return looked(sight)
}

function looked(sight: Sight): Step {
  switch (sight.kind) {
    case 'unknown':
      return { kind: 'judge by bytes' }
    case 'open':
      return { kind: 'hold', until: CLOSED, because: openBy(sight.by) }
    case 'closed':
      return { kind: 'judge' }
    case 'killed': {
      const { command, pid, signal } = sight.by
      return {
        kind: 'set aside',
        because: `${command} (process ${pid}), which wrote it, was killed by signal ${signal}`,
      }
    }
  }
}

function openBy(by: string): string {
  return `it is open for writing by ${by}`
}
