import { mkdirSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { Build } from 'bun'
import manifest from './package.json' with { type: 'json' }
import { embedDuckDb } from './src/sql/embed-plugin.ts'
import { lightS3 } from './src/storage/s3/light-plugin.ts'

/*
 * Builds the executable: bun build.ts [--target bun-linux-arm64] [--outfile FILE]
 * It holds Bun, posixlake and the SQL engine, and needs no other file on the machine where it runs. For another
 * platform its package of the SQL engine must be installed, e.g. `bun install --os darwin --cpu arm64`.
 */
const { values } = parseArgs({ options: { target: { type: 'string' }, outfile: { type: 'string' } } })
const target = values.target ?? `bun-${process.platform}-${process.arch}`
const platform = /^bun-(linux|darwin|windows)-(x64|arm64)(-musl)?(-baseline|-modern)?$/.exec(target)
if (platform === null) {
  console.error(`There is no target ${target}: give, say, bun-linux-x64, bun-linux-arm64 or bun-darwin-arm64.`)
  process.exit(2)
}
const [, os, cpu, musl = ''] = platform
const outfile = values.outfile ?? `dist/posixlake${os === 'windows' ? '.exe' : ''}`

mkdirSync('dist', { recursive: true })
const result = await Bun.build({
  // The worker is an entry point of its own: the executable finds it by its name, beside main.
  entrypoints: ['./src/main.ts', './src/table/workers/worker.ts'],
  compile: { target: target as Build.CompileTarget, outfile },
  plugins: [embedDuckDb(os === 'windows' ? 'win32' : os, `${cpu}${musl}`), lightS3()],
  // The SDK of S3 as modules: only those parts of it that are used are in the executable, and are loaded.
  conditions: ['module'],
  // Commands are loaded when they are called: what only another one needs would take longer to read than cat takes.
  splitting: true,
  // Compiled ahead: parsing the sources was half of the time that a short command took.
  bytecode: true,
  format: 'esm',
  // Whole names in stack traces are worth more than a hundredth of the size.
  minify: { whitespace: true, syntax: true, identifiers: false },
  sourcemap: 'none',
  throw: false,
})
for (const message of result.logs) console.error(message)
if (!result.success) process.exit(1)
const megabytes = (Bun.file(outfile).size / 1e6).toFixed(0)
console.error(`${outfile}: posixlake ${manifest.version} for ${target.slice(4)}, ${megabytes} MB`)
