import { existsSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve, sep } from 'node:path'
import { MountError } from './errors.ts'
import { runCommand, shellQuoted } from './run.ts'

/** For the kernel to write back what it holds. */
const UNMOUNT_LIMIT_MS = 60_000

/** The address of a server, the export that is mounted, and the mount point. */
export interface MountRequest {
  readonly host: string
  readonly port: number
  /** With the leading slash. */
  readonly exportPath: string
  readonly mountPoint: string
  readonly readOnly: boolean
}

export interface MountEntry {
  readonly mountPoint: string
  readonly type: string
  readonly source: string
  /** Of the server, for a network file system that names it. */
  readonly port: number | undefined
}

/**
 * The options of mount(8). `lookupcache=none`: the next open sees a new line of versions at once, while an open
 * descriptor reads on unchanged. `acregmax=3`: who follows the file hears within seconds of what others append. `hard`: nothing is lost while the server restarts. Never `ro`: a read-only export refuses
 * changes by itself, and queries are written into `.query`.
 */
export function mountOptions({ host, port }: Pick<MountRequest, 'host' | 'port'>): string {
  const options = [
    'vers=3',
    // mount.nfs takes "tcp" for IPv4 alone.
    host.includes(':') ? 'proto=tcp6' : 'tcp',
    'nolock',
    `port=${port}`,
    `mountport=${port}`,
    `mountproto=${host.includes(':') ? 'tcp6' : 'tcp'}`,
    'hard',
    'lookupcache=none',
    'acregmax=3',
    'nosuid',
    'nodev',
    'rw',
  ]
  return options.join(',')
}

/** The address at which a client of this machine reaches a server on `host`, which may stand for all addresses. */
export function clientHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '::1' : host
}

/** The command that mounts, as a user may type it. */
export function mountCommand(request: MountRequest): string[] {
  const { exportPath, mountPoint } = request
  const host = clientHost(request.host)
  return [
    'mount',
    '-t',
    'nfs',
    '-o',
    mountOptions({ ...request, host }),
    `${host.includes(':') ? `[${host}]` : host}:${exportPath}`,
    mountPoint,
  ]
}

/** All mounts of this process's namespace; none where the system does not list them so. */
export function mounts(): MountEntry[] {
  if (process.platform !== 'linux') return []
  return parseMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'))
}

/** The mounts that a mountinfo file lists (proc(5)), in its order. */
export function parseMountinfo(text: string): MountEntry[] {
  const lines = text.split('\n').filter(line => line !== '')
  return lines.map(line => {
    const [left = '', right = ''] = line.split(' - ')
    const [type = '', source = '', options = ''] = right.split(' ')
    const port = /(?:^|,)port=(\d+)(?:,|$)/.exec(options)?.[1]
    const mountPoint = unescaped(left.split(' ')[4] ?? '')
    return { mountPoint, type, source: unescaped(source), port: port === undefined ? undefined : Number(port) }
  })
}

function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

/** The mount at a path, the last one if several lie upon each other. Does not touch the mount itself, which may hang. */
export function mountAt(path: string, among: readonly MountEntry[] = mounts()): MountEntry | undefined {
  const wanted = resolve(path)
  return among.findLast(entry => entry.mountPoint === wanted)
}

/** Returns a path without symbolic links. Unlike realpath it never looks at a mount point itself, which may hang. */
export function canonicalPath(path: string, linksMax = 40, all: readonly MountEntry[] = mounts()): string {
  const absolute = resolve(path)
  if (absolute === dirname(absolute) || mountAt(absolute, all) !== undefined) return absolute
  const parent = canonicalPath(dirname(absolute), linksMax, all)
  const full = join(parent, basename(absolute))
  if (mountAt(full, all) !== undefined || linksMax === 0) return full
  try {
    return canonicalPath(resolve(parent, readlinkSync(full)), linksMax - 1, all)
  } catch {
    return full // It is no link, or is not there.
  }
}

