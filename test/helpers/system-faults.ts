import { mock } from 'bun:test'
import * as fs from 'node:fs'
import * as promises from 'node:fs/promises'
import type { Fault, When } from './faults.ts'

/** Calls that change what is on disk. Each throws the system's error, or gives it to the callback that stands last. */
const SYNC = [
  'writeSync',
  'writeFileSync',
  'appendFileSync',
  'fsyncSync',
  'fdatasyncSync',
  'ftruncateSync',
  'renameSync',
  'linkSync',
  'unlinkSync',
  'rmSync',
  'mkdirSync',
  'rmdirSync',
  'chmodSync',
  'fchmodSync',
] as const
const CALLBACK = ['write', 'fsync', 'fdatasync', 'ftruncate'] as const
const PROMISED = ['rename', 'link', 'unlink', 'rm', 'mkdir', 'rmdir', 'appendFile', 'writeFile', 'truncate'] as const
/** Of a file that is open. */
const HANDLED = ['write', 'writev', 'writeFile', 'appendFile', 'sync', 'datasync', 'truncate'] as const

type Any = (...args: unknown[]) => unknown
type Functions = Record<string, unknown>

/** Lets the n-th call of the system that changes what is on disk fail, of all that this process makes. */
export class SystemFaults {
  #left = Number.POSITIVE_INFINITY
  #when: When = 'before'
  #isLasting = false
  hasFailed = false
  /** What failed, for messages. */
  failed = ''

  /** From then on all calls of node:fs go through it, in modules that are loaded already, too. */
  async install(): Promise<void> {
    const real = { ...fs } as Functions
    const realPromises = { ...promises } as Functions
    const module = { ...real }
    for (const name of SYNC) module[name] = this.#sync(name, real[name] as Any)
    for (const name of CALLBACK) module[name] = this.#callback(name, real[name] as Any)
    module['openSync'] = this.#openSync(real['openSync'] as Any)
    const promised = { ...realPromises }
    for (const name of PROMISED) promised[name] = this.#promised(name, realPromises[name] as Any)
    promised['open'] = this.#open(realPromises['open'] as Any)
    await mock.module('node:fs', () => ({ ...module, default: module }))
    await mock.module('node:fs/promises', () => ({ ...promised, default: promised }))
  }

  arm({ n, when, lasting = false }: Pick<Fault, 'n' | 'when' | 'lasting'>): void {
    this.#left = n
    this.#when = when
    this.#isLasting = lasting
    this.hasFailed = false
    this.failed = ''
  }

  heal(): void {
    this.#left = Number.POSITIVE_INFINITY
    this.#isLasting = false
  }

  #fails(name: string): Error | undefined {
    if (--this.#left > 0 || (this.#left < 0 && !this.#isLasting)) return undefined
    this.hasFailed = true
    this.failed = name
    const code = /sync$|Sync$/.test(name) && /^f?(data)?sync/.test(name) ? 'EIO' : 'ENOSPC'
    return Object.assign(new Error(`${code}: injected, ${name}`), { code })
  }

  #sync(name: string, run: Any): Any {
    return (...args) => {
      const error = this.#fails(name)
      if (error !== undefined && this.#when === 'before') throw error
      const result = run(...args)
      if (error !== undefined) throw error
      return result
    }
  }

  #callback(name: string, run: Any): Any {
    return (...args) => {
      const error = this.#fails(name)
      if (error === undefined) return run(...args)
      const done = args.at(-1) as (error: Error) => void
      if (this.#when === 'before') return void setImmediate(done, error)
      return run(...args.slice(0, -1), () => done(error))
    }
  }

  #promised(name: string, run: Any): Any {
    return async (...args) => {
      const error = this.#fails(name)
      if (error !== undefined && this.#when === 'before') throw error
      const result = await run(...args)
      if (error !== undefined) throw error
      return result
    }
  }

  #openSync(run: Any): Any {
    return (...args) => {
      const error = makesFile(args[1]) ? this.#fails('openSync') : undefined
      if (error !== undefined) throw error
      return run(...args)
    }
  }

  #open(run: Any): Any {
    return async (...args) => {
      const error = makesFile(args[1]) ? this.#fails('open') : undefined
      if (error !== undefined) throw error
      const handle = (await run(...args)) as Functions
      for (const name of HANDLED) handle[name] = this.#promised(name, (handle[name] as Any).bind(handle))
      return handle
    }
  }
}

function makesFile(flags: unknown): boolean {
  if (typeof flags === 'number') return (flags & fs.constants.O_CREAT) !== 0
  return typeof flags === 'string' && /[wa]/.test(flags)
}
