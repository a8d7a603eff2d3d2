// Installs what a command needs and a bare clone or machine lacks: Bun, the packages of bun.lock, and as root on Debian
// system packages.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { Failure, note } from './reporting.mjs'
import { isCi, root } from './running.mjs'

export const isRoot = process.getuid?.() === 0
export const bunPath = join(root, 'node_modules', '.bin', process.platform === 'win32' ? 'bun.exe' : 'bun')

/** Makes node_modules what bun.lock says, unless it is already. */
export function installPackages() {
  const manifest = readFileSync(join(root, 'package.json'))
  const version = JSON.parse(manifest.toString()).devDependencies.bun
  const lock = readFileSync(join(root, 'bun.lock'))
  const wanted = createHash('sha256').update(lock).update(manifest).digest('hex')
  const stampFile = join(root, 'node_modules', '.installed')
  if (existsSync(bunPath) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === wanted) return
  note(`installing the packages of bun.lock, with Bun ${version}`)
  const install = ['install', '--frozen-lockfile']
  const isInstalled = isBun(version)
    ? run(bunPath, install)
    : run(npm(), ['exec', '--yes', `--package=bun@${version}`, '--', 'bun', ...install])
  if (!isInstalled)
    throw new Failure('the packages could not be installed: see above; the machine needs npm and its registry')
  if (!isBun(version))
    throw new Failure(`node_modules has no working Bun ${version}: remove node_modules and try again`)
  writeFileSync(stampFile, wanted)
}

function isBun(version) {
  const result = spawnSync(bunPath, ['--version'], { encoding: 'utf8' })
  return result.status === 0 && result.stdout.trim() === version
}

function npm() {
  return process.platform === 'win32' ? 'npm.cmd' : 'npm'
}

/**
 * As root on Debian, installs the packages of programs that are missing. What is missing in the end is said, and on CI
 * is a failure. `programs`: see programs.mjs.
 */
export function installPrograms(programs) {
  if (process.platform !== 'linux') return
  const missing = () => Object.keys(programs).filter(name => !isThere(name))
  const before = missing()
  if (before.length === 0) return
  const packages = [...new Set(before.map(name => programs[name]))]
  const install = ['install', '-y', '--no-install-recommends', ...packages]
  if (isRoot && hasProgram('apt-get')) {
    note(`installing the system packages ${packages.join(', ')}`)
    if (!apt(install)) apt(['update']) && apt(install)
  }
  const after = missing()
  if (after.length === 0) return
  const sentence = `these programs are missing: ${after.join(', ')}; on Debian, as root: apt-get ${install.join(' ')}`
  if (isCi) throw new Failure(sentence)
  note(sentence)
}

function apt(args) {
  return run('apt-get', ['-qq', ...args], { DEBIAN_FRONTEND: 'noninteractive' }, 'ignore')
}

function isThere(name) {
  if (name.startsWith('/')) return existsSync(name)
  const module = /^python3 -m (\w+)$/.exec(name)?.[1]
  if (module !== undefined) return spawnSync('python3', ['-c', `import ${module}`]).status === 0
  return hasProgram(name)
}

let nfsClient

/** Whether this kernel can mount NFS; as root its module is loaded for it. */
export function hasNfsClient() {
  nfsClient ??= findNfsClient()
  return nfsClient
}

function findNfsClient() {
  if (!existsSync('/proc/filesystems')) return false
  const known = () => /\bnfs$/m.test(readFileSync('/proc/filesystems', 'utf8'))
  if (!known() && isRoot && hasProgram('modprobe')) spawnSync(programPath('modprobe'), ['nfs'])
  return known()
}

/** Whether the guest kernel needs help on this processor: see test/guest/xstate.c. */
export function hasAmx() {
  return existsSync('/proc/cpuinfo') && /\bamx_tile\b/.test(readFileSync('/proc/cpuinfo', 'utf8'))
}

export function hasProgram(program) {
  return programPath(program) !== undefined
}

function programPath(program) {
  // Debian's users do not have the sbin folders in their PATH, nor, by itself, the one that Go installs itself into.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/local/go/bin']
  return folders.map(folder => join(folder, program)).find(path => existsSync(path))
}

function run(program, args, env = {}, stdout = 2) {
  const options = { cwd: root, stdio: ['ignore', stdout, 'inherit'], env: { ...process.env, ...env } }
  const { status, error } = spawnSync(program, args, options)
  if (error) note(`${program}: ${error.message}`)
  return status === 0
}
