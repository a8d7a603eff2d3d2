import { describe, expect, test } from 'bun:test'
import { FsError } from '../../src/fs/filesystem.ts'
import { Handles } from '../../src/nfs/nfs3/handles.ts'
import { nfsstat3 } from '../../src/nfs/nfs3/status.ts'
import {
  ACCESS3,
  FILE_BYTES_MAX,
  NFS_PROGRAM,
  NFS_V3,
  TRANSFER_BYTES_MAX,
  WRITE3args,
} from '../../src/nfs/nfs3/wire.ts'
import { encode } from '../../src/nfs/xdr/codec.ts'
import { EXPORT_SECRET, PLAIN, SECRET, serve } from './fixture.ts'

const exclusive = (verifier: bigint) => ({ kind: 'EXCLUSIVE', value: verifier }) as const

describe('files', () => {
  test('are created, written, read, renamed, listed and removed', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { handle } = await client.create(root, 'a.txt')
    const written = await client.write(handle, 0n, 'hello, world')
    expect(written).toMatchObject({ count: 12, committed: 'FILE_SYNC', verf: 1n })
    expect(written.file_wcc.before?.size).toBe(0n)
    expect(written.file_wcc.after?.size).toBe(12n)
    expect(await client.readText(handle)).toBe('hello, world')
    expect((await client.lookup(root, 'a.txt')).attributes).toMatchObject({ type: 'NF3REG', size: 12n })
    await client.rename(root, 'a.txt', root, 'b.txt')
    expect((await client.list(root)).map(({ name }) => name)).toEqual(['b.txt'])
    await client.remove(root, 'b.txt')
    expect(await client.list(root)).toEqual([])
    await expect(client.lookup(root, 'b.txt')).rejects.toMatchObject({ code: 'ENOENT' })
  })

  test('of many megabytes arrive as they were sent, in pieces of any size and alignment', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { handle } = await client.create(root, 'big')
    const bytes = new Uint8Array(5_000_003)
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31 + (i >> 8)) & 0xff
    const sizes = [1, 3, 4097, 65_537, 300_001, TRANSFER_BYTES_MAX]
    const writes: Promise<unknown>[] = []
    for (let at = 0, i = 0; at < bytes.length; i++) {
      const piece = bytes.subarray(at, at + (sizes[i % sizes.length] ?? 1))
      writes.push(client.write(handle, BigInt(at), piece, 'UNSTABLE'))
      at += piece.length
    }
    await Promise.all(writes)
    await client.commit(handle)
    expect(Buffer.compare(await client.readAll(handle, 99_999), bytes)).toBe(0)
    expect(Buffer.compare(await client.readAll(handle), bytes)).toBe(0)
  })

  test('are read to their end and no further', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { handle } = await client.create(root, 'f')
    await client.write(handle, 0n, 'abcdef')
    expect(await client.read(handle, 4n, 100)).toMatchObject({ count: 2, eof: true })
    expect(await client.read(handle, 0n, 3)).toMatchObject({ count: 3, eof: false })
    expect(await client.read(handle, 100n, 3)).toMatchObject({ count: 0, eof: true })
    expect((await client.read(handle, 0n, 0xffff_ffff)).count).toBe(6)
    await expect(client.read(handle, FILE_BYTES_MAX + 1n, 1)).rejects.toMatchObject({ code: 'EINVAL' })
  })

  test('change their attributes, guarded or not', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { handle, attributes } = await client.create(root, 'f')
    const time = { seconds: 981_173_046, nseconds: 789_000_001 }
    const wcc = await client.setattr(handle, {
      mode: 0o100600,
      uid: 5,
      gid: 6,
      size: 10n,
      atime: { kind: 'SET_TO_SERVER_TIME', value: undefined },
      mtime: { kind: 'SET_TO_CLIENT_TIME', value: time },
    })
    expect(wcc.after).toMatchObject({ mode: 0o600, uid: 5, gid: 6, size: 10n, mtime: time })
    await expect(client.setattr(handle, { size: 0n }, attributes?.ctime)).rejects.toMatchObject({ code: 'ENOTSYNC' })
    await client.setattr(handle, { size: 0n }, wcc.after?.ctime)
    expect((await client.getattr(handle)).size).toBe(0n)
    const badTime = { kind: 'SET_TO_CLIENT_TIME', value: { seconds: 1, nseconds: 1_000_000_000 } } as const
    await expect(client.setattr(handle, { mtime: badTime })).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(client.setattr(handle, { size: 2n ** 63n })).rejects.toMatchObject({ code: 'EFBIG' })
  })

  test('are created unchecked, guarded and exclusively', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const first = await client.create(root, 'f', exclusive(42n))
    const again = await client.create(root, 'f', exclusive(42n))
    expect(again.handle).toEqual(first.handle)
    await expect(client.create(root, 'f', exclusive(43n))).rejects.toMatchObject({ code: 'EEXIST' })
    const { kind, value } = { kind: 'GUARDED', value: { size: undefined } } as const
    const none = { kind: 'DONT_CHANGE', value: undefined } as const
    const attributes = { ...value, mode: 0o640, uid: undefined, gid: undefined, atime: none, mtime: none }
    await expect(client.create(root, 'f', { kind, value: attributes })).rejects.toMatchObject({ code: 'EEXIST' })
    expect((await client.create(root, 'g', { kind, value: attributes })).attributes?.mode).toBe(0o640)
    expect((await client.create(root, 'f')).handle).toEqual(first.handle)
  })

  test('have no links, devices or symbolic links', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { handle } = await client.create(root, 'f')
    await expect(client.symlink(root, 's', 'f')).rejects.toMatchObject({ code: 'EPERM' })
    await expect(client.mknod(root, 'p')).rejects.toMatchObject({ code: 'EPERM' })
    await expect(client.link(handle, root, 'l')).rejects.toMatchObject({ code: 'EPERM' })
    await expect(client.readlink(handle)).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(client.symlink(new Uint8Array(3), 's', 'f')).rejects.toMatchObject({ code: 'EBADHANDLE' })
    const readOnly = await client.mount(served.exports.open({ ...PLAIN, readOnly: true }))
    await expect(client.mknod(readOnly, 'p')).rejects.toMatchObject({ code: 'EROFS' })
  })

  test('refuse a WRITE whose count and data differ, or that ends beyond the largest file', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { handle } = await client.create(root, 'f')
    const args = { file: handle, offset: 0n, count: 5, stable: 'FILE_SYNC', data: new Uint8Array(4) } as const
    const reply = await client.callRaw(NFS_PROGRAM, NFS_V3, 7, [encode(WRITE3args, args)])
    expect(reply.uint32()).toBe(nfsstat3.EINVAL)
    await expect(client.write(handle, FILE_BYTES_MAX, 'ab')).rejects.toMatchObject({ code: 'EFBIG' })
  })
})

