import { type ArgsDef, type CommandDef, type ParsedArgs, parseArgs, renderUsage } from 'citty'
import { editDistance } from '../core/edit-distance.ts'
import { errnoOf, LakeError, messageOf } from '../core/errors.ts'
import { EXIT } from './exit.ts'
import { endedBy, Interrupted } from './interrupt.ts'
import { print } from './output.ts'

/** A command line that cannot be understood. */
export class UsageError extends LakeError<'usage'> {
  constructor(message: string) {
    super('usage', message)
  }
}

/** The arguments by name: a misspelt name does not compile, which citty's own type lets pass. */
export type Args<T extends ArgsDef> = { readonly [K in keyof T & string]: ParsedArgs<T>[K] }

export interface CommandSpec<T extends ArgsDef> {
  readonly name: string
  readonly summary: string
  readonly examples: readonly string[]
  readonly args: T
  /** What further arguments are called, if any are taken. */
  readonly rest?: string
  /** The exit status; done if undefined. */
  readonly run: (args: Args<T>, rest: readonly string[]) => Promise<number | undefined>
}

export interface Command {
  readonly name: string
  readonly summary: string
  help(): Promise<string>
  execute(raw: readonly string[]): Promise<number>
}

/** A command of posixlake over citty: strict about flags, values and the number of arguments. */
export function command<const T extends ArgsDef>(spec: CommandSpec<T>): Command {
  const args: ArgsDef = { ...spec.args, help: { type: 'boolean', alias: 'h', description: 'Show this help' } }
  const definition: CommandDef = { meta: { name: `posixlake ${spec.name}`, description: spec.summary }, args }
  const help = async (): Promise<string> => {
    const usage = (await renderUsage(definition)).trimEnd()
    // citty pads its columns at the end of the line, too.
    const lines = (process.stdout.isTTY ? usage : Bun.stripANSI(usage)).replace(/ +$/gm, '')
    return `${lines}\n\nEXAMPLES\n\n${spec.examples.map(example => `  ${example}`).join('\n')}\n`
  }
  return {
    name: spec.name,
    summary: spec.summary,
    help,
    execute: async raw => {
      if (asksForHelp(raw)) {
        await print(await help())
        return EXIT.done
      }
      const checked = check(spec, args, raw)
      const parsed = parseArgs<T>(checked.raw, spec.args)
      return (await spec.run(parsed as unknown as Args<T>, checked.rest)) ?? EXIT.done
    },
  }
}

function asksForHelp(raw: readonly string[]): boolean {
  const end = raw.indexOf('--')
  return (end < 0 ? raw : raw.slice(0, end)).some(token => token === '--help' || token === '-h')
}

/** Refuses what citty would let pass: unknown flags, flags without a value, unknown choices, missing and further arguments. */
function check<T extends ArgsDef>(
  spec: CommandSpec<T>,
  args: ArgsDef,
  raw: readonly string[],
): { raw: string[]; rest: string[] } {
  const flags: string[] = []
  const positionals: string[] = []
  for (let i = 0; i < raw.length; i++) {
    const token = raw[i]!
    if (token === '--') {
      positionals.push(...raw.slice(i + 1))
      break
    }
    if (!token.startsWith('-') || token === '-') {
      positionals.push(token)
      continue
    }
    const { name, value } = flagOf(spec.name, args, token)
    const definition = args[name]!
    if (definition.type === 'boolean') {
      if (value !== undefined) throw new UsageError(`--${name} takes no value`)
      flags.push(`--${name}`)
      continue
    }
    const given = value ?? raw[++i]
    if (given === undefined)
      throw new UsageError(
        `--${name} needs a value${definition.valueHint === undefined ? '' : `: --${name} ${definition.valueHint}`}`,
      )
    const options = definition.type === 'enum' ? definition.options : undefined
    if (options !== undefined && !options.includes(given)) {
      throw new UsageError(`--${name} is one of ${options.join(', ')}, not ${given}${nearest(given, options)}`)
    }
    // The last of two would win, and what the first one said would be lost without a word.
    if (flags.some(flag => flag.startsWith(`--${name}=`))) throw new UsageError(`--${name} is given twice`)
    flags.push(`--${name}=${given}`)
  }
  return { raw: [...flags, '--', ...positionals], ...placed(spec, positionals) }
}

