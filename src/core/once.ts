/** Calls `make` once for all who ask; after a failure, whoever asks next makes it be called anew. */
export function onceDone<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    if (made !== undefined) return made
    const making = make()
    made = making
    making.catch(() => {
      if (made === making) made = undefined
    })
    return making
  }
}

/** Calls `work` once for all who ask while it is under way; whoever asks later makes it be called anew. */
export function onceAtATime<T>(work: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined
  return () => {
    running ??= work().finally(() => {
      running = undefined
    })
    return running
  }
}

/**
 * Calls `look` for whoever asks, one call at a time, and tells each what a call found that began after the question: one
 * under way may have missed what the asker knows of. All who ask before the next begins share it.
 */
export function foundSinceAsked<T>(look: () => Promise<T>): () => Promise<T> {
  const inTurn = inTurns()
  let next: Promise<T> | undefined
  return () => {
    next ??= inTurn(() => {
      next = undefined
      return look()
    })
    return next
  }
}

/** Does one piece of work after the other, in the order in which they were asked for, whatever becomes of those before. */
export function inTurns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return work => {
    const done = last.then(work, work)
    last = done
    return done
  }
}
