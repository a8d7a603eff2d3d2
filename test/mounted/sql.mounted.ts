import { describe, expect, test } from 'bun:test'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { begun, sqlProcesses, until } from '../sql/processes.ts'
import { type Mounted, mountTable, must } from './harness.ts'

/** Runs for hours. */
const SLOW = 'SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000000) b'

/** What a server has of statements that run, in its state folder. */
function leftOver(state: string): string[] {
  const folder = join(state, 'sql', 'processes')
  return existsSync(folder) ? readdirSync(folder) : []
}

/** Resolves when nothing of it is left. */
async function over(m: Mounted): Promise<void> {
  const state = await m.state()
  await until(() => sqlProcesses(m.table).length === 0 && leftOver(state).length === 0)
}

describe('SQL in a mount', () => {
  test('that is slow keeps no program waiting', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String' })
    await m.sh(`echo 1,a >> data/data.csv`)
    const writer = Bun.spawn(['bash', '-c', `exec cat > .query <<< '${SLOW}'`], { cwd: m.mount, stderr: 'ignore' })
    await begun(m.table)
    expect(await m.read()).toBe('id,name\n1,a\n')
    expect(
      (await m.sh('echo 2,b >> data/data.csv; sed -i s/1,a/1,A/ data/data.csv; cat data/data.csv; ls data')).stdout,
    ).toContain('id,name\n1,A\n2,b\n')
    expect(await must(['cat', join(m.mount, '.stats')])).toContain('"total_rows": 2')
    // It still runs.
    expect(writer.exitCode).toBeNull()
    expect(sqlProcesses(m.table)).toHaveLength(1)
    writer.kill('SIGKILL')
    await writer.exited
    await over(m)
    await m.close()
  }, 120_000)

  test('ends with the program that wrote it, however that is told to end', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String' })
    const insert = 'INSERT INTO data SELECT range, 1 FROM range(100000000000)'
    const writers: [string, string][] = [
      ['exec cat > .query', SLOW],
      ['exec tee .query', insert],
      [`exec python3 -c "import sys; open('.query', 'w').write(sys.stdin.read())"`, SLOW],
      ['exec dd of=.query conv=fsync', insert],
    ]
    for (const signal of ['SIGINT', 'SIGKILL', 'SIGTERM', 'SIGHUP'] as const) {
      const [command, sql] = writers.shift()!
      const writer = Bun.spawn(['bash', '-c', command], {
        cwd: m.mount,
        stdin: new TextEncoder().encode(`${sql}\n`),
        stdout: 'ignore',
        stderr: 'ignore',
      })
      await begun(m.table)
      writer.kill(signal)
      await writer.exited
      expect({ command, signal: writer.signalCode }).toEqual({ command, signal })
      await over(m)
      expect((await m.sh('cat .query')).stdout).toBe(
        'the statement was ended, as the program that asked for it is gone\n',
      )
      writers.push([command, sql])
    }
    expect(await m.read()).toBe('id,name\n')
    expect(await m.commits()).toBe(1)
    expect(await m.posixlake('query', m.table, 'SELECT 1 AS a', '--format', 'csv')).toMatchObject({ stdout: 'a\n1\n' })
    await m.close()
  }, 120_000)

  test('ends by Ctrl-C in a shell, which goes on', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String' })
    // A shell writes with echo itself, and catches the signal.
    const shell = Bun.spawn(['bash', '-c', `trap 'echo caught' INT; echo '${SLOW}' > .query; echo next`], {
      cwd: m.mount,
      stdout: 'pipe',
      stderr: 'ignore',
    })
    await begun(m.table)
    shell.kill('SIGINT')
    expect(await new Response(shell.stdout).text()).toBe('caught\nnext\n')
    await over(m)
    await m.close()
  }, 120_000)

  test('in queries/ ends with the last program that reads its result', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String' })
    await m.write(join(m.mount, 'queries', 'slow.sql'), SLOW)
    const read = () => Bun.spawn(['cat', 'queries/slow.csv'], { cwd: m.mount, stdout: 'ignore', stderr: 'ignore' })
    const reader = read()
    await begun(m.table)
    reader.kill('SIGINT')
    await reader.exited
    await over(m)
    expect(await m.errors()).toBe('')
    await m.close()
  }, 120_000)

  test('ends with the mount', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String' })
    const writer = Bun.spawn(['bash', '-c', `exec cat > .query <<< '${SLOW}'`], { cwd: m.mount, stderr: 'ignore' })
    await begun(m.table)
    const state = await m.state()
    // A program waits there, and so the mount is in use.
    expect(await m.posixlake('unmount', m.mount)).toMatchObject({ code: 1 })
    expect(await m.posixlake('unmount', m.mount, '--force')).toMatchObject({ code: 0 })
    expect(await writer.exited).not.toBe(0)
    expect(sqlProcesses(m.table)).toEqual([])
    expect(leftOver(state)).toEqual([])
  }, 120_000)

  test('ends with the server', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String' })
    const writer = Bun.spawn(['bash', '-c', `exec cat > .query <<< '${SLOW}'`], { cwd: m.mount, stderr: 'ignore' })
    await begun(m.table)
    const [status] = JSON.parse((await m.posixlake('status', m.mount, '--format', 'json')).stdout)
    const state = await m.state()
    process.kill(status.pid, 'SIGTERM')
    expect(await writer.exited).not.toBe(0)
    await until(() => !existsSync(`/proc/${status.pid}`))
    expect(sqlProcesses(m.table)).toEqual([])
    expect(leftOver(state)).toEqual([])
    expect(await m.list('.')).toEqual([])
  }, 120_000)

  test('looks at a table that is mounted read-only, and changes nothing', async () => {
    const m = await mountTable({ schema: 'id:Int64,name:String', mountArgs: ['--read-only'] })
    expect(await m.posixlake('query', m.table, `INSERT INTO data VALUES (1, 'a')`)).toMatchObject({ code: 0 })
    expect(await m.sh(`echo 'SELECT count(*) AS n FROM data' > .query && cat .query`)).toMatchObject({
      code: 0,
      stdout: 'n\n1\n',
    })
    expect(await m.sh(`cat <<< 'DELETE FROM data' > .query`)).toMatchObject({ code: 1 })
    expect((await m.sh('cat .query')).stdout).toBe(
      'DELETE is refused: the table is read-only here; a statement can be a query\n',
    )
    expect(await m.sh('rm .query')).toMatchObject({ code: 1 })
    for (const command of [
      'echo 2,b >> data/data.csv',
      ': > data/data.csv',
      'touch file',
      'mkdir folder',
      'rm data/data.csv',
    ])
      expect({ command, code: (await m.sh(command)).code }).toEqual({ command, code: 1 })
    expect(await m.read()).toBe('id,name\n1,a\n')
    expect(await m.commits()).toBe(2)
    await m.close()
  }, 120_000)
})
