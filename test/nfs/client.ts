import { errnoOf } from '../../src/core/errors.ts'
import { dirpath, exports, MOUNT_PROGRAM, MOUNT_V3, mountlist, mountres3 } from '../../src/nfs/mount3/wire.ts'
import { statusName } from '../../src/nfs/nfs3/status.ts'
import * as wire from '../../src/nfs/nfs3/wire.ts'
import { authFlavor, authsys_parms, CALL, REPLY, RPC_VERSION } from '../../src/nfs/rpc/message.ts'
import { RecordReader, recordMark } from '../../src/nfs/rpc/record.ts'
import { type Codec, type Decoded, encode, XdrReader, XdrWriter } from '../../src/nfs/xdr/codec.ts'
import { nothing, struct, utf8Bytes, utf8Text } from '../../src/nfs/xdr/primitives.ts'

/** What a server answered that is not the result of a procedure: see RFC 5531, section 9. */
export class RpcReplyError extends Error {
  /** `accept_stat`, or for a denied call `reject_stat` and `auth_stat`. */
  readonly reply: { readonly accepted: number } | { readonly denied: number; readonly detail: number }

  constructor(reply: RpcReplyError['reply']) {
    super(`RPC: ${JSON.stringify(reply)}`)
    this.name = 'RpcReplyError'
    this.reply = reply
  }
}

/** A status other than OK, of NFS or MOUNT. */
export class NfsClientError extends Error {
  readonly status: number
  /** `ENOENT`, `ESTALE`, ... */
  readonly code: string

  constructor(procedure: string, status: number) {
    super(`${procedure}: ${statusName(status)}`)
    this.name = 'NfsClientError'
    this.status = status
    this.code = statusName(status)
  }
}

export type Handle = Uint8Array
export type Fattr = wire.Fattr3

export interface ClientOptions {
  readonly host?: string
  readonly port: number
  /** AUTH_SYS; 'none' for AUTH_NONE. Root if not given. */
  readonly uid?: number | 'none'
  /** The port to connect from, as a kernel does that connects anew; any if not given. */
  readonly localPort?: number | undefined
}

export interface ClientEntry {
  readonly name: string
  readonly fileid: bigint
  readonly cookie: bigint
  readonly attributes: Fattr | undefined
  readonly handle: Handle | undefined
}

export const noChange: wire.Sattr3 = {
  mode: undefined,
  uid: undefined,
  gid: undefined,
  size: undefined,
  atime: { kind: 'DONT_CHANGE', value: undefined },
  mtime: { kind: 'DONT_CHANGE', value: undefined },
}

export type NewAttributes = Partial<wire.Sattr3>

/** A reply to READ: its data are in one part. */
type Read = Omit<Decoded<typeof wire.READ3resok>, 'data'> & { readonly data: Uint8Array }

const renameFailure = wire.RENAME3resok
const linkFailure = struct({ file_attributes: wire.post_op_attr, linkdir_wcc: wire.wcc_data })

/** A small NFSv3 and MOUNT3 client for tests: one connection, any number of calls under way. */
export class NfsClient implements AsyncDisposable {
  readonly #socket: Bun.Socket
  readonly #pending = new Map<number, { resolve(reply: Uint8Array): void; reject(error: Error): void }>()
  readonly #records = new RecordReader(64 * 1024 * 1024)
  readonly #uid: number | 'none'
  #out: Uint8Array[] = []
  // Random, as real clients do it: the server takes a call with a known XID for a retransmission.
  #xid = Math.floor(Math.random() * 0x7fff_ffff)
  #closed: Error | undefined

  private constructor(socket: Bun.Socket, uid: number | 'none') {
    this.#socket = socket
    this.#uid = uid
  }

  static async connect({ host = '127.0.0.1', port, uid = 0, localPort }: ClientOptions): Promise<NfsClient> {
    let client: NfsClient | undefined
    const socket = await Bun.connect({
      hostname: host,
      port,
      ...(localPort === undefined ? {} : { localPort, localAddress: host }),
      socket: {
        data: (_, chunk) => client?.received(chunk),
        drain: () => client?.flush(),
        close: () => client?.fail(new Error('The server closed the connection.')),
        error: (_, error) => client?.fail(error),
      },
    })
    socket.setNoDelay(true)
    client = new NfsClient(socket, uid)
    return client
  }

