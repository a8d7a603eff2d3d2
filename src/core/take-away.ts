import { rmSync } from 'node:fs'

/**
 * Removes a folder or file that is not needed any more. Where that fails, no harm is done but to the space that it takes: it
 * must not look as if what was done with it had failed. What an ended process left, the next start removes.
 */
export function takeAway(path: string): void {
  try {
    rmSync(path, { recursive: true, force: true })
  } catch {
    // It stays.
  }
}
