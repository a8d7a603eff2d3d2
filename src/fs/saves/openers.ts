import type { Caller } from '../filesystem.ts'

/** A process that has a file open for writing, by a descriptor or a shared mapping. */
export interface Opener {
  readonly pid: number
  readonly parent: number
  /** In clock ticks since boot: with the pid it names a process for ever. */
  readonly startTime: string
  readonly command: string
  /** undefined: a shared writable mapping. */
  readonly descriptor: number | undefined
  /** The position of the descriptor, in bytes. */
  readonly position: number
  /** Opened with O_APPEND: it cannot be what rewrites the file. */
  readonly append: boolean
  /** It is in the middle of a system call that waits for a device or a server (state D). */
  readonly waits: boolean
}

/** A process that had a file open and was killed, or is being killed. */
export interface Killed {
  readonly pid: number
  readonly command: string
  /** The number of the signal. */
  readonly signal: number
}

export interface Openings {
  readonly openers: readonly Opener[]
  /** Processes that were killed, and wait for a last flush of files that they no longer have: of which, nobody can tell. */
  readonly dying: readonly (Killed & { readonly uid: number })[]
}

/**
 * Tells who has files of a mount open for writing. NFSv3 tells a server nothing of it; where the clients run in the server's
 * own kernel, that kernel does (see ProcOpeners).
 */
export interface Openers {
  /** True if the processes behind a caller's calls can be seen. */
  canSee(caller: Caller): Promise<boolean>
  /** The processes that have one file open, by its file id. `mappings`: shared writable mappings count, too, which costs more. */
  look(fileId: bigint, mappings: boolean): Promise<Openings>
  /** The signal that a process was killed by, if it is being killed, or waits to be reaped. */
  killedBy(opener: Opener): Killed | undefined
  /** True if it is in the middle of a system call that waits for a device or a server (state D). */
  isWaiting(opener: Opener): boolean
}

/** For places where nothing can be told. */
export const noOpeners: Openers = {
  canSee: async () => false,
  look: async () => ({ openers: [], dying: [] }),
  killedBy: () => undefined,
  isWaiting: () => false,
}