  /** Connects from a port that is this client's alone, so that it may connect anew from there as Linux does (xs_get_srcport). */
  static async fromOwnPort(port: number): Promise<NfsClient> {
    for (;;) {
      // Below those that the system gives out.
      const localPort = 20_000 + Math.floor(Math.random() * 12_000)
      try {
        return await NfsClient.connect({ port, localPort })
      } catch (error) {
        if (errnoOf(error) !== 'EADDRINUSE') throw error
      }
    }
  }

  /** The port that it is connected from. */
  get localPort(): number {
    return this.#socket.localPort
  }

  close(): void {
    this.#socket.end()
    this.fail(new Error('The client was closed.'))
  }

  /** The connection breaks, and its port is free again. */
  drop(): void {
    this.#socket.terminate()
    this.fail(new Error('The connection was dropped.'))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  /** Sends bytes as they are, for tests of what a server makes of nonsense. */
  sendRaw(bytes: Uint8Array): void {
    this.#out.push(bytes)
    this.flush()
  }

  /** Resolves when the server has closed the connection. */
  async untilClosed(): Promise<void> {
    if (this.#closed !== undefined) return
    await new Promise<void>(resolve => this.#pending.set(-1, { resolve: () => resolve(), reject: () => resolve() }))
  }

  /** Stops reading, as a client does that cannot keep up. */
  pauseReading(): void {
    this.#socket.pause()
  }

  resumeReading(): void {
    this.#socket.resume()
  }

  /** The next call's XID; set it to make a call look like a retransmission. */
  get nextXid(): number {
    return this.#xid
  }

  set nextXid(xid: number) {
    this.#xid = xid
  }

  /** One call: a program's procedure with encoded arguments. Resolves to the results, still encoded. */
  async callRaw(
    program: number,
    version: number,
    procedure: number,
    args: readonly Uint8Array[],
    rpcVersion: number = RPC_VERSION,
  ): Promise<XdrReader> {
    if (this.#closed !== undefined) throw this.#closed
    const xid = this.#xid
    this.#xid = (xid + 1) >>> 0
    const reply = this.expectReply(xid)
    this.#send([...this.#callHead(xid, program, version, procedure, rpcVersion), ...args])
    return reply
  }

  /** The results in the reply to a call that `sendRaw` sends. */
  async expectReply(xid: number): Promise<XdrReader> {
    const reply = new Promise<Uint8Array>((resolve, reject) => this.#pending.set(xid, { resolve, reject }))
    return resultsOf(await reply)
  }

  async call<A, R>(
    program: number,
    version: number,
    procedure: number,
    args: Codec<A>,
    result: Codec<R>,
    value: A,
  ): Promise<R> {
    const writer = new XdrWriter()
    args.encode(writer, value)
    const reader = await this.callRaw(program, version, procedure, writer.finish())
    const decoded = result.decode(reader)
    reader.end()
    return decoded
  }

  // MOUNT3

  async mountNull(): Promise<void> {
    await this.call(MOUNT_PROGRAM, MOUNT_V3, 0, nothing, nothing, undefined)
  }

  /** The file handle of an export's root. */
  async mount(path: string): Promise<Handle> {
    const result = await this.call(MOUNT_PROGRAM, MOUNT_V3, 1, dirpath, mountres3, path)
    if (result.status !== 0) throw new NfsClientError('MNT', result.status)
    return result.fhandle.slice()
  }

  dump(): Promise<Decoded<typeof mountlist>> {
    return this.call(MOUNT_PROGRAM, MOUNT_V3, 2, nothing, mountlist, undefined)
  }

  async unmount(path: string): Promise<void> {
    await this.call(MOUNT_PROGRAM, MOUNT_V3, 3, dirpath, nothing, path)
  }

  async unmountAll(): Promise<void> {
    await this.call(MOUNT_PROGRAM, MOUNT_V3, 4, nothing, nothing, undefined)
  }

  exports(): Promise<Decoded<typeof exports>> {
    return this.call(MOUNT_PROGRAM, MOUNT_V3, 5, nothing, exports, undefined)
  }

  // NFS3: one method a procedure; each throws NfsClientError for a status other than OK.

  async null(): Promise<void> {
    await this.call(wire.NFS_PROGRAM, wire.NFS_V3, 0, nothing, nothing, undefined)
  }

  async getattr(object: Handle): Promise<Fattr> {
    const { obj_attributes } = await this.#nfs(1, 'GETATTR', wire.GETATTR3args, wire.GETATTR3resok, nothing, { object })
    return obj_attributes
  }

  async setattr(object: Handle, changes: NewAttributes, guard?: wire.Nfstime3): Promise<wire.WccData> {
    const args = { object, new_attributes: { ...noChange, ...changes }, guard }
    const { obj_wcc } = await this.#nfs(2, 'SETATTR', wire.SETATTR3args, wire.SETATTR3resok, wire.wcc_data, args)
    return obj_wcc
  }

  async lookup(dir: Handle, name: string | Uint8Array): Promise<{ handle: Handle; attributes: Fattr | undefined }> {
    const args = { what: diropargs(dir, name) }
    const found = await this.#nfs(3, 'LOOKUP', wire.LOOKUP3args, wire.LOOKUP3resok, wire.post_op_attr, args)
    return { handle: found.object.slice(), attributes: found.obj_attributes }
  }

  /** LOOKUP along a path of names. */
  async walk(root: Handle, path: string): Promise<Handle> {
    let handle = root
    for (const name of path.split('/').filter(part => part !== '')) handle = (await this.lookup(handle, name)).handle
    return handle
  }

  async access(object: Handle, access: number): Promise<number> {
    const args = { object, access }
    return (await this.#nfs(4, 'ACCESS', wire.ACCESS3args, wire.ACCESS3resok, wire.post_op_attr, args)).access
  }

  /** The attributes that ACCESS tells: what open(2) knows of a file whose name was looked up before. */
  async opened(object: Handle): Promise<Fattr | undefined> {
    const args = { object, access: 0x2d }
    const found = await this.#nfs(4, 'ACCESS', wire.ACCESS3args, wire.ACCESS3resok, wire.post_op_attr, args)
    return found.obj_attributes
  }

  async readlink(symlink: Handle): Promise<Uint8Array> {
    const args = { symlink }
    return (await this.#nfs(5, 'READLINK', wire.READLINK3args, wire.READLINK3resok, wire.post_op_attr, args)).data
  }

  async read(file: Handle, offset: bigint, count: number): Promise<Read> {
    const args = { file, offset, count }
    const read = await this.#nfs(6, 'READ', wire.READ3args, wire.READ3resok, wire.post_op_attr, args)
    return { ...read, data: read.data[0]! }
  }

  /** The whole file, in READs of `count` bytes. */
  async readAll(file: Handle, count: number = wire.TRANSFER_BYTES_MAX): Promise<Uint8Array> {
    const pieces: Uint8Array[] = []
    let offset = 0n
    while (true) {
      const { data, eof } = await this.read(file, offset, count)
      pieces.push(data)
      offset += BigInt(data.length)
      if (eof || data.length === 0) return new Uint8Array(Buffer.concat(pieces))
    }
  }

  async readText(file: Handle): Promise<string> {
    return new TextDecoder().decode(await this.readAll(file))
  }

  write(
    file: Handle,
    offset: bigint,
    data: Uint8Array | string,
    stable: wire.StableHow = 'FILE_SYNC',
  ): Promise<Decoded<typeof wire.WRITE3resok>> {
    const bytes = typeof data === 'string' ? utf8Bytes(data) : data
    const args = { file, offset, count: bytes.length, stable, data: bytes }
    return this.#nfs(7, 'WRITE', wire.WRITE3args, wire.WRITE3resok, wire.wcc_data, args)
  }

  create(dir: Handle, name: string, how?: Decoded<typeof wire.CREATE3args>['how']): Promise<CreatedFile> {
    const args = { where: diropargs(dir, name), how: how ?? { kind: 'UNCHECKED', value: noChange } }
    return this.#created(8, 'CREATE', wire.CREATE3args, args)
  }

  mkdir(dir: Handle, name: string, attributes: NewAttributes = {}): Promise<CreatedFile> {
    const args = { where: diropargs(dir, name), attributes: { ...noChange, ...attributes } }
    return this.#created(9, 'MKDIR', wire.MKDIR3args, args)
  }

  symlink(dir: Handle, name: string, target: string): Promise<CreatedFile> {
    const args = { where: diropargs(dir, name), attributes: noChange, path: utf8Bytes(target) }
    return this.#created(10, 'SYMLINK', wire.SYMLINK3args, args)
  }

  mknod(dir: Handle, name: string): Promise<CreatedFile> {
    const args = { where: diropargs(dir, name), what: { kind: 'NF3FIFO', value: noChange } } as const
    return this.#created(11, 'MKNOD', wire.MKNOD3args, args)
  }

  async remove(dir: Handle, name: string): Promise<wire.WccData> {
    const args = { object: diropargs(dir, name) }
    return (await this.#nfs(12, 'REMOVE', wire.REMOVE3args, wire.REMOVE3resok, wire.wcc_data, args)).dir_wcc
  }

  async rmdir(dir: Handle, name: string): Promise<wire.WccData> {
    const args = { object: diropargs(dir, name) }
    return (await this.#nfs(13, 'RMDIR', wire.REMOVE3args, wire.REMOVE3resok, wire.wcc_data, args)).dir_wcc
  }

  rename(fromDir: Handle, fromName: string, toDir: Handle, toName: string): Promise<Decoded<typeof wire.RENAME3resok>> {
    const args = { from: diropargs(fromDir, fromName), to: diropargs(toDir, toName) }
    return this.#nfs(14, 'RENAME', wire.RENAME3args, wire.RENAME3resok, renameFailure, args)
  }

  async link(file: Handle, dir: Handle, name: string): Promise<void> {
    await this.#nfs(15, 'LINK', wire.LINK3args, wire.LINK3resok, linkFailure, { file, link: diropargs(dir, name) })
  }

  async readdir(
    dir: Handle,
    { cookie = 0n, count = 65536 }: { cookie?: bigint; count?: number } = {},
  ): Promise<{ entries: ClientEntry[]; eof: boolean; bytes: number }> {
    const args = { dir, cookie, cookieverf: 0n, count }
    const found = await this.#nfs(16, 'READDIR', wire.READDIR3args, wire.READDIR3resok, wire.post_op_attr, args)
    const entries = found.entries.map(entry => ({
      ...entry,
      name: nameOf(entry.name),
      attributes: undefined,
      handle: undefined,
    }))
    return { entries, eof: found.eof, bytes: encode(wire.READDIR3resok, found).length }
  }

  async readdirplus(
    dir: Handle,
    { cookie = 0n, dircount = 65536, maxcount = 65536 }: { cookie?: bigint; dircount?: number; maxcount?: number } = {},
  ): Promise<{ entries: ClientEntry[]; eof: boolean; bytes: number }> {
    const args = { dir, cookie, cookieverf: 0n, dircount, maxcount }
    const codec = wire.READDIRPLUS3resok
    const found = await this.#nfs(17, 'READDIRPLUS', wire.READDIRPLUS3args, codec, wire.post_op_attr, args)
    const entries = found.entries.map(entry => ({
      name: nameOf(entry.name),
      fileid: entry.fileid,
      cookie: entry.cookie,
      attributes: entry.name_attributes,
      handle: entry.name_handle?.slice(),
    }))
    return { entries, eof: found.eof, bytes: encode(codec, found).length }
  }

  /** All entries of a directory but '.' and '..', by READDIRPLUS. */
  async list(dir: Handle): Promise<ClientEntry[]> {
    const all: ClientEntry[] = []
    let cookie = 0n
    while (true) {
      const { entries, eof } = await this.readdirplus(dir, { cookie })
      all.push(...entries)
      if (eof) return all.filter(({ name }) => name !== '.' && name !== '..')
      cookie = entries.at(-1)?.cookie ?? cookie
    }
  }

  fsstat(fsroot: Handle): Promise<Decoded<typeof wire.FSSTAT3resok>> {
    return this.#nfs(18, 'FSSTAT', wire.FSROOT3args, wire.FSSTAT3resok, wire.post_op_attr, { fsroot })
  }

  fsinfo(fsroot: Handle): Promise<Decoded<typeof wire.FSINFO3resok>> {
    return this.#nfs(19, 'FSINFO', wire.FSROOT3args, wire.FSINFO3resok, wire.post_op_attr, { fsroot })
  }

  pathconf(fsroot: Handle): Promise<Decoded<typeof wire.PATHCONF3resok>> {
    return this.#nfs(20, 'PATHCONF', wire.FSROOT3args, wire.PATHCONF3resok, wire.post_op_attr, { fsroot })
  }

  commit(file: Handle, offset: bigint = 0n, count: number = 0): Promise<Decoded<typeof wire.COMMIT3resok>> {
    return this.#nfs(21, 'COMMIT', wire.COMMIT3args, wire.COMMIT3resok, wire.wcc_data, { file, offset, count })
  }

  async #created<A>(number: number, name: string, args: Codec<A>, value: A): Promise<CreatedFile> {
    const created = await this.#nfs(number, name, args, wire.CREATE3resok, wire.wcc_data, value)
    if (created.obj === undefined) throw new Error(`${name}: the reply has no file handle.`)
    return { handle: created.obj.slice(), attributes: created.obj_attributes, directory: created.dir_wcc }
  }

  async #nfs<A, Ok, Fail>(
    number: number,
    name: string,
    args: Codec<A>,
    ok: Codec<Ok>,
    fail: Codec<Fail>,
    value: A,
  ): Promise<Ok> {
    const result = await this.call(wire.NFS_PROGRAM, wire.NFS_V3, number, args, wire.nfsres3(ok, fail), value)
    if (!result.ok) throw new NfsClientError(name, result.status)
    return result.value
  }

  #callHead(xid: number, program: number, version: number, procedure: number, rpcVersion: number): Uint8Array[] {
    const writer = new XdrWriter()
    for (const word of [xid, CALL, rpcVersion, program, version, procedure]) writer.uint32(word)
    if (this.#uid === 'none') {
      for (const word of [authFlavor.AUTH_NONE, 0]) writer.uint32(word)
    } else {
      const body = encode(authsys_parms, { stamp: 0, machinename: 'test', uid: this.#uid, gid: this.#uid, gids: [] })
      writer.uint32(authFlavor.AUTH_SYS)
      writer.uint32(body.length)
      writer.opaque(body)
    }
    for (const word of [authFlavor.AUTH_NONE, 0]) writer.uint32(word)
    return writer.finish()
  }

  #send(pieces: readonly Uint8Array[]): void {
    const mark = new Uint8Array(4)
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0)
    new DataView(mark.buffer).setUint32(0, recordMark(length))
    this.#out.push(mark, ...pieces)
    this.flush()
  }

  flush(): void {
    while (this.#closed === undefined) {
      const piece = this.#out[0]
      if (piece === undefined) return
      const written = this.#socket.write(piece)
      if (written < piece.length) {
        this.#out[0] = piece.subarray(Math.max(written, 0))
        return
      }
      this.#out.shift()
    }
  }

  received(chunk: Uint8Array): void {
    // Plain arrays: a Buffer's `slice` is a view.
    this.#records.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength))
    for (let record = this.#records.next(); record !== undefined; record = this.#records.next()) {
      const xid = new XdrReader(record).uint32()
      const waiting = this.#pending.get(xid)
      this.#pending.delete(xid)
      waiting?.resolve(record)
    }
  }

  fail(error: Error): void {
    this.#closed ??= error
    for (const { reject } of this.#pending.values()) reject(error)
    this.#pending.clear()
  }
}

export interface CreatedFile {
  readonly handle: Handle
  readonly attributes: Fattr | undefined
  readonly directory: wire.WccData
}

function diropargs(dir: Handle, name: string | Uint8Array): Decoded<typeof wire.diropargs3> {
  return { dir, name: typeof name === 'string' ? utf8Bytes(name) : name }
}

function nameOf(bytes: Uint8Array): string {
  const text = utf8Text(bytes)
  if (text === undefined) throw new Error('The server sent a name that is not UTF-8.')
  return text
}

/** The results in a reply. Throws RpcReplyError if there are none. */
function resultsOf(record: Uint8Array): XdrReader {
  const reader = new XdrReader(record)
  reader.uint32()
  if (reader.uint32() !== REPLY) throw new Error('The server sent something that is not a reply.')
  if (reader.uint32() !== 0) throw new RpcReplyError({ denied: reader.uint32(), detail: reader.uint32() })
  reader.uint32()
  reader.opaque(reader.uint32())
  const accepted = reader.uint32()
  if (accepted !== 0) throw new RpcReplyError({ accepted })
  return reader
}
