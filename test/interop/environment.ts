import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

/** Other readers and writers of Delta, as pip has them. */
const PACKAGES = [
  'deltalake==1.6.6',
  'duckdb==1.5.5',
  'duckdb-extension-delta==1.5.5',
  'pyarrow==26.0.1',
  'fastparquet==2026.9.0',
  'pandas==3.1.1',
  'pyspark==4.0.1',
  'delta-spark==4.0.1',
]
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
  const made = run(['python3', '-m', 'venv', FOLDER])
  if (!made.ok) throw new Error(`python3 with venv is needed, on Debian the package python3-venv: ${made.output}`)
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

/** Spark with Delta Lake: one session, which answers one request after the other. */
export class Spark {
  readonly #process: Bun.Subprocess<'pipe', 'pipe', Bun.BunFile>
  readonly #answers: AsyncIterator<string>
  readonly #log: string

  private constructor(log: string, env: Readonly<Record<string, string>>) {
    this.#log = log
    this.#process = Bun.spawn([python(), join(import.meta.dir, 'spark.py'), FOLDER], {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: Bun.file(log),
      env: { ...process.env, ...env },
    })
    this.#answers = linesOf(this.#process.stdout)
  }

  /** Starts a session. `log`: the file for what Spark says besides; `env`: environment besides that of this process. */
  static async start(log: string, env: Readonly<Record<string, string>> = {}): Promise<Spark> {
    const spark = new Spark(log, env)
    await spark.sql('SELECT 1')
    return spark
  }

  /** Runs statements one after the other; the rows of the last. Rejects with Spark's sentence. */
  sql(...statements: string[]): Promise<unknown[][]> {
    return this.call('sql', ...statements) as Promise<unknown[][]>
  }

  /** Calls a function of spark.py. */
  async call(op: string, ...args: string[]): Promise<unknown> {
    this.#process.stdin.write(`${JSON.stringify({ op, args })}\n`)
    await this.#process.stdin.flush()
    const { value, done } = await this.#answers.next()
    if (done) throw new Error(`Spark ended; it needs Java 17 or newer:\n${readFileSync(this.#log, 'utf8')}`)
    const answer = JSON.parse(value) as { ok: unknown } | { error: string }
    if ('error' in answer) throw new Error(`${op}(${args.join('; ')}): ${answer.error}`)
    return answer.ok
  }

  async stop(): Promise<void> {
    await this.#process.stdin.end()
    await this.#process.exited
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of stream) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = lines.pop()!
    yield* lines
  }
  return undefined
}

/** Installs the engines. Spark fetches its jars at the first start of a session, which no two may do at once. */
async function install(): Promise<void> {
  python()
  if (existsSync(join(FOLDER, 'ivy', 'packages'))) return
  const spark = await Spark.start(join(FOLDER, 'spark.log'))
  await spark.stop()
}

// Run by itself, it installs the engines.
if (import.meta.main) await install()
