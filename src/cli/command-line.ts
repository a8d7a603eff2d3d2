import type { ArgDef, ArgsDef } from 'citty'
import { editDistance } from '../core/edit-distance.ts'
import { LakeError } from '../core/errors.ts'

/** A command line that cannot be understood. */
export class UsageError extends LakeError<'usage'> {
  constructor(message: string) {
    super('usage', message)
  }
}

/** The flags and arguments that a command line may have. */
export interface Grammar {
  /** Of the command, for messages. */
  readonly name: string
  readonly args: ArgsDef
  /** The name of further arguments, if any are taken. */
  readonly rest?: string
}

export interface CommandLine {
  /** By the names of the arguments; those that are not given have their defaults, if there are any. */
  readonly values: Readonly<Record<string, string | boolean>>
  readonly rest: readonly string[]
}

/** True if a command line asks for help, whatever else stands in it. */
export function asksForHelp(raw: readonly string[]): boolean {
  const end = raw.indexOf('--')
  return (end < 0 ? raw : raw.slice(0, end)).some(token => token === '--help' || token === '-h')
}

/**
 * Parses a command line by the POSIX and GNU conventions, and strictly. UsageError for unknown and repeated flags, flags
 * without a value or with one that they do not take, unknown choices, and missing and further arguments.
 */
export function parseCommandLine(grammar: Grammar, raw: readonly string[]): CommandLine {
  const flags: Record<string, string | boolean> = {}
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
    const { name, value } = flagOf(grammar, token)
    const definition = grammar.args[name]!
    if (definition.type === 'boolean') {
      if (value !== undefined) throw new UsageError(`--${name} takes no value`)
      flags[name] = true
      continue
    }
    const given = value ?? raw[++i]
    checkValue(name, definition, given)
    // The last of two would win, and what the first one said would be lost without a word.
    if (flags[name] !== undefined) throw new UsageError(`--${name} is given twice`)
    flags[name] = given
  }
  const { named, rest } = placed(grammar, positionals)
  return { values: { ...defaultsOf(grammar.args), ...flags, ...named }, rest }
}

function checkValue(name: string, definition: ArgDef, given: string | undefined): asserts given is string {
  if (given === undefined) {
    const hint = definition.valueHint === undefined ? '' : `: --${name} ${definition.valueHint}`
    throw new UsageError(`--${name} needs a value${hint}`)
  }
  const options = definition.type === 'enum' ? definition.options : undefined
  if (options === undefined || options.includes(given)) return
  throw new UsageError(`--${name} is one of ${options.join(', ')}, not ${given}${nearest(given, options)}`)
}

function flagOf({ name: commandName, args }: Grammar, token: string): { name: string; value: string | undefined } {
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

function defaultsOf(args: ArgsDef): Record<string, string | boolean> {
  return Object.fromEntries(
    Object.entries(args).flatMap(([name, { default: value }]) => (value === undefined ? [] : [[name, value]])),
  )
}

/** The positional arguments by their names, and those behind them. */
function placed(
  { name, args, rest: restName }: Grammar,
  positionals: readonly string[],
): { named: Record<string, string>; rest: readonly string[] } {
  const wanted = Object.entries(args).filter(([, definition]) => definition.type === 'positional')
  const missing = wanted.slice(positionals.length).find(([, definition]) => definition.required !== false)
  if (missing !== undefined)
    throw new UsageError(`posixlake ${name} needs ${missing[0].toUpperCase()}; see posixlake ${name} --help`)
  const rest = positionals.slice(wanted.length)
  if (rest.length > 0 && restName === undefined) {
    throw new UsageError(
      `posixlake ${name} does not know what to do with ${JSON.stringify(rest[0])}; see posixlake ${name} --help`,
    )
  }
  const given = wanted.slice(0, positionals.length)
  return { named: Object.fromEntries(given.map(([key], i) => [key, positionals[i]!])), rest }
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