describe('names', () => {
  test('may be any UTF-8, a byte order mark included', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    for (const name of ['grün', '😀', '\ufeffbom', 'a b', 'x'.repeat(255)]) {
      await client.create(root, name)
      await client.lookup(root, name)
    }
    expect((await client.list(root)).map(({ name }) => name)).toContain('\ufeffbom')
  })

  test('that are not UTF-8, or too long, get a status that says so', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    await expect(client.lookup(root, Uint8Array.of(0x63, 0xe9))).rejects.toMatchObject({ code: 'EINVAL' })
    await expect(client.create(root, 'x'.repeat(256))).rejects.toMatchObject({ code: 'ENAMETOOLONG' })
  })
})

describe('directories', () => {
  test('are made, moved, and removed when empty', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { handle: a } = await client.mkdir(root, 'a', { mode: 0o700 })
    const { handle: b } = await client.mkdir(a, 'b')
    expect((await client.getattr(a)).mode).toBe(0o700)
    await expect(client.rmdir(root, 'a')).rejects.toMatchObject({ code: 'ENOTEMPTY' })
    await expect(client.remove(root, 'a')).rejects.toMatchObject({ code: 'EISDIR' })
    await expect(client.rename(root, 'a', b, 'c')).rejects.toMatchObject({ code: 'EINVAL' })
    const moved = await client.rename(a, 'b', root, 'c')
    expect(moved.fromdir_wcc.after?.fileid).not.toBe(moved.todir_wcc.after?.fileid)
    await client.rmdir(root, 'a')
    await expect(client.getattr(a)).rejects.toMatchObject({ code: 'ESTALE' })
    expect((await client.lookup(b, '..')).attributes?.fileid).toBe((await client.getattr(root)).fileid)
  })

  test('are listed within the count that the client names, whatever it is', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const names = Array.from({ length: 60 }, (_, i) => `${'n'.repeat(i * 4)}${i}`)
    for (const name of names) await client.create(root, name)
    for (const count of [300, 512, 1000, 4096, 65536]) {
      const seen: string[] = []
      let cookie = 0n
      for (let eof = false; !eof; ) {
        const page = await client.readdir(root, { cookie, count })
        expect(page.bytes).toBeLessThanOrEqual(count)
        expect(page.entries.length > 0 || page.eof).toBe(true)
        seen.push(...page.entries.map(({ name }) => name))
        cookie = page.entries.at(-1)?.cookie ?? cookie
        eof = page.eof
      }
      expect(seen).toEqual(['.', '..', ...names])
    }
    await expect(client.readdir(root, { count: 20 })).rejects.toMatchObject({ code: 'ETOOSMALL' })
  })

  test('are listed with attributes and handles within dircount and maxcount', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const names = Array.from({ length: 40 }, (_, i) => `name${i}`)
    for (const name of names) await client.create(root, name)
    const all = await client.list(root)
    expect(all.map(({ name }) => name)).toEqual(names)
    for (const entry of all) {
      expect((await client.getattr(entry.handle ?? root)).fileid).toBe(entry.fileid)
      expect(entry.attributes?.fileid).toBe(entry.fileid)
    }
    for (const maxcount of [200, 1000, 4096]) {
      const page = await client.readdirplus(root, { maxcount })
      expect(page.bytes).toBeLessThanOrEqual(maxcount)
      expect(page.entries.length).toBeGreaterThan(0)
      expect(page.eof).toBe(false)
    }
    // 20 bytes and the padded name each: '.', '..' and 'name0' are 24 + 24 + 28.
    expect((await client.readdirplus(root, { dircount: 76 })).entries).toHaveLength(3)
    expect((await client.readdirplus(root, { dircount: 75 })).entries).toHaveLength(2)
    expect((await client.readdirplus(root, { dircount: 0 })).entries).toHaveLength(1)
    await expect(client.readdirplus(root, { maxcount: 100 })).rejects.toMatchObject({ code: 'ETOOSMALL' })
  })

  test('are listed to their end while their entries are removed', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    for (let i = 0; i < 200; i++) await client.create(root, `f${i}`)
    let cookie = 0n
    for (let eof = false; !eof; ) {
      const page = await client.readdirplus(root, { cookie, maxcount: 2000 })
      for (const { name } of page.entries) if (!name.startsWith('.')) await client.remove(root, name)
      cookie = page.entries.at(-1)?.cookie ?? cookie
      eof = page.eof
    }
    expect(await client.list(root)).toEqual([])
  })
})

