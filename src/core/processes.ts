import { errnoOf } from './errors.ts'

/** Returns true while a process runs; one of another user does, too. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return errnoOf(error) === 'EPERM'
  }
}
