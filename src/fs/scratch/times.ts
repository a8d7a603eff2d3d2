import { dlopen, FFIType, ptr } from 'bun:ffi'
import { futimesSync, lutimesSync } from 'node:fs'

/** The present, by the clock that the file system itself stamps changes with. */
export const NOW = Symbol('now')

type NewTime = bigint | typeof NOW

interface System {
  readonly libraries: readonly string[]
  /** AT_FDCWD, AT_SYMLINK_NOFOLLOW and UTIME_NOW of the system's headers. */
  readonly cwd: number
  readonly noFollow: number
  readonly now: bigint
}

const SYSTEMS: Readonly<Record<string, System>> = {
  linux: {
    libraries: ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1', 'libc.so'],
    cwd: -100,
    noFollow: 0x100,
    now: (1n << 30n) - 1n,
  },
  darwin: { libraries: ['libSystem.B.dylib'], cwd: -2, noFollow: 0x20, now: -1n },
}

const SIGNATURES = {
  utimensat: { args: [FFIType.i32, FFIType.ptr, FFIType.ptr, FFIType.i32], returns: FFIType.i32 },
  futimens: { args: [FFIType.i32, FFIType.ptr], returns: FFIType.i32 },
} as const

/** False if the call failed. */
type SetTimes = (target: string | number, atime: NewTime, mtime: NewTime) => boolean

let loaded: SetTimes | undefined

/**
 * Sets both times of a path or of an open file, in nanoseconds since the epoch; a symbolic link is not followed. The
 * runtime's own calls take seconds as a double, which is off by up to 200 ns, so the C library is asked, where it can
 * be. Throws the runtime's error.
 */
export function setTimes(target: string | number, atime: NewTime, mtime: NewTime): void {
  loaded ??= load()
  if (loaded(target, atime, mtime)) return
  if (typeof target === 'number') futimesSync(target, seconds(atime), seconds(mtime))
  else lutimesSync(target, seconds(atime), seconds(mtime))
}

function load(): SetTimes {
  const system = SYSTEMS[process.platform]
  for (const library of system?.libraries ?? []) {
    try {
      return caller(dlopen(library, SIGNATURES).symbols, system!)
    } catch {
      // The next name is tried; without any, times are set by the runtime's calls.
    }
  }
  return () => false
}

function caller(
  { utimensat, futimens }: ReturnType<typeof dlopen<typeof SIGNATURES>>['symbols'],
  system: System,
): SetTimes {
  return (target, atime, mtime) => {
    const times = new BigInt64Array([...timespec(atime, system), ...timespec(mtime, system)])
    if (typeof target === 'number') return futimens(target, ptr(times)) === 0
    return utimensat(system.cwd, ptr(Buffer.from(`${target}\0`)), ptr(times), system.noFollow) === 0
  }
}

/** struct timespec of a 64-bit system: seconds, then 0 to 999,999,999 nanoseconds. */
function timespec(time: NewTime, system: System): [bigint, bigint] {
  if (time === NOW) return [0n, system.now]
  const nanoseconds = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n
  return [(time - nanoseconds) / 1_000_000_000n, nanoseconds]
}

function seconds(time: NewTime): number {
  return time === NOW ? Date.now() / 1000 : Number(time) / 1e9
}