describe('the file system as a whole', () => {
  test('says how large its files, names and transfers may be', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    expect(await client.fsinfo(root)).toMatchObject({
      rtmax: TRANSFER_BYTES_MAX,
      wtmax: TRANSFER_BYTES_MAX,
      dtpref: 65536,
      maxfilesize: FILE_BYTES_MAX,
      time_delta: { seconds: 0, nseconds: 1 },
      properties: 0x18,
    })
    expect(await client.pathconf(root)).toMatchObject({ name_max: 255, no_trunc: true, case_preserving: true })
    expect((await client.fsstat(root)).tbytes).toBe(64n << 30n)
  })

  test('shows in ACCESS and in every change that it is read-only', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { handle } = await client.create(root, 'f')
    expect(await client.access(root, 0x3f)).toBe(0x3f & ~ACCESS3.EXECUTE)
    expect(await client.access(handle, ACCESS3.READ | ACCESS3.MODIFY)).toBe(ACCESS3.READ | ACCESS3.MODIFY)
    expect(await client.opened(handle)).toEqual(await client.getattr(handle))
    const readOnly = served.exports.open({ ...PLAIN, readOnly: true })
    const shownRoot = await client.mount(readOnly)
    const shown = (await client.lookup(shownRoot, 'f')).handle
    expect(await client.access(shown, 0x3f)).toBe(ACCESS3.READ)
    for (const change of [
      () => client.write(shown, 0n, 'x'),
      () => client.setattr(shown, { size: 0n }),
      () => client.create(shownRoot, 'g'),
      () => client.mkdir(shownRoot, 'd'),
      () => client.remove(shownRoot, 'f'),
      () => client.rmdir(shownRoot, 'f'),
      () => client.rename(shownRoot, 'f', shownRoot, 'g'),
      () => client.commit(shown),
    ]) {
      await expect(change()).rejects.toMatchObject({ code: 'EROFS' })
    }
  })

  test('has a plain and a frozen tree, whose handles and fsids differ', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    await client.create(root, 'f')
    const frozenRoot = await client.mount(`/${EXPORT_SECRET}`)
    const plain = await client.lookup(root, 'f')
    const frozen = await client.lookup(frozenRoot, 'f')
    expect(frozen.handle).not.toEqual(plain.handle)
    expect(frozen.attributes?.fileid).toBe(plain.attributes?.fileid ?? 0n)
    expect(frozen.attributes?.fsid).not.toBe(plain.attributes?.fsid ?? 0n)
    expect(new Handles(SECRET).open(frozen.handle)).toMatchObject({ kind: 'node', node: { frozen: true } })
    const listed = (await client.list(frozenRoot))[0]
    expect(listed?.handle).toEqual(frozen.handle)
  })
})

