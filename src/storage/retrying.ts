/** The number and the times of further attempts. */
export interface RetryPolicy {
  readonly attemptsMax: number
  /** No attempt begins later than this after the first one. */
  readonly totalMsMax: number
  readonly firstDelayMs: number
  readonly delayMsMax: number
}

/** Bounded by time alone: with short delays by chance, ten attempts are over in three seconds. */
export const RETRIES: RetryPolicy = {
  attemptsMax: Number.POSITIVE_INFINITY,
  totalMsMax: 20_000,
  firstDelayMs: 100,
  delayMsMax: 5000,
}

/** Says that there is use in another attempt; undefined: there is none. `afterMs`: no earlier, the store says. */
export type Retry = { readonly afterMs?: number | undefined } | undefined

/** Time and chance, which tests replace. */
export interface RetrySeams {
  readonly nowMs: () => number
  readonly sleep: (ms: number) => Promise<void>
  readonly random: () => number
}

const SYSTEM: RetrySeams = { nowMs: () => performance.now(), sleep: Bun.sleep, random: Math.random }

/**
 * Runs something until it goes well, within the bounds of a policy; rejects as the last attempt did. Between attempts there
 * is a random part of a time that doubles ("full jitter"), so that many who failed together do not come again together.
 */
export async function retried<T>(
  run: () => Promise<T>,
  retryOf: (error: unknown) => Retry,
  policy: RetryPolicy = RETRIES,
  { nowMs, sleep, random }: RetrySeams = SYSTEM,
): Promise<T> {
  const startMs = nowMs()
  for (let attempt = 1; ; attempt++) {
    try {
      return await run()
    } catch (error) {
      const retry = retryOf(error)
      if (retry === undefined || attempt >= policy.attemptsMax) throw error
      const boundMs = Math.min(policy.delayMsMax, policy.firstDelayMs * 2 ** (attempt - 1))
      const delayMs = Math.max(random() * boundMs, retry.afterMs ?? 0)
      if (nowMs() - startMs + delayMs > policy.totalMsMax) throw error
      await sleep(delayMs)
    }
  }
}
