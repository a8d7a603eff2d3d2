import { describe, expect, test } from 'bun:test'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MountError } from '../../src/mount/errors.ts'
import { checkMountPoint, mountCommand, mountOptions, parseMountinfo } from '../../src/mount/linux.ts'
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
      '36 35 98:0 / /mnt/a\\040b\\011c\\012d\\134e rw master:1 propagate_from:2 - nfs 127.0.0.1:/x\\040y rw,vers=3',
      '37 35 98:0 / /mnt/äöü rw - nfs4 server:/ rw',
      '38 35 98:0 / /mnt/a\\134040b rw - nfs [::1]:/x rw',
      '',
    ].join('\n')
    expect(parseMountinfo(text)).toEqual([
      { mountPoint: '/proc', type: 'proc', source: 'proc' },
      { mountPoint: '/mnt/a b\tc\nd\\e', type: 'nfs', source: '127.0.0.1:/x y' },
      { mountPoint: '/mnt/äöü', type: 'nfs4', source: 'server:/' },
      { mountPoint: '/mnt/a\\040b', type: 'nfs', source: '[::1]:/x' },
    ])
    expect(parseMountinfo('')).toEqual([])
  })
})

describe('a mount point', () => {
  test('is a folder that exists and is free, under its real name', () => {
    using folder = temporaryFolder()
    expect(checkMountPoint(folder.path)).toBe(folder.path)
    expect(refusal(() => checkMountPoint('/proc'))).toMatchObject({ code: 'busy' })
    const missing = join(folder.path, "it's", 'missing')
    expect(refusal(() => checkMountPoint(missing)).message).toEndWith(`mkdir -p ${shellQuoted(missing)}`)
    writeFileSync(join(folder.path, 'file'), '')
    expect(refusal(() => checkMountPoint(join(folder.path, 'file'))).message).toEndWith('is not a folder')
    mkdirSync(join(folder.path, 'a b'))
    expect(checkMountPoint(join(folder.path, 'x', '..', 'a b'))).toBe(join(folder.path, 'a b'))
  })
})

describe('the mount command', () => {
  test('has options that mount(8) takes, in one word', () => {
    expect(mountOptions({ port: 12050, readOnly: false })).toBe(
      'vers=3,tcp,nolock,port=12050,mountport=12050,mountproto=tcp,hard,lookupcache=none,nosuid,nodev,rw',
    )
    expect(mountOptions({ port: 1, readOnly: true })).toEndWith(',ro')
  })

  test('puts an IPv6 address into brackets', () => {
    const command = mountCommand({ host: '::1', port: 1, exportPath: '/x', mountPoint: '/mnt', readOnly: false })
    expect(command.at(-2)).toBe('[::1]:/x')
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
