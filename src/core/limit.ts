/** The result of something that may take too long, or undefined once `limitMs` have passed. It goes on behind our back. */
export async function withinMs<T>(limitMs: number, work: Promise<T>): Promise<T | undefined> {
  let timer: Timer | undefined
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(resolve, limitMs, undefined)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
