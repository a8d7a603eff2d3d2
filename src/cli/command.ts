import { type ArgsDef, type CommandDef, type ParsedArgs, renderUsage } from 'citty'
import { errnoOf, LakeError, messageOf } from '../core/errors.ts'
import { asksForHelp, parseCommandLine, UsageError } from './command-line.ts'
import { EXIT } from './exit.ts'
import { endedBy, Interrupted } from './interrupt.ts'
import { print } from './output.ts'

export { nearest, UsageError } from './command-line.ts'

/** The arguments by name: a misspelt name does not compile, which citty's own type lets pass. A flag that is not given is undefined. */
export type Args<T extends ArgsDef> = { readonly [K in keyof T & string]: ParsedArgs<T>[K] }

export interface CommandSpec<T extends ArgsDef> {
  readonly name: string
  readonly summary: string
  readonly examples: readonly string[]
  readonly args: T
  /** The name of further arguments, if any are taken. */
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

/** A command of posixlake: strict about flags, values and the number of arguments. citty renders its help. */
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
      const { values, rest } = parseCommandLine({ ...spec, args }, raw)
      return (await spec.run(values as Args<T>, rest)) ?? EXIT.done
    },
  }
}

/** Errors of system calls that come from the state of the machine, not from a fault here, as sentences. */
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
