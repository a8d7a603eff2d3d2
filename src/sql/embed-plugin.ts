import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type { BunPlugin } from 'bun'

/** The API looks for this machine's time zone when it is loaded, which takes longer than the rest of it; nothing here asks for it. */
const WITH_TIME_ZONE = /[\\/]@duckdb[\\/]node-api[\\/]lib[\\/]values[\\/]DuckDBTimestampTZValue\.js$/
const TIME_ZONE = 'static timezoneOffsetInMinutes = -new Date().getTimezoneOffset();'
const TIME_ZONE_WHEN_ASKED = 'static get timezoneOffsetInMinutes() { return -new Date().getTimezoneOffset() }'

/**
 * Puts DuckDB's native module and library of one platform into a compiled executable, and makes `@duckdb/node-api` load
 * them from there (see native.ts). For `Bun.build({ compile: …, plugins: [embedDuckDb()] })`; at run time from source,
 * and in tests, the package in node_modules is used as it is.
 * `platform` and `arch` are Node's names ('linux', 'x64'; a musl build is arch 'x64-musl').
 */
export function embedDuckDb(platform: string = process.platform, arch: string = process.arch): BunPlugin {
  return {
    name: 'embed-duckdb',
    setup(build) {
      build.onResolve({ filter: /^@duckdb\/node-bindings$/ }, () => ({ path: 'engine', namespace: 'embedded-duckdb' }))
      build.onLoad({ filter: /^engine$/, namespace: 'embedded-duckdb' }, () => ({
        contents: loaderModule(packageDirectory(platform, arch)),
        loader: 'js',
      }))
      build.onLoad({ filter: WITH_TIME_ZONE }, async ({ path }) => {
        const source = await Bun.file(path).text()
        if (!source.includes(TIME_ZONE)) throw new Error(`${path}: this is not the module that it was`)
        return { contents: source.replace(TIME_ZONE, TIME_ZONE_WHEN_ASKED), loader: 'js' }
      })
    },
  }
}

function packageDirectory(platform: string, arch: string): string {
  // The package hangs below @duckdb/node-bindings, which a strict node_modules layout shows only to node-api.
  const api = createRequire(import.meta.url).resolve('@duckdb/node-api')
  const bindings = createRequire(api).resolve('@duckdb/node-bindings')
  return dirname(createRequire(bindings).resolve(`@duckdb/node-bindings-${platform}-${arch}/duckdb.node`))
}

/** The module that stands in for `@duckdb/node-bindings`. */
function loaderModule(directory: string): string {
  const names = readdirSync(directory)
    .filter(name => /\.(?:node|so|dylib|dll)$/.test(name))
    .sort()
  const hash = createHash('sha256')
  const imports: string[] = []
  const files: string[] = []
  for (const [i, name] of names.entries()) {
    const bytes = readFileSync(join(directory, name))
    hash.update(`${name}\0${bytes.length}\0`).update(bytes)
    imports.push(`import file${i} from ${JSON.stringify(join(directory, name))} with { type: 'file' }`)
    files.push(`{ name: ${JSON.stringify(name)}, path: file${i}, sizeBytes: ${bytes.length} }`)
  }
  return `import { loadEmbedded } from ${JSON.stringify(join(import.meta.dir, 'native.ts'))}
${imports.join('\n')}
const binding = loadEmbedded({ fingerprint: '${hash.digest('hex').slice(0, 16)}', files: [${files.join(', ')}] })
export default binding
`
}
