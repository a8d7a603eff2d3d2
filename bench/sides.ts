import { cpSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { type Handle, NfsClient } from '../test/nfs/client.ts'
import { median } from './median.ts'
import { peakMegabytes, served, treeCpuMs, watchPeak } from './served.ts'

/*
 * posixlake and the engines beside it, as processes that do one thing and end, or stay and are asked.
 */

const BINARY = resolve(process.env['POSIXLAKE'] ?? 'dist/posixlake')
export const PYTHON = process.env['BENCH_PYTHON'] ?? 'python3'
export const SCRIPT = join(import.meta.dir, 'scale.py')

/** Seconds on the wall and of the processor. */
export interface Cost {
  readonly seconds: number
  readonly busy: number
}

/** A process of delta-rs that stays. */
export class DeltaRs implements Disposable {
  readonly #child = Bun.spawn([PYTHON, SCRIPT], { stdin: 'pipe', stdout: 'pipe', stderr: 'inherit' })
  readonly #answers = this.#child.stdout.getReader()

  /** What an operation of scale.py takes. */
  async call(...words: readonly (string | number)[]): Promise<Cost> {
    this.#child.stdin.write(`${JSON.stringify(words)}\n`)
    await this.#child.stdin.flush()
    let line = ''
    while (!line.endsWith('\n')) {
      const { value } = await this.#answers.read()
      if (value === undefined) throw new Error(`delta-rs ended: ${words.join(' ')}`)
      line += new TextDecoder().decode(value)
    }
    const [seconds, busy] = JSON.parse(line) as [number, number]
    return { seconds, busy }
  }

  [Symbol.dispose](): void {
    this.#child.kill()
  }
}

interface Process extends Cost {
  readonly peakMegabytes: number
}

/** A server that runs, and a client of it. */
export interface Serving {
  readonly client: NfsClient
  readonly root: Handle
  /** Another client. */
  readonly connect: () => Promise<NfsClient>
  readonly peak: () => number
  /** Seconds of the processor so far. */
  readonly busy: () => number
  cost(change: () => Promise<void>): Promise<Cost>
}

/** The processes of a bench: all that they keep is in its folder. */
export class Sides {
  readonly folder: string
  readonly #environment: Record<string, string | undefined>

  constructor(folder: string) {
    this.folder = folder
    this.#environment = {
      ...process.env,
      XDG_CACHE_HOME: join(folder, 'cache'),
      XDG_STATE_HOME: join(folder, 'state'),
    }
    Object.assign(process.env, { XDG_STATE_HOME: this.#environment['XDG_STATE_HOME'] })
  }

  posixlake(...args: readonly string[]): Promise<Process> {
    return this.run(BINARY, ...args)
  }

  /** Runs a process to its end. */
  async run(...command: readonly string[]): Promise<Process> {
    const started = performance.now()
    const child = Bun.spawn([...command], {
      env: this.#environment,
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'pipe',
    })
    const peak = watchPeak(child.pid)
    const [said, code] = await Promise.all([child.stderr.text(), child.exited])
    const seconds = (performance.now() - started) / 1000
    if (code !== 0) throw new Error(`${command.join(' ')}: exit status ${code}: ${said}`)
    return { seconds, busy: Number(child.resourceUsage()!.cpuTime.total) / 1e6, peakMegabytes: peak() }
  }

  async withServer<T>(location: string, use: (serving: Serving) => Promise<T>): Promise<T> {
    const { client, server, port } = await served(BINARY, location, this.folder)
    try {
      return await use({
        client,
        root: await client.mount('/posixlake'),
        connect: () => NfsClient.connect({ port }),
        peak: () => peakMegabytes(server.pid),
        busy: () => treeCpuMs(server.pid) / 1000,
        cost: async change => {
          const [started, before] = [performance.now(), treeCpuMs(server.pid)]
          await change()
          return { seconds: (performance.now() - started) / 1000, busy: (treeCpuMs(server.pid) - before) / 1000 }
        },
      })
    } finally {
      await client[Symbol.asyncDispose]()
      server.kill('SIGTERM')
      await server.exited
    }
  }

  forgetTexts(): void {
    rmSync(join(this.folder, 'cache', 'posixlake', 'text'), { recursive: true, force: true })
  }

  /** A table that is as it was at first, for each measurement. */
  copyOf(location: string): string {
    const copy = join(this.folder, 'copy')
    rmSync(copy, { recursive: true, force: true })
    // Files that are data never change: the copy has the same.
    Bun.spawnSync(['cp', '-al', location, copy])
    rmSync(join(copy, '_delta_log'), { recursive: true })
    cpSync(join(location, '_delta_log'), join(copy, '_delta_log'), { recursive: true })
    return copy
  }
}

/** One row after the other, as `echo >>` appends them. */
export async function appendRows({ client, root }: Pick<Serving, 'client' | 'root'>, count: number): Promise<void> {
  const file = await client.walk(root, 'data/data.csv')
  for (let i = 0; i < count; i++) {
    const { size } = await client.getattr(file)
    await client.write(file, size, new TextEncoder().encode('-1,appended,1\n'), 'FILE_SYNC')
  }
}

/** As `echo SQL > .query`. */
export async function sql({ client, root }: Serving, statement: string): Promise<void> {
  const file = await client.walk(root, '.query')
  await client.setattr(file, { size: 0n })
  await client.write(file, 0n, new TextEncoder().encode(statement), 'FILE_SYNC')
}

/** Deletes 1,000 of so many rows, all over the table, as `delete` of scale.py does. */
export function deleteSql(rows: number): string {
  return `DELETE FROM data WHERE id % ${Math.trunc(rows / 1000)} = 1`
}

/** Merges so many rows, half of which are there, as `merge` of scale.py does. */
export function mergeSql(rows: number, count: number): string {
  return `MERGE INTO data t USING (SELECT i * ${Math.trunc(rows / count)} + (i % 2) * ${rows} AS id, 'merged' AS name, i AS value
    FROM range(${count}) r(i)) s ON t.id = s.id WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *`
}

/** The medians of some measurements. */
export function middle(costs: readonly Cost[]): Cost {
  return { seconds: median(costs.map(cost => cost.seconds)), busy: median(costs.map(cost => cost.busy)) }
}
