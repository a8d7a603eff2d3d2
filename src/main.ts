import { EXIT, nearest, report, UsageError } from './cli/command.ts'
import { COMMANDS, commandNamed, overview, VERSION } from './cli/commands/index.ts'

async function main(argv: readonly string[]): Promise<number> {
  const [name, ...raw] = argv
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    const text = overview()
    ;(name === undefined ? process.stderr : process.stdout).write(text)
    return name === undefined ? EXIT.usage : EXIT.done
  }
  if (name === '--version' || name === '-v' || name === 'version') {
    process.stdout.write(`posixlake ${VERSION}\n`)
    return EXIT.done
  }
  const found = await commandNamed(name)
  if (found === undefined) {
    const names = COMMANDS.map(known => known.name)
    throw new UsageError(`there is no command ${name}${nearest(name, names)}; see posixlake --help`)
  }
  return found.execute(raw)
}

// A reader that went away (`posixlake cat t | head`) has seen enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(EXIT.done)
})

process.exitCode = await main(process.argv.slice(2)).catch(report)
