import type { Clock } from '../../core/clock.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { cleansUpLog, deletedFileRetentionMs, logRetentionMs } from '../properties.ts'
import type { Snapshot } from '../snapshot.ts'
import { tombstonesOver, writeCheckpoint } from './checkpoint-writer.ts'
import { cleanUpLog } from './clean-up.ts'
import { lastCheckpoint } from './segment.ts'

/**
 * The interval of checkpoints of a table that names none: 10 commits, and for so many actions that a checkpoint holds
 * one commit more, so that checkpoints cost a commit the same in tables of all sizes, and reading the commits behind one
 * costs no more than reading it.
 */
const CHECKPOINT_INTERVAL_MIN = 10
const CHECKPOINT_INTERVAL_MAX = 5000
const CHECKPOINTED_ACTIONS_PER_COMMIT = 20
/** Fewer tombstones are not looked through for those whose time is over. */
const TOMBSTONES_LOOKED_AT_MIN = 1000
const CLEAN_UP_EVERY_MS = 3600 * 1000

/** Writes checkpoints of a table, where enough commits stand behind the last one. */
export class Checkpointer {
  readonly #store: ObjectStore
  readonly #clock: Clock
  #writing: Promise<void> = Promise.resolve()
  /** The version of which a checkpoint is to be written next. */
  #waiting: Snapshot | undefined
  #cleanUpFromMs = 0
  /** No checkpoint is due before this version. */
  #next = 0n
  /** So many tombstones are looked through; undefined: how many there are is not known yet. */
  #lookAt: number | undefined

  constructor(store: ObjectStore, clock: Clock) {
    this.#store = store
    this.#clock = clock
  }

  async write(snapshot: Snapshot): Promise<void> {
    await writeCheckpoint(this.#store, snapshot, { keepRemovedSinceMs: this.#keepRemovedSinceMs(snapshot) })
    // What the checkpoint has not need not be remembered either.
    this.#lookAt = 0
    await this.#cleanUp(snapshot)
  }

  /** Each look at the log lists it, so that there is one an hour at most. */
  async #cleanUp({ metadata: { configuration } }: Snapshot): Promise<void> {
    const nowMs = this.#clock.nowMs()
    if (nowMs < this.#cleanUpFromMs || !cleansUpLog(configuration)) return
    this.#cleanUpFromMs = nowMs + CLEAN_UP_EVERY_MS
    // It is there to save room, and the next one does what this one could not.
    await cleanUpLog(this.#store, nowMs, logRetentionMs(configuration)).catch(() => undefined)
  }

  #keepRemovedSinceMs({ metadata }: Snapshot): number {
    return this.#clock.nowMs() - deletedFileRetentionMs(metadata.configuration)
  }

  /**
   * Tombstones of a snapshot whose time is over, which the next version forgets: looked for after a checkpoint, and, as others
   * may write those, whenever there are twice as many as were left last time. So the look costs each removal the same.
   */
  tombstonesOver(snapshot: Snapshot): readonly string[] {
    const { size } = snapshot.state.tombstones
    this.#lookAt ??= Math.max(TOMBSTONES_LOOKED_AT_MIN, 2 * size)
    if (size < this.#lookAt) return []
    const over = tombstonesOver(snapshot, this.#keepRemovedSinceMs(snapshot))
    this.#lookAt = Math.max(TOMBSTONES_LOOKED_AT_MIN, 2 * (size - over.length))
    return over
  }

  /**
   * Writes a checkpoint of a version that was just committed, if one is due. It is a shortcut: it is written behind the
   * commit's back, and its failure fails nothing.
   */
  after(snapshot: Snapshot): void {
    const { version, metadata } = snapshot
    const asked = metadata.configuration.get('delta.checkpointInterval')
    const interval = asked === undefined ? CHECKPOINT_INTERVAL_MIN : Number(asked)
    if (!Number.isSafeInteger(interval) || interval < 1 || version % BigInt(interval) !== 0n) return
    if (asked === undefined && version < this.#next) return
    const isWaiting = this.#waiting !== undefined
    // Where commits come quicker than checkpoints are written, some are passed over.
    this.#waiting = snapshot
    if (isWaiting) return
    this.#writing = this.#writing
      .then(async () => {
        const due = this.#waiting ?? snapshot
        this.#waiting = undefined
        if (asked !== undefined || (await this.#isDue(due))) await this.write(due)
      })
      .catch(() => undefined)
  }

  /** Waits for what is being written. */
  close(): Promise<void> {
    return this.#writing
  }

  /** True if enough commits stand behind the last checkpoint, ours or another writer's. */
  async #isDue({ version, live, state }: Snapshot): Promise<boolean> {
    const actions = live.size + state.tombstones.size + state.txns.size + state.domains.size
    const interval = Math.floor(actions / CHECKPOINTED_ACTIONS_PER_COMMIT)
    if (interval <= CHECKPOINT_INTERVAL_MIN) return true
    const last = (await lastCheckpoint(this.#store)) ?? 0n
    this.#next = last + BigInt(Math.min(interval, CHECKPOINT_INTERVAL_MAX))
    return version >= this.#next
  }
}
