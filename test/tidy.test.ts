import { describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

const ROOT = join(import.meta.dir, '..')
const SOURCE = join(ROOT, 'src')

/** Which rooms of src a room may import from, beside itself. A path with a dot stands for one file. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  core: [],
  cache: ['core'],
  mount: ['core'],
  storage: ['core', 'cache'],
  columns: ['core', 'storage'],
  table: ['core', 'storage', 'columns'],
  sql: ['core', 'columns', 'table'],
  fs: ['core', 'cache', 'columns', 'table', 'sql'],
  nfs: ['core', 'fs/filesystem.ts'],
  'lake.ts': ['core', 'cache', 'storage', 'table', 'sql'],
  serve: ['core', 'mount', 'nfs', 'fs', 'lake.ts'],
  cli: ['core', 'storage', 'columns', 'table', 'sql', 'fs', 'mount', 'serve', 'lake.ts'],
  'main.ts': ['cli'],
}

/** Packages, and parts of Bun that are more than its runtime, and the rooms that may use them. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  bun: ['nfs', 'serve', 'sql', 'storage'],
  'bun:sqlite': ['cache', 'fs', 'serve'],
  'bun:ffi': ['fs'],
  '@aws-sdk/client-s3': ['storage'],
  '@aws-sdk/credential-provider-node': ['storage'],
  '@duckdb/node-api': ['sql'],
  '@smithy/core': ['storage'],
  '@smithy/fetch-http-handler': ['storage'],
  'apache-arrow': ['columns'],
  citty: ['cli'],
  hyparquet: ['columns'],
  'hyparquet-writer': ['columns'],
  papaparse: ['columns'],
}

/** Circles of files that there are, each a debt. */
const CIRCLES: readonly string[] = []

const LINES_MAX = 500
/** Files that are longer, each a debt. */
const LONG: readonly string[] = []

/** Inside nfs: the protocols stand on RPC, and RPC on XDR. */
const NFS_LAYERS: Readonly<Record<string, readonly string[]>> = {
  xdr: [],
  rpc: ['xdr'],
  mount3: ['xdr', 'rpc'],
  nfs3: ['xdr', 'rpc'],
}

/** What must not be in the sources, and what to use in its place. */
const BANNED: readonly { readonly pattern: RegExp; readonly use: string }[] = [
  { pattern: /@ts-(ignore|nocheck)/, use: 'the right type' },
  { pattern: /console\.log/, use: 'print() of cli/output.ts' },
  { pattern: /\b(TODO|FIXME|XXX)\b/, use: 'an issue' },
  { pattern: /\bMath\.random\(/, use: 'crypto, or a number that is given' },
]

/** Parts of the runtime that take longer to load than a short command takes: what needs them has them loaded when it does. */
const SLOW: readonly string[] = ['child_process', 'crypto', 'http', 'https', 'net', 'stream', 'tls', 'url', 'zlib']

/** What no file of src uses yet: other trees under one root, which a test mounts. */
const UNUSED: readonly string[] = ['fs/tree/mounts.ts: MountedFileSystem']

/** The begin of a docstring that tells of a thing in a subordinate clause instead of stating it ("Returns ...", "The rows that ..."). */
const CLAUSE = /\/\*\*?\s+(?:\* )?(What|Whether|Where|Who|How)\b.*/g

const files = [...new Bun.Glob('**/*.ts').scanSync(SOURCE)].sort()

function room(path: string): string {
  return path.includes('/') ? path.split('/')[0]! : path
}

/** The modules that a file's own loading loads: no types, and nothing that is imported when it is called for. */
function loadedAtOnce(path: string): string[] {
  const text = readFileSync(join(SOURCE, path), 'utf8')
  return [...text.matchAll(/^(?:import|export) (?!type )(?:[^';]*? from )?'([^']+)'/gm)].map(match => match[1]!)
}

function named(path: string): string[] {
  const text = readFileSync(join(SOURCE, path), 'utf8')
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^'\s]+)'/g)].map(match => match[1]!)
}

function importsOf(path: string): string[] {
  const found = named(path).filter(target => target.startsWith('.'))
  return found.map(target => relative(SOURCE, join(SOURCE, dirname(path), target)))
}

/** True if a word is the name of something that is exported. */
function isExported(words: readonly string[], at: number): boolean {
  return /^export (?:async )?(?:abstract )?(?:function|class|const|interface|type)$/.test(
    words.slice(words.lastIndexOf('export', at), at).join(' '),
  )
}

/** The packages that a file imports, without those of Node's own library. */
function packagesOf(path: string): string[] {
  const found = named(path).filter(target => !target.startsWith('.') && !target.startsWith('node:'))
  return found.map(target => target.match(/^(@[^/]+\/)?[^/]+/)![0])
}

/** Sets of files that import each other, directly or through others (Tarjan's strongly connected components). */
function circles(): string[] {
  const known = new Set(files)
  const order = new Map<string, number>()
  const lowest = new Map<string, number>()
  const open: string[] = []
  const found: string[] = []
  const visit = (path: string): void => {
    order.set(path, order.size)
    lowest.set(path, order.get(path)!)
    open.push(path)
    for (const target of importsOf(path).filter(target => known.has(target))) {
      if (!order.has(target)) visit(target)
      if (open.includes(target)) lowest.set(path, Math.min(lowest.get(path)!, lowest.get(target)!))
    }
    if (lowest.get(path) !== order.get(path)) return
    const circle = open.splice(open.indexOf(path))
    if (circle.length > 1) found.push(circle.sort().join(' '))
  }
  for (const path of files) if (!order.has(path)) visit(path)
  return found.sort()
}

describe('the sources', () => {
  test('are where the table of rooms expects them', () => {
    expect([...new Set(files.map(room))].filter(name => MAY_IMPORT[name] === undefined)).toEqual([])
  })

  test('import only from the rooms they may, types too', () => {
    const wrong: string[] = []
    for (const path of files) {
      const from = room(path)
      for (const target of importsOf(path)) {
        if (target.startsWith('..')) continue
        const to = room(target)
        const allowed = to === from || MAY_IMPORT[from]!.includes(to) || MAY_IMPORT[from]!.includes(target)
        if (!allowed) wrong.push(`${path} imports ${target}`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('use every edge between rooms that the table allows', () => {
    const used = new Set(
      files.flatMap(path => importsOf(path).flatMap(to => [`${room(path)} ${to}`, `${room(path)} ${room(to)}`])),
    )
    const unused = Object.entries(MAY_IMPORT).flatMap(([from, rooms]) => rooms.map(to => `${from} ${to}`))
    expect(unused.filter(edge => !used.has(edge))).toEqual([])
  })

  test('import packages only where the table says, and every one that it names', () => {
    const found = new Map<string, Set<string>>()
    for (const path of files) {
      for (const name of packagesOf(path)) found.set(name, (found.get(name) ?? new Set()).add(room(path)))
    }
    const sorted: typeof PACKAGES = Object.fromEntries([...found].map(([name, rooms]) => [name, [...rooms].sort()]))
    expect(sorted).toEqual(PACKAGES)
  })

  test('have no circles of files but those that are named', () => {
    expect(circles()).toEqual([...CIRCLES])
  })

  test('keep the layers inside nfs', () => {
    const wrong: string[] = []
    for (const path of files.filter(file => file.startsWith('nfs/'))) {
      const [, layer = '', file] = path.split('/')
      if (file === undefined) continue
      for (const target of importsOf(path)) {
        const [to, other = '', inside] = target.split('/')
        if (to !== 'nfs' || inside === undefined || other === layer) continue
        if (!NFS_LAYERS[layer]!.includes(other)) wrong.push(`${path} imports ${target}`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('hold no banned words', () => {
    const wrong: string[] = []
    for (const path of files) {
      for (const [i, line] of readFileSync(join(SOURCE, path), 'utf8').split('\n').entries()) {
        for (const { pattern, use } of BANNED)
          if (pattern.test(line)) wrong.push(`${path}:${i + 1}: ${line.trim()} (use ${use})`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('export nothing that no file of theirs uses', () => {
    const texts = files.map(path => ({ path, words: readFileSync(join(SOURCE, path), 'utf8').split(/\W+/) }))
    const uses = new Map<string, number>()
    for (const word of texts.flatMap(({ words }) => words)) uses.set(word, (uses.get(word) ?? 0) + 1)
    const unused = texts.flatMap(({ path, words }) =>
      words.filter((name, i) => uses.get(name) === 1 && isExported(words, i)).map(name => `${path}: ${name}`),
    )
    expect(unused).toEqual([...UNUSED])
  })

  test('load no slow part of the runtime for cat', () => {
    const waiting = ['main.ts', 'cli/commands/cat.ts']
    const seen = new Set(waiting)
    const slow: string[] = []
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      for (const name of loadedAtOnce(path)) {
        if (SLOW.includes(name.replace(/^node:/, ''))) slow.push(`${path}: ${name}`)
        const target = relative(SOURCE, join(SOURCE, dirname(path), name))
        if (!name.startsWith('.') || seen.has(target)) continue
        seen.add(target)
        waiting.push(target)
      }
    }
    expect(slow).toEqual([])
    expect(seen).toContain('cache/disk.ts')
  })

  test('have docstrings that are plain statements', () => {
    const wrong = files.flatMap(path =>
      [...readFileSync(join(SOURCE, path), 'utf8').matchAll(CLAUSE)].map(([clause]) => `${path}: ${clause}`),
    )
    expect(wrong).toEqual([])
  })

  test('are no longer than a reader can hold, but for those that are named', () => {
    const long = files.filter(path => readFileSync(join(SOURCE, path), 'utf8').split('\n').length - 1 > LINES_MAX)
    expect(long).toEqual([...LONG])
  })
})
