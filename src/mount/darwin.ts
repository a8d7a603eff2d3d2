import { clientHost, type MountRequest } from './linux.ts'

/** The command that mounts on macOS, whose client keeps names cached and cannot be told not to. */
export function darwinMountCommand({ host, port, exportPath, mountPoint }: MountRequest): string[] {
  const options = ['vers=3', 'tcp', 'nolocks', 'locallocks', `port=${port}`, `mountport=${port}`, 'hard', 'intr']
  return ['mount_nfs', '-o', options.join(','), `${clientHost(host)}:${exportPath}`, mountPoint]
}
