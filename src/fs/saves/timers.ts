import type { HoldTimes } from './hold-times.ts'
import type { Save } from './save.ts'
import { type SaveState, UNDECIDED_MS } from './state.ts'

/** A file that is open for writing is looked at again after a moment, then ever more seldom. */
const FIRST_LOOK_MS = 10
const LOOK_MS_MAX = 250
/** Looking takes at most a tenth of the time, however many processes there are. */
const LOOK_SHARE = 10

export interface TimersOptions {
  readonly times: HoldTimes
  /** The wait of a save has taken too long. */
  readonly onDeadline: (save: Save) => Promise<void>
  /** Time to look who has its file open. */
  readonly onLook: (save: Save) => Promise<void>
  /** A deadline came to nothing, and comes again. */
  readonly onFailed: (error: unknown) => void
}

interface Armed {
  deadline: Timer | undefined
  look: Timer | undefined
}

/** The clocks of saves, which follow from their states: what each of them waits for, and for how long. */
export class Timers {
  readonly #options: TimersOptions
  readonly #armed = new Map<Save, Armed>()

  constructor(options: TimersOptions) {
    this.#options = options
  }

  /** From now on a save waits for what its state says. */
  arm(save: Save): void {
    this.stop(save)
    const { deadlineMs, looks } = waitOf(save.state, this.#options.times)
    if (deadlineMs === undefined && !looks) return
    const armed: Armed = { deadline: undefined, look: undefined }
    this.#armed.set(save, armed)
    if (deadlineMs !== undefined) this.#setDeadline(save, armed, deadlineMs)
    if (looks && save.watch.canSee) this.#lookLater(save, armed, FIRST_LOOK_MS)
  }

  stop(save: Save): void {
    const armed = this.#armed.get(save)
    this.#armed.delete(save)
    clearTimeout(armed?.deadline)
    clearTimeout(armed?.look)
  }

  #setDeadline(save: Save, armed: Armed, ms: number): void {
    armed.deadline = setTimeout(() => {
      this.#options.onDeadline(save).catch(error => {
        this.#options.onFailed(error)
        if (this.#armed.get(save) === armed) this.#setDeadline(save, armed, Math.max(ms, UNDECIDED_MS))
      })
    }, ms)
  }

  /** While its file is open: who it is must be known when they are gone. */
  #lookLater(save: Save, armed: Armed, ms: number): void {
    armed.look = setTimeout(() => {
      void (async () => {
        const startMs = performance.now()
        // What cannot be read now is looked at again.
        await this.#options.onLook(save).catch(() => undefined)
        const tookMs = performance.now() - startMs
        if (this.#armed.get(save) !== armed) return
        this.#lookLater(save, armed, Math.max(Math.min(ms * 4, LOOK_MS_MAX), tookMs * LOOK_SHARE))
      })()
    }, ms)
  }
}

/** When a state has lasted too long, and whether its openers are looked for meanwhile. */
function waitOf(state: SaveState, { abandonedMs }: HoldTimes): { deadlineMs: number | undefined; looks: boolean } {
  if (state.kind === 'receiving') return { deadlineMs: abandonedMs, looks: true }
  if (state.kind === 'undecided') return { deadlineMs: UNDECIDED_MS, looks: false }
  if (state.kind !== 'held') return { deadlineMs: undefined, looks: false }
  return state.until.kind === 'time'
    ? { deadlineMs: state.until.ms, looks: false }
    : { deadlineMs: undefined, looks: true }
}
