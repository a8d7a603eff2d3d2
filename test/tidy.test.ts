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
  'lake.ts': ['core', 'cache', 'storage', 'columns', 'table', 'sql'],
  serve: ['core', 'mount', 'nfs', 'fs', 'lake.ts'],
  cli: ['core', 'cache', 'storage', 'columns', 'table', 'sql', 'fs', 'nfs', 'mount', 'serve', 'lake.ts'],
  'main.ts': ['cli'],
}

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

const files = [...new Bun.Glob('**/*.ts').scanSync(SOURCE)].sort()

function room(path: string): string {
  return path.includes('/') ? path.split('/')[0]! : path
}

function importsOf(path: string): string[] {
  const text = readFileSync(join(SOURCE, path), 'utf8')
  const found = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']*)'/g)].map(match => match[1]!)
  return found.map(target => relative(SOURCE, join(SOURCE, dirname(path), target)))
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

  test('are no longer than a reader can hold', () => {
    const long = files.filter(path => readFileSync(join(SOURCE, path), 'utf8').split('\n').length > 1000)
    expect(long).toEqual([])
  })
})
