import { type Command, nearest, report, UsageError } from './cli/command.ts'
import { COMMANDS, commandNamed, overview, VERSION } from './cli/commands/index.ts'
import { EXIT } from './cli/exit.ts'
import { note, print } from './cli/output.ts'

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...raw] = argv
  if (name === undefined) {
    note(overview().trimEnd())
    return EXIT.usage
  }
  if (name === 'help' || name === '--help' || name === '-h') {
    const [about] = raw
    if (about !== undefined) return (await theCommand(about)).execute(['--help'])
    await print(overview())
    return EXIT.done
  }
  if (name === '--version' || name === '-v' || name === '-V' || name === 'version') {
    await print(`posixlake ${VERSION}\n`)
    return EXIT.done
  }
  return (await theCommand(name)).execute(raw)
}

async function theCommand(name: string): Promise<Command> {
  const found = await commandNamed(name)
  if (found !== undefined) return found
  if (name.startsWith('-')) {
    const near = nearest(name.replace(/^--?/, ''), ['help', 'version'], '--')
    throw new UsageError(`posixlake has no flag ${name} before a command${near}; see posixlake --help`)
  }
  const names = COMMANDS.map(known => known.name)
  throw new UsageError(`there is no command ${name}${nearest(name, names)}; see posixlake --help`)
}

process.exitCode = await main(process.argv.slice(2)).catch(report)