function flagOf(commandName: string, args: ArgsDef, token: string): { name: string; value: string | undefined } {
  const equals = token.indexOf('=')
  const written = equals < 0 ? token : token.slice(0, equals)
  const bare = written.replace(/^--?/, '')
  const names = Object.keys(args).filter(name => args[name]!.type !== 'positional')
  const name =
    names.find(candidate => candidate === bare && written.startsWith('--')) ??
    names.find(candidate => aliasesOf(args, candidate).includes(bare))
  if (name === undefined) {
    throw new UsageError(
      `posixlake ${commandName} has no flag ${written}${nearest(bare, names, '--')}; see posixlake ${commandName} --help`,
    )
  }
  return { name, value: equals < 0 ? undefined : token.slice(equals + 1) }
}

function aliasesOf(args: ArgsDef, name: string): readonly string[] {
  const definition = args[name]!
  const alias = 'alias' in definition ? definition.alias : undefined
  return alias === undefined ? [] : [alias].flat()
}

function placed<T extends ArgsDef>(spec: CommandSpec<T>, positionals: readonly string[]): { rest: string[] } {
  const wanted = Object.entries(spec.args).filter(([, definition]) => definition.type === 'positional')
  const missing = wanted.slice(positionals.length).find(([, definition]) => definition.required !== false)
  if (missing !== undefined)
    throw new UsageError(`posixlake ${spec.name} needs ${missing[0].toUpperCase()}; see posixlake ${spec.name} --help`)
  const rest = positionals.slice(wanted.length)
  if (rest.length > 0 && spec.rest === undefined) {
    throw new UsageError(
      `posixlake ${spec.name} does not know what to do with ${JSON.stringify(rest[0])}; see posixlake ${spec.name} --help`,
    )
  }
  return { rest }
}

/** " (did you mean X?)" for the nearest of some names, if one is near; of two that are as near, one with the same initial. */
export function nearest(given: string, names: readonly string[], prefix = ''): string {
  let best: string | undefined
  let least = Math.max(2, Math.ceil(given.length / 3)) + 1
  for (const name of names) {
    const sameInitial = name[0]?.toLowerCase() === given[0]?.toLowerCase()
    const distance = editDistance(given.toLowerCase(), name.toLowerCase()) + (sameInitial ? 0 : 0.5)
    if (distance < least) {
      best = name
      least = distance
    }
  }
  return best === undefined ? '' : ` (did you mean ${prefix}${best}?)`
}

/** What system calls fail with because of what is on the machine, not because of us. */
const SYSTEM_ERRORS: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EDQUOT: 'the disk quota is used up',
  EEXIST: 'something of that name is there already',
  EIO: 'the disk reports an error',
  EISDIR: 'this is a folder, not a file',
  ELOOP: 'too many symbolic links lead on from here',
  EMFILE: 'too many files are open',
  ENAMETOOLONG: 'the name is too long',
  ENOENT: 'there is no such file or folder',
  ENOSPC: 'the disk is full',
  ENOTDIR: 'a part of this path is a file, not a folder',
  EPERM: 'this is not permitted',
  EROFS: 'the file system is read-only',
}

/** A failed system call as a sentence, or undefined for what is none. */
function systemSentence(error: unknown): string | undefined {
  const words = SYSTEM_ERRORS[errnoOf(error) ?? '']
  if (words === undefined) return undefined
  const { path } = error as NodeJS.ErrnoException
  return path === undefined ? `${words} (${messageOf(error)})` : `${path}: ${words}`
}

/** Prints what went wrong in one line, and gives the exit status. */
export function report(error: unknown): number {
  if (error instanceof Interrupted) return endedBy(error)
  if (error instanceof UsageError) {
    process.stderr.write(`posixlake: ${error.message}\n`)
    return EXIT.usage
  }
  const expected = error instanceof LakeError ? error.message : systemSentence(error)
  process.stderr.write(
    expected === undefined
      ? `posixlake: this is a defect in posixlake: ${messageOf(error)} (POSIXLAKE_DEBUG=1 shows where)\n`
      : `posixlake: ${expected}\n`,
  )
  if (process.env['POSIXLAKE_DEBUG'] === '1' && error instanceof Error) process.stderr.write(`${error.stack}\n`)
  return EXIT.failed
}
