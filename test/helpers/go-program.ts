import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, join } from 'node:path'

/** A program that is to be had as source only. `path`: of its package, as Go names it. */
export interface GoProgram {
  readonly name: string
  readonly path: string
  readonly version: string
}

/** Where programs that tests need are kept between runs, beside the clone and not in it: building one takes minutes. */
function folder(): string {
  return process.env['POSIXLAKE_ENGINES'] ?? join(homedir(), '.cache', 'posixlake-engines')
}

/** Returns the path of a program, which is built if it is missing; that takes Go 1.21 or newer, which fetches a newer one by itself. */
export function goProgram({ name, path, version }: GoProgram): string {
  const bin = join(folder(), 'bin')
  const program = join(bin, `${basename(path)}-${version.replace(/^v0\.0\.0-(\d+)-.*/, '$1')}`)
  if (existsSync(program)) return program
  const building = join(bin, `building-${process.pid}`)
  mkdirSync(building, { recursive: true })
  try {
    // Where Go installs itself is in nobody's PATH by itself.
    const go = Bun.which('go') ?? '/usr/local/go/bin/go'
    const { success } = Bun.spawnSync([go, 'install', `${path}@${version}`], {
      env: { ...process.env, GOBIN: building, GOFLAGS: '-modcacherw' },
      stdin: 'ignore',
      stdout: 'inherit',
      stderr: 'inherit',
    })
    if (!success) throw new Error('see above')
    renameSync(join(building, basename(path)), program)
  } catch (error) {
    throw new Error(`${name} cannot be built: it needs Go 1.21 or newer and a module proxy: ${error}`)
  } finally {
    rmSync(building, { recursive: true, force: true })
  }
  return program
}
