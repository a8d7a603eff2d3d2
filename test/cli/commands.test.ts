import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tableFromIPC } from 'apache-arrow'
import { version } from '../../package.json'
import { COMMANDS } from '../../src/cli/commands/index.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

const MAIN = join(import.meta.dir, '../../src/main.ts')
const folder = temporaryFolder()
const table = join(folder.path, 'people')

interface Result {
  readonly code: number
  readonly stdout: Buffer
  readonly stderr: string
}

function run(...args: string[]): Result {
  const env = { ...process.env, XDG_CACHE_HOME: join(folder.path, 'cache'), XDG_STATE_HOME: join(folder.path, 'state') }
  const { exitCode, stdout, stderr } = Bun.spawnSync([process.execPath, MAIN, ...args], { env, stdin: 'ignore' })
  return { code: exitCode, stdout, stderr: stderr.toString() }
}

function output(...args: string[]): string {
  const { code, stdout, stderr } = run(...args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout.toString()
}

/** The one line on standard error of a command that fails. */
function refusal(code: number, ...args: string[]): string {
  const result = run(...args)
  expect({ code: result.code, stdout: result.stdout.toString() }).toEqual({ code, stdout: '' })
  expect(result.stderr).toMatch(/^posixlake: /)
  expect(result.stderr).not.toContain('    at ')
  return result.stderr
}

beforeAll(() => {
  output('create', table, '--schema', 'id:Int64,name:String,price:Decimal(9,2)')
  run('query', table, `INSERT INTO data VALUES (1, 'Alice', 1.5), (2, 'Böb, Jr', NULL)`)
})
afterAll(() => folder[Symbol.dispose]())

describe('the command line', () => {
  test('shows what there is, and each command with its flags and an example', () => {
    const overview = output('--help')
    for (const { name } of COMMANDS) {
      expect(overview).toContain(name)
      const help = output(name, '--help')
      expect(help).toContain('EXAMPLES')
      expect(help).toContain(`posixlake ${name}`)
    }
    expect(output('--version')).toMatch(/^posixlake \d+\.\d+\.\d+\n$/)
    expect(output('-V')).toBe(output('--version'))
    expect(output('-V')).toBe(`posixlake ${version}\n`)
    expect(run().code).toBe(2)
  })

  test('names the nearest of what it does not know', () => {
    expect(refusal(2, 'qury', table)).toContain('did you mean query')
    expect(refusal(2, 'umount', table)).toContain('did you mean unmount')
    expect(refusal(2, '--verison')).toContain('no flag --verison before a command (did you mean --version?)')
    expect(refusal(2, 'create', join(folder.path, 'x'), '--from-csv', 'a', '--from-csv', 'b')).toContain('given twice')
    expect(refusal(2, 'query', table, 'x', '--fromat', 'csv')).toContain('did you mean --format')
    expect(refusal(2, 'query', table, 'x', '--format', 'cvs')).toContain('did you mean csv')
    expect(refusal(2, 'query', table)).toContain('needs SQL')
    expect(refusal(2, 'schema', table, 'more')).toContain('"more"')
    expect(refusal(2, 'history', table, '--limit')).toContain('--limit needs a value')
    expect(refusal(2, 'history', table, '--limit', 'x')).toContain('number')
    expect(refusal(2, 'serve', table, '--port', '99999')).toContain('--port')
    expect(refusal(2, 'mount', table, '/mnt', '--read-only=yes')).toContain('takes no value')
  })

  test('says in one line what is wrong with a table', () => {
    expect(refusal(1, 'cat', join(folder.path, 'nowhere'))).toContain('not a Delta table')
    expect(refusal(1, 'create', table, '--schema', 'id:Int64')).toContain('there is a table already')
    expect(refusal(1, 'create', join(folder.path, 'x'), '--schema', 'id:Itn64')).toMatch(/Itn64/)
    expect(refusal(1, 'cat', 's3://bucket/table')).toContain('S3')
    const broken = join(folder.path, 'broken')
    output('create', broken, '--schema', 'id:Int64')
    run('query', broken, 'INSERT INTO data VALUES (1)')
    const log = join(broken, '_delta_log', '00000000000000000001.json')
    const commit = readFileSync(log, 'utf8')
    const [path] = /part-[^"]*\.parquet/.exec(commit)!
    rmSync(join(broken, path))
    expect(refusal(1, 'cat', broken)).toContain(path)
    expect(refusal(1, 'query', broken, 'FROM data')).toContain(path)
    expect(refusal(1, 'query', broken, 'FROM data')).not.toContain('VIEW')
    writeFileSync(log, '{"add":')
    expect(refusal(1, 'history', broken)).toContain('00000000000000000001.json')
  })

  test('prints results in every format, and nothing else on standard output', () => {
    const sql = 'SELECT * FROM data ORDER BY id'
    expect(output('query', table, sql)).toBe('id  name     price\n 1  Alice     1.50\n 2  Böb, Jr   NULL\n')
    expect(output('query', table, sql, '--format', 'csv')).toBe('id,name,price\n1,Alice,1.50\n2,"Böb, Jr",\n')
    expect(output('query', table, sql, '--format=jsonl')).toBe(
      '{"id":1,"name":"Alice","price":1.50}\n{"id":2,"name":"Böb, Jr","price":null}\n',
    )
    expect(JSON.parse(output('query', table, sql, '--format', 'json'))).toHaveLength(2)
    expect(output('query', table, 'SELECT 1 AS a WHERE false', '--format', 'json')).toBe('[]\n')
    const arrow = tableFromIPC(run('query', table, sql, '--format', 'arrow').stdout)
    expect(arrow.getChild('name')?.toArray()).toEqual(['Alice', 'Böb, Jr'])
    writeFileSync(join(folder.path, 'out.parquet'), run('query', table, sql, '--format', 'parquet').stdout)
    // A result is for others: nothing in it is about how we show tables.
    expect(readFileSync(join(folder.path, 'out.parquet')).includes('posixlake.')).toBe(false)
    output('create', join(folder.path, 'copy'), '--from-parquet', join(folder.path, 'out.parquet'))
    expect(output('cat', join(folder.path, 'copy'))).toBe(output('cat', table))
    expect(refusal(1, 'query', table, 'SELECT nope FROM data')).toContain('nope')
  })

  test('names every kind of statement in its help, and each works', () => {
    const scratch = join(folder.path, 'every-kind')
    output('create', scratch, '--schema', 'id:Int64')
    const help = output('query', '--help')
    const statements = {
      INSERT: 'INSERT INTO data VALUES (1), (2), (3)',
      UPDATE: 'UPDATE data SET id = 9 WHERE id = 3',
      DELETE: 'DELETE FROM data WHERE id = 9',
      MERGE: 'MERGE INTO data USING (SELECT 2 AS id) s ON data.id = s.id WHEN MATCHED THEN DELETE',
      TRUNCATE: 'TRUNCATE data',
    }
    for (const [verb, sql] of Object.entries(statements)) {
      expect(help).toContain(verb)
      expect(run('query', scratch, sql)).toMatchObject({ code: 0, stderr: expect.stringContaining('version') })
    }
    expect(output('cat', scratch)).toBe('id\n')
  })

  test('tells on standard error what a statement changed', () => {
    const other = join(folder.path, 'other')
    output('create', other, '--schema', 'id:Int64')
    expect(run('query', other, 'INSERT INTO data VALUES (1), (2)')).toMatchObject({
      code: 0,
      stderr: 'version 1: 2 inserted, 0 updated, 0 deleted\n',
    })
    expect(run('query', other, 'DELETE FROM data WHERE id = 9').stderr).toBe('nothing changed\n')
    expect(output('cat', other, '--version', '0')).toBe('id\n')
    expect(output('query', other, 'SELECT count(*) AS n FROM data', '--version', '1', '--format', 'csv')).toBe('n\n2\n')
    expect(refusal(1, 'cat', other, '--version', '7')).toContain('7')
    expect(refusal(1, 'cat', other, '--timestamp', '1999-01-01T00:00:00Z')).toContain('1999')
  })

  test('prints tables, schemas and histories', () => {
    expect(output('cat', table)).toBe('id,name,price\n1,Alice,1.50\n2,"Böb, Jr",\n')
    expect(JSON.parse(output('cat', table, '--format', 'json'))).toHaveLength(2)
    expect(output('schema', table)).toContain('price DECIMAL(9,2)')
    expect(JSON.parse(output('schema', table, '--format', 'json')).fields).toHaveLength(3)
    const history = output('history', table, '--format', 'jsonl')
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
    expect(history.map(({ version, operation }) => [version, operation])).toEqual([
      [1, 'WRITE'],
      [0, 'CREATE TABLE'],
    ])
    expect(output('history', table, '--limit', '1').split('\n')).toHaveLength(3)
  })

  test('creates tables from CSV, by name or by pattern', () => {
    writeFileSync(join(folder.path, 'a1.csv'), 'x,y\n1,2\n')
    writeFileSync(join(folder.path, 'a2.csv'), 'x,y\n3,4\n')
    expect(output('create', join(folder.path, 'from'), '--from-csv', join(folder.path, 'a*.csv'))).toContain('2 rows')
    expect(output('cat', join(folder.path, 'from'))).toBe('x,y\n1,2\n3,4\n')
    expect(refusal(1, 'create', join(folder.path, 'none'), '--from-csv', join(folder.path, 'z*.csv'))).toContain(
      'no file matches',
    )
    writeFileSync(join(folder.path, 'bad.csv'), 'x,y\n1,2\n3\n')
    expect(refusal(1, 'create', join(folder.path, 'none'), '--from-csv', join(folder.path, 'bad.csv'))).toMatch(
      /bad\.csv.*line 3/,
    )
    output('create', join(folder.path, 'empty'))
    expect(output('cat', join(folder.path, 'empty'))).toBe('')
  })

  test('creates tables from what other programs write: other delimiters, pipes, compressed files', () => {
    const at = (name: string): string => join(folder.path, 'dialects', name)
    mkdirSync(at('.'))
    const imported = (text: string, ...flags: string[]): { said: string; csv: string } => {
      writeFileSync(at('in.csv'), text)
      const { code, stderr } = run('create', at('t'), '--from-csv', at('in.csv'), ...flags)
      expect({ text, code, stderr }).toMatchObject({ code: 0 })
      const csv = output('cat', at('t'))
      rmSync(at('t'), { recursive: true })
      return { said: stderr, csv }
    }
    const cases: [string, string][] = [
      ['id;text\r\n1;"a;b"\r\n2;"x ""y"""\r\n3;1,5\r\n', 'id,text\n1,a;b\n2,"x ""y"""\n3,"1,5"\n'],
      ['id\ttext\n1\t\n2\t""\n', 'id,text\n1,\n2,""\n'],
      ['\ufeffid|text\n1|"two\nlines"\n', 'id,text\n1,"two\nlines"\n'],
    ]
    for (const [text, csv] of cases)
      expect(imported(text)).toEqual({ said: expect.stringContaining('the fields are separated by'), csv })
    // A comma wins where it does, and where nothing else does.
    expect(imported('id,text\n1,a;b\n2,c;d\n')).toEqual({ said: '', csv: 'id,text\n1,a;b\n2,c;d\n' })
    expect(imported('text\na;b\nc\n')).toEqual({ said: '', csv: 'text\na;b\nc\n' })
    expect(imported('id;text, more\n1;a, b\n', '--delimiter', ';').csv).toBe('id,"text, more"\n1,"a, b"\n')
    expect(refusal(2, 'create', at('t'), '--from-csv', at('in.csv'), '--delimiter', 'ab')).toContain('one character')
    expect(
      imported(`# v1\nid||text\n1||'a''b'\n2||''\n`, '--delimiter', '||', '--quote', "'", '--comment', '#').csv,
    ).toBe(`id,text\n1,a'b\n2,""\n`)
    expect(imported('id;text\n1;"a \\"b\\";"\n', '--escape', '\\')).toEqual({
      said: expect.stringContaining('the fields are separated by ";"'),
      csv: 'id,text\n1,"a ""b"";"\n',
    })
    expect(imported('id\ttext\n1\t5" x\n', '--quote', 'none').csv).toBe('id,text\n1,"5"" x"\n')
    expect(refusal(2, 'create', at('t'), '--quote', "'")).toContain('--quote goes with --from-csv')
    writeFileSync(at('bad.csv'), 'id;text\n1;a\n2;b;c\n')
    expect(refusal(1, 'create', at('t'), '--from-csv', at('bad.csv'), '--delimiter', ';')).toMatch(/bad\.csv: line 3: /)
    writeFileSync(at('latin1.csv'), Buffer.from('id,name\n1,plain\n2,caf\xe9\n', 'latin1'))
    expect(refusal(1, 'create', at('t'), '--from-csv', at('latin1.csv'))).toMatch(
      /latin1\.csv: line 3, column name: the text is not UTF-8/,
    )
    for (const [bytes, sentence] of [
      [Bun.gzipSync('id\n1\n'), 'zcat'],
      [Buffer.from('\ufeffid\n1\n', 'utf16le'), 'iconv'],
      [Buffer.from('PAR1'), '--from-parquet'],
    ] as const) {
      writeFileSync(at('other'), bytes)
      expect(refusal(1, 'create', at('t'), '--from-csv', at('other'))).toContain(sentence)
    }
    for (const source of ['-', '/dev/stdin']) {
      const piped = Bun.spawnSync(
        [
          'bash',
          '-c',
          `printf 'id,x\\n1,a\\n' | "$0" "$@"`,
          process.execPath,
          MAIN,
          'create',
          at('p'),
          '--from-csv',
          source,
        ],
        { env: process.env },
      )
      expect({ code: piped.exitCode, stderr: piped.stderr.toString() }).toEqual({ code: 0, stderr: '' })
      expect(output('cat', at('p'))).toBe('id,x\n1,a\n')
      expect(readdirSync(at('p')).filter(name => !/^part-|^_delta_log$/.test(name))).toEqual([])
      rmSync(at('p'), { recursive: true })
    }
  }, 60_000)

  test('creates no table among other files, which VACUUM would delete', () => {
    const crowded = join(folder.path, 'crowded')
    mkdirSync(crowded)
    output('create', crowded)
    const other = join(folder.path, 'other-files')
    mkdirSync(other)
    writeFileSync(join(other, 'thesis.txt'), 'x')
    expect(refusal(1, 'create', other)).toContain('thesis.txt')
    expect(readdirSync(other)).toEqual(['thesis.txt'])
  })

  test('names the place in a schema that cannot be read', () => {
    const cases: [string, string][] = [
      ['id:Itn64', 'character 4: column id: there is no type Itn64; did you mean Int64?'],
      ['id:Int64, x:void', 'character 13: column x: there is no type void; the types are Int8, '],
      ['a:int, d:Decimal(39,1)', 'character 17: column d: decimal(39,1) is out of range'],
      ['id:int,ID:int', 'character 8: the column ID is named twice'],
    ]
    for (const [schema, sentence] of cases)
      expect(refusal(1, 'create', join(folder.path, 'no'), '--schema', schema)).toContain(sentence)
  })

  test('prints the history of a table whose writers said what they liked', () => {
    const odd = join(folder.path, 'odd')
    output('create', odd, '--schema', 'id:Int64')
    const infos = [
      { timestamp: 'soon', operation: 5, operationMetrics: [1], operationParameters: 'text', engineInfo: {} },
      { timestamp: 9e99, operation: 'WEIRD\u001b[31m\nop', operationMetrics: { rows: 5, nested: { a: null } } },
      'no object',
      {},
    ]
    for (const [i, commitInfo] of infos.entries())
      writeFileSync(join(odd, '_delta_log', `${String(i + 1).padStart(20, '0')}.json`), JSON.stringify({ commitInfo }))
    const lines = output('history', odd).trimEnd().split('\n')
    expect(lines).toHaveLength(6)
    expect(lines[3]).toContain('WEIRD\\x1b[31m\\nop')
    expect(lines[3]).toContain('rows=5 nested={"a":null}')
    for (const line of lines.slice(1)) expect(line).toMatch(/^ +\d {2}20\d\d-/)
    for (const line of output('history', odd, '--format', 'jsonl').trimEnd().split('\n'))
      expect(JSON.parse(line)).toMatchObject({ parameters: expect.any(Object), operation: expect.any(String) })
  })

  test('takes SQL from standard input', () => {
    const { stdout } = Bun.spawnSync([process.execPath, MAIN, 'query', table, '-', '--format', 'csv'], {
      stdin: new TextEncoder().encode('SELECT count(*) AS n FROM data'),
    })
    expect(stdout.toString()).toBe('n\n2\n')
  })

  test('ends quietly when its reader has seen enough', () => {
    const { exitCode, stdout, stderr } = Bun.spawnSync([
      'bash',
      '-c',
      `set -o pipefail; ${process.execPath} ${MAIN} cat ${table} | head -1`,
    ])
    expect({ exitCode, stdout: stdout.toString(), stderr: stderr.toString() }).toEqual({
      exitCode: 0,
      stdout: 'id,name,price\n',
      stderr: '',
    })
  })

  test('refuses a port that is taken', () => {
    const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data: () => undefined } })
    expect(refusal(1, 'serve', table, '--port', String(listener.port))).toContain(`Port ${listener.port}`)
    listener.stop()
  })

  test('says what to run where a mount cannot be', () => {
    expect(refusal(1, 'mount', table, join(folder.path, 'no', 'folder'))).toContain(`mkdir -p ${folder.path}/no/folder`)
    expect(refusal(1, 'unmount', folder.path)).toContain('nothing is mounted')
    expect(refusal(1, 'status', folder.path)).toContain('neither mounted nor served')
  })
})
