import type { BunPlugin } from 'bun'

/** Modules of the SDK that hand on one module of the system. */
const HANDING_ON = /[\\/]@smithy[\\/][\w-]+[\\/]dist-es[\\/](?:[\w-]+[\\/])*node-(?:https?|http2)\.js$/
const HANDED_ON = /^import (\w+) from "(node:\w+)";\s*export \{ \1 \};\s*$/
const CHECKSUM = /[\\/]@smithy[\\/]core[\\/]dist-es[\\/](?:[\w-]+[\\/])*Crc32Node\.js$/
const ZLIB = 'import * as zlib from "node:zlib";'

/**
 * Keeps the SDK of S3 from loading modules of the system that a short command has no use for, and that take longer to load
 * than all that is asked of the store: the HTTP clients, which some sources of credentials alone send by, are loaded when they do,
 * and checksums are Bun's. For `Bun.build({ conditions: ['module'], plugins: [lightS3()] })`.
 */
export function lightS3(): BunPlugin {
  return {
    name: 'light-s3',
    setup(build) {
      const change = (filter: RegExp, changed: (source: string) => string | undefined): void => {
        build.onLoad({ filter }, async ({ path }) => {
          const contents = changed(await Bun.file(path).text())
          if (contents === undefined) throw new Error(`${path}: this is not the module that it was`)
          return { contents, loader: 'js' }
        })
      }
      change(HANDING_ON, loadedWhenUsed)
      change(CHECKSUM, withOwnChecksum)
    },
  }
}

function loadedWhenUsed(source: string): string | undefined {
  const [, name, module] = HANDED_ON.exec(source) ?? []
  if (name === undefined) return undefined
  return `export const ${name} = new Proxy({}, { get: (_, name) => process.getBuiltinModule('${module}')[name] })\n`
}

function withOwnChecksum(source: string): string | undefined {
  if (!source.includes(ZLIB)) return undefined
  return source.replace(ZLIB, 'const zlib = { crc32: (bytes, before) => Bun.hash.crc32(bytes, before) };')
}