/** The mount point of a table as the system will call it. MountError says what keeps it from being one. */
export function checkMountPoint(path: string, table: string): string {
  const wanted = canonicalPath(path)
  const busy = mountAt(wanted)
  if (busy !== undefined) {
    throw new MountError(
      'busy',
      `${wanted} is a mount point already (${busy.source}); choose another folder, or unmount it first: posixlake unmount ${shellQuoted(wanted)}`,
    )
  }
  const found = statSync(wanted, { throwIfNoEntry: false })
  if (found === undefined) {
    throw new MountError(
      'no_mount_point',
      `the mount point ${wanted} does not exist; make it first: mkdir -p ${shellQuoted(wanted)}`,
    )
  }
  if (!found.isDirectory()) throw new MountError('no_mount_point', `the mount point ${wanted} is not a folder`)
  // The server would wait for itself, or no longer see its own files.
  if (isWithin(wanted, table) || isWithin(table, wanted)) {
    throw new MountError(
      'no_mount_point',
      `${wanted} holds the table ${table}, or is a part of it; choose another folder`,
    )
  }
  return wanted
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep)
}

/** Makes sure that this user and this kernel can mount. `again`: the command line to repeat as root. */
export async function checkCanMount(again: readonly string[]): Promise<void> {
  if (process.getuid?.() !== 0) {
    throw new MountError('needs_root', `mounting needs root; run this: sudo ${again.map(shellQuoted).join(' ')}`)
  }
  if (!['/sbin', '/usr/sbin', '/usr/local/sbin'].some(folder => existsSync(join(folder, 'mount.nfs')))) {
    throw new MountError(
      'no_nfs_client',
      'mount.nfs is not installed; run this: apt-get install nfs-common (Debian, Ubuntu) or dnf install nfs-utils (Fedora, RHEL)',
    )
  }
  if (!kernelHasNfs()) await runCommand(['modprobe', 'nfsv3'])
  if (!kernelHasNfs()) {
    throw new MountError(
      'no_nfs_client',
      'this kernel has no NFS client (nfs is not in /proc/filesystems, and modprobe nfsv3 did not bring it), as in most containers; mount on the host, or read the table with: posixlake cat, posixlake query',
    )
  }
}

function kernelHasNfs(): boolean {
  try {
    return /\bnfs$/m.test(readFileSync('/proc/filesystems', 'utf8'))
  } catch {
    return false
  }
}

/** Mounts. The server answers already: mount(8) would try for two minutes otherwise. */
export async function mount(request: MountRequest): Promise<void> {
  const { code, output } = await runCommand(mountCommand(request))
  if (code === 0 && mountAt(request.mountPoint) !== undefined) return
  throw new MountError(
    'failed',
    `${request.mountPoint} could not be mounted: ${output === '' ? `mount returned ${code}` : output}`,
  )
}

/** Unmounts. The kernel writes back what it holds before this resolves. `force`: also if the server is gone. */
export async function unmount(mountPoint: string, force = false, limitMs: number = UNMOUNT_LIMIT_MS): Promise<void> {
  if (mountAt(mountPoint) === undefined) throw new MountError('not_mounted', `${mountPoint} is not mounted`)
  const { code, output } = await runCommand(['umount', ...(force ? ['-f', '-l'] : []), mountPoint], limitMs)
  if (code === 0 || mountAt(mountPoint) === undefined) return
  if (code === 'late') {
    throw new MountError(
      'failed',
      `${mountPoint} was not unmounted within ${limitMs / 1000} s: what programs wrote there cannot be brought to the server; cut it off with: posixlake unmount --force ${shellQuoted(mountPoint)}`,
    )
  }
  // umount(8) has one exit status for all that the system refuses, and says only in words what it was.
  if (/busy/.test(output)) {
    throw new MountError(
      'busy',
      `${mountPoint} is in use: a program has a file open there, or stands in a folder of it; find it with: fuser -vm ${shellQuoted(mountPoint)}, or cut it off with: posixlake unmount --force ${shellQuoted(mountPoint)}`,
    )
  }
  throw new MountError('failed', `${mountPoint} could not be unmounted: ${output}`)
}
