import { describe, expect, test } from 'bun:test'
import { darwinMountCommand } from '../../src/mount/darwin.ts'
import { mountAt, mountCommand, mounts } from '../../src/mount/linux.ts'
import { shellQuoted } from '../../src/mount/run.ts'

describe('mounting', () => {
  const request = { host: '127.0.0.1', port: 12049, exportPath: '/secret', mountPoint: '/mnt/a b', readOnly: true }

  test('has commands that a user may type', () => {
    const linux = mountCommand(request).map(shellQuoted).join(' ')
    expect(linux).toContain(`127.0.0.1:/secret '/mnt/a b'`)
    for (const option of [
      'vers=3',
      'tcp',
      'nolock',
      'port=12049',
      'mountport=12049',
      'lookupcache=none',
      'acregmax=3',
      'hard',
      ',rw',
    ])
      expect(linux).toContain(option)
    expect(darwinMountCommand(request).join(' ')).toContain('port=12049')
    expect(shellQuoted("it's")).toBe(`'it'\\''s'`)
  })

  test('knows what is mounted where', () => {
    expect(mounts().length).toBeGreaterThan(0)
    expect(mountAt('/proc')?.type).toBe('proc')
    expect(mountAt('/nowhere')).toBeUndefined()
  })
})
