import { withinMs } from '../core/limit.ts'

/** The output and the exit status of a system command. */
export interface CommandResult {
  /** `late`: it was still running when its time was over. */
  readonly code: number | 'late'
  readonly output: string
}

/**
 * Runs a system command; its two outputs come as one text. Code 127 stands for a command that is not there. One that takes
 * longer than `limitMs` is killed, as far as it can be: it may hang in the kernel.
 */
export async function runCommand(command: readonly string[], limitMs?: number): Promise<CommandResult> {
  try {
    // From the root folder: a folder of a hanging mount must not be what the command starts in.
    const child = Bun.spawn([...command], {
      cwd: '/',
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
      env: commandEnvironment(),
    })
    const ended = Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ] as const)
    const result = await (limitMs === undefined ? ended : withinMs(limitMs, ended))
    if (result === undefined) {
      child.kill('SIGKILL')
      child.unref()
      return { code: 'late', output: '' }
    }
    const [stdout, stderr, code] = result
    return { code, output: `${stdout}${stderr}`.trim() }
  } catch (error) {
    return { code: 127, output: error instanceof Error ? error.message : String(error) }
  }
}

/** Messages in English, and the folders of system commands, which Debian leaves out for users. */
function commandEnvironment(): Record<string, string> {
  const path = process.env['PATH'] ?? ''
  return { ...(process.env as Record<string, string>), LC_ALL: 'C', PATH: `${path}:/usr/sbin:/sbin` }
}

/** An argument as a shell takes it. */
export function shellQuoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`
}
