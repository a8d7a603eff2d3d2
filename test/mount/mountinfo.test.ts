import { describe, expect, test } from 'bun:test'
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MountError } from '../../src/mount/errors.ts'
import { canonicalPath, checkMountPoint, mountCommand, mountOptions, parseMountinfo } from '../../src/mount/linux.ts'
import { runCommand, shellQuoted } from '../../src/mount/run.ts'
import { temporaryFolder } from '../helpers/temporary.ts'

function refusal(run: () => unknown): MountError {
  try {
    run()
  } catch (error) {
    if (error instanceof MountError) return error
    throw error
  }
  throw new Error('it did not fail')
}

describe('the list of mounts', () => {
  test('is read with names that hold blanks, tabs, newlines and backslashes', () => {
    const text = [
      '22 1 0:20 / /proc rw,nosuid shared:12 - proc proc rw',
      '36 35 98:0 / /mnt/a\\040b\\011c\\012d\\134e rw master:1 propagate_from:2 - nfs 127.0.0.1:/x\\040y rw,vers=3,port=12050,mountport=7,proto=tcp',
      '37 35 98:0 / /mnt/äöü rw - nfs4 server:/ rw',
      '38 35 98:0 / /mnt/a\\134040b rw - nfs [::1]:/x rw',
      '',
    ].join('\n')
    expect(parseMountinfo(text)).toEqual([
      { mountPoint: '/proc', type: 'proc', source: 'proc', port: undefined },
      { mountPoint: '/mnt/a b\tc\nd\\e', type: 'nfs', source: '127.0.0.1:/x y', port: 12050 },
      { mountPoint: '/mnt/äöü', type: 'nfs4', source: 'server:/', port: undefined },
      { mountPoint: '/mnt/a\\040b', type: 'nfs', source: '[::1]:/x', port: undefined },
    ])
    expect(parseMountinfo('')).toEqual([])
  })
})

describe('a mount point', () => {
  test('is a folder that exists and is free, under its real name', () => {
    using folder = temporaryFolder()
    expect(checkMountPoint(folder.path, '/tables/t')).toBe(folder.path)
    expect(refusal(() => checkMountPoint('/proc', '/tables/t'))).toMatchObject({ code: 'busy' })
    const missing = join(folder.path, "it's", 'missing')
    expect(refusal(() => checkMountPoint(missing, '/tables/t')).message).toEndWith(`mkdir -p ${shellQuoted(missing)}`)
    writeFileSync(join(folder.path, 'file'), '')
    expect(refusal(() => checkMountPoint(join(folder.path, 'file'), '/tables/t')).message).toEndWith('is not a folder')
    mkdirSync(join(folder.path, 'a b'))
    expect(checkMountPoint(join(folder.path, 'x', '..', 'a b'), '/tables/t')).toBe(join(folder.path, 'a b'))
    symlinkSync('a b', join(folder.path, 'link'))
    expect(checkMountPoint(join(folder.path, 'link'), '/tables/t')).toBe(join(folder.path, 'a b'))
  })

  test('is not the table, nor a part of it, nor what holds it', () => {
    using folder = temporaryFolder()
    const table = join(folder.path, 'table')
    mkdirSync(join(table, 'part'), { recursive: true })
    mkdirSync(`${table}-2`)
    for (const path of [table, join(table, 'part'), folder.path])
      expect(refusal(() => checkMountPoint(path, table)).message).toContain('choose another folder')
    expect(checkMountPoint(`${table}-2`, table)).toBe(`${table}-2`)
  })

  test('has the same name by every symbolic link, and by one that leads nowhere or in circles', () => {
    using folder = temporaryFolder()
    const at = (name: string): string => join(folder.path, name)
    mkdirSync(at('real'))
    symlinkSync('real', at('one'))
    symlinkSync(at('one'), at('two'))
    symlinkSync('loop', at('loop'))
    symlinkSync('missing', at('dangling'))
    expect(['real', 'one', 'two', 'two/', 'two/inner', 'dangling'].map(name => canonicalPath(at(name)))).toEqual([
      at('real'),
      at('real'),
      at('real'),
      at('real'),
      at('real/inner'),
      at('missing'),
    ])
    expect(canonicalPath(at('loop'))).toBe(at('loop'))
    expect(canonicalPath('/')).toBe('/')
  })
})

describe('the mount command', () => {
  test('has options that mount(8) takes, in one word', () => {
    expect(mountOptions({ host: '127.0.0.1', port: 12050 })).toBe(
      'vers=3,tcp,nolock,port=12050,mountport=12050,mountproto=tcp,hard,lookupcache=none,acregmax=3,nosuid,nodev,rw',
    )
    expect(mountOptions({ host: '127.0.0.1', port: 1 })).toEndWith(',rw')
  })

  test('puts an IPv6 address into brackets, and reaches a server that listens everywhere', () => {
    const sourceFor = (host: string): string | undefined =>
      mountCommand({ host, port: 1, exportPath: '/x', mountPoint: '/mnt', readOnly: false }).at(-2)
    expect(['::1', '::', '0.0.0.0', '127.0.0.1'].map(sourceFor)).toEqual([
      '[::1]:/x',
      '[::1]:/x',
      '127.0.0.1:/x',
      '127.0.0.1:/x',
    ])
    expect(mountOptions({ host: '::1', port: 1 })).toContain('proto=tcp6')
  })
})

describe('a command of the system', () => {
  test('comes back with what it printed and returned', async () => {
    expect(await runCommand(['sh', '-c', 'echo out; echo err >&2; exit 3'])).toEqual({ code: 3, output: 'out\nerr' })
    expect(await runCommand(['sh', '-c', 'pwd; echo $LC_ALL'])).toEqual({ code: 0, output: '/\nC' })
    expect(await runCommand(['no-such-command-anywhere'])).toMatchObject({ code: 127 })
  })

  test('is quoted so that a shell gives back each word', async () => {
    for (const word of ['plain', 'a b', "it's", '', '$HOME', 'a\nb', '*', '"', '\\'])
      expect((await runCommand(['sh', '-c', `printf %s ${shellQuoted(word)}x`])).output).toBe(`${word}x`.trim())
  })
})
