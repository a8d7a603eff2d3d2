const COLLECT_AFTER_BYTES = 64 << 20

let spentBytes = 0

/**
 * To be told of large buffers (and mappings of files) that were done with: the collector does not see how large they
 * are, and in a thread that is never idle would let gigabytes of them lie. Collects now and then.
 */
export function discarded(bytes: number): void {
  spentBytes += bytes
  if (spentBytes < COLLECT_AFTER_BYTES) return
  collect()
}

/** Collects now. */
export function collect(): void {
  spentBytes = 0
  Bun.gc(true)
}

/** Gives as much memory back to the system as can be, compiled code too: for when nothing is done for a while. */
export function giveBack(): void {
  collect()
  Bun.shrink()
}
