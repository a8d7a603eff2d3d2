/** What a system command printed and returned. */
export interface CommandResult {
  readonly code: number
  readonly output: string
}

/** Runs a system command; its two outputs come as one text. Code 127 stands for a command that is not there. */
export async function runCommand(command: readonly string[]): Promise<CommandResult> {
  try {
    // From the root folder: a folder of a hanging mount must not be what the command starts in.
    const child = Bun.spawn([...command], {
      cwd: '/',
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'pipe',
      env: commandEnvironment(),
    })
    const [stdout, stderr, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ])
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
