import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** Other readers and writers of Delta, as pip has them. */
const PACKAGES = ['deltalake==1.6.6', 'duckdb==1.5.5', 'duckdb-extension-delta==1.5.5', 'pyarrow==26.0.1']
const ROOT = resolve(import.meta.dir, '../..')
const FOLDER = join(ROOT, 'node_modules', '.interop')

export const BINARY = join(ROOT, 'dist', 'posixlake')

function run(command: readonly string[]): { ok: boolean; output: string } {
  const { success, stdout, stderr } = Bun.spawnSync([...command], { stdin: 'ignore' })
  return { ok: success, output: `${stdout}${stderr}` }
}

/** Makes the Python environment with the engines, unless it is there; gives its Python. */
export function python(): string {
  const wanted = PACKAGES.join('\n')
  const stamp = join(FOLDER, 'packages')
  const program = join(FOLDER, 'bin', 'python')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return program
  rmSync(FOLDER, { recursive: true, force: true })
  mkdirSync(FOLDER, { recursive: true })
  const make = ['python3', '-m', 'venv', FOLDER]
  if (!run(make).ok) {
    // Debian keeps venv in a package of its own.
    run(['apt-get', 'install', '-y', '-qq', '--no-install-recommends', 'python3-venv'])
    const made = run(make)
    if (!made.ok) throw new Error(`python3 with venv is needed: ${made.output}`)
  }
  const installed = run([program, '-m', 'pip', 'install', '-q', '--disable-pip-version-check', ...PACKAGES])
  if (!installed.ok) throw new Error(`the engines could not be installed: ${installed.output}`)
  writeFileSync(stamp, wanted)
  return program
}

/** Runs the built posixlake; fails with what it said. */
export function posixlake(...args: string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync([BINARY, ...args], { stdin: 'ignore' })
  if (!success) throw new Error(`posixlake ${args.join(' ')}: ${stderr}`)
  return stdout.toString()
}

/** Asks engines.py, which answers with JSON. */
export function engines(operation: string, ...args: string[]): unknown {
  const { success, stdout, stderr } = Bun.spawnSync(
    [python(), join(import.meta.dir, 'engines.py'), operation, ...args],
    { stdin: 'ignore' },
  )
  if (!success) throw new Error(`engines.py ${operation}: ${stderr}`)
  return JSON.parse(stdout.toString())
}