describe('failures', () => {
  test('of a kind that the protocol does not know become EIO, and a sentence in the log', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    served.fs.failures.set('getattr', new TypeError('the disk is on fire'))
    await expect(client.getattr(root)).rejects.toMatchObject({ code: 'EIO' })
    await client.null()
    expect(served.logged).toEqual(['NFS GETATTR failed, and the client was told EIO: the disk is on fire'])
  })

  test.each(['ENOSPC', 'EDQUOT', 'EFBIG', 'EJUKEBOX', 'EXDEV', 'EMLINK', 'EPERM'] as const)(
    'of the file system reach the client as they are: %s',
    async code => {
      await using served = await serve()
      const [client, root] = await served.mounted()
      served.fs.failures.set('getattr', new FsError(code, 'It failed.'))
      await expect(client.getattr(root)).rejects.toMatchObject({ code })
      await client.null()
      expect(served.logged).toEqual([])
    },
  )

  test('name handles that are forged, foreign, or of files that are gone', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const forged = root.slice()
    forged[30] = (forged[30] ?? 0) ^ 1
    await expect(client.getattr(forged)).rejects.toMatchObject({ code: 'EBADHANDLE' })
    await expect(client.getattr(new Uint8Array(0))).rejects.toMatchObject({ code: 'EBADHANDLE' })
    const foreign = new Handles(new Uint8Array(32).fill(9)).make({ id: 1n, ...PLAIN })
    await expect(client.getattr(foreign)).rejects.toMatchObject({ code: 'ESTALE' })
    const { handle } = await client.create(root, 'f')
    await client.remove(root, 'f')
    await expect(client.getattr(handle)).rejects.toMatchObject({ code: 'ESTALE' })
  })

  test('leave attributes out where the file system withholds them', async () => {
    await using served = await serve()
    const [client, root] = await served.mounted()
    const { handle } = await client.create(root, 'f')
    served.fs.withholdAttributes = true
    expect(await client.write(handle, 0n, 'x')).toMatchObject({
      file_wcc: { before: undefined, after: undefined },
    })
    expect(await client.remove(root, 'f')).toEqual({ before: undefined, after: undefined })
  })
})
