/** Exit statuses: 0 done, 1 it failed, 2 the command line was not understood. */
export const EXIT = { done: 0, failed: 1, usage: 2 } as const
