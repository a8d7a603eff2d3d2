import type { Socket, TCPSocketListener } from 'bun'
import type { Clock } from '../../core/clock.ts'
import { errnoOf, LakeError, messageOf } from '../../core/errors.ts'
import { XdrError } from '../xdr/codec.ts'
import { Budget, Connection, type ConnectionLimits } from './connection.ts'
import {
  accepted,
  acceptStat,
  authError,
  authStat,
  type CallMessage,
  type Credential,
  programMismatch,
  receiveCall,
  sealed,
  success,
} from './message.ts'
import type { PeerConnection } from './peer.ts'
import type { Call, PreparedCall, Procedure, Program } from './program.ts'
import { type KeptReply, ReplyCache, type ReplyCacheLimits } from './replies.ts'
import { CallsUnderWay } from './under-way.ts'

export class ListenError extends LakeError<'address_in_use' | 'listen_failed'> {}

export interface RpcLimits extends ConnectionLimits, ReplyCacheLimits {
  readonly connectionsMax: number
  /** For how long a client that was served must have been idle before its connection may be closed for another's. */
  readonly servedIdleMs: number
  /** The interval at which connections are looked at for the timeouts. */
  readonly sweepIntervalMs: number
  /** Bytes held for all connections. */
  readonly totalHeldBytesMax: number
  /** For how long a client whose connection broke may take to repeat its calls until they are given up. */
  readonly repeatWithinMs: number
}

/** One answered call, for tracing. */
export interface CallEvent {
  readonly client: string
  readonly xid: number
  readonly credential: Credential
  readonly program: string
  readonly procedure: string
  readonly args: unknown
  readonly outcome: string
  readonly durationMs: number
}

export interface RpcOptions {
  readonly host: string
  readonly port: number
  readonly programs: readonly Program[]
  readonly limits: RpcLimits
  readonly clock: Clock
  log(sentence: string): void
  onCall?: ((event: CallEvent) => void) | undefined
  /** A connection has ended. */
  onDisconnect?: (() => void) | undefined
  admit(peer: PeerConnection): Admission
}

/** True if a peer may connect, and as whom (undefined: as whoever it says); `socket`: see Connection. */
export type Admission =
  | { readonly admitted: false; readonly reason: string }
  | { readonly admitted: true; readonly uid: number | undefined; readonly socket: number | undefined }

export interface RpcStats {
  readonly connections: number
  /** Those whose client was served. */
  readonly servedConnections: number
  readonly callsInFlight: number
  readonly heldBytes: number
  readonly calls: number
  readonly repeatedCalls: number
  readonly refusedConnections: number
}

const REPLY_KEY_BYTES = 4 * 1024

/** Connections that all servers of this process have accepted: no two have the same number. */
let connectionsAccepted = 0

/** Serves RPC programs over TCP (RFC 5531): one port, any number of programs, calls of one client side by side. */
export class RpcServer {
  readonly #options: RpcOptions
  readonly #listener: TCPSocketListener<Connection | undefined>
  readonly #connections = new Set<Connection>()
  readonly #budget: Budget
  readonly #replies: ReplyCache
  readonly #underWay: CallsUnderWay
  readonly #sweeper: ReturnType<typeof setInterval>
  #calls = 0
  #refused = 0
  #closing: Promise<void> | undefined

  /** Listens at once. Throws ListenError. */
  constructor(options: RpcOptions) {
    this.#options = options
    this.#budget = new Budget(options.limits.totalHeldBytesMax)
    this.#replies = new ReplyCache(options.limits, options.clock)
    this.#underWay = new CallsUnderWay(options.limits.repeatWithinMs)
    this.#listener = this.#listen()
    this.#sweeper = setInterval(() => this.#sweep(), options.limits.sweepIntervalMs)
    this.#sweeper.unref()
  }

  get port(): number {
    return this.#listener.port
  }

  stats(): RpcStats {
    let callsInFlight = 0
    let servedConnections = 0
    for (const connection of this.#connections) {
      callsInFlight += connection.callsInFlight
      if (connection.served) servedConnections++
    }
    return {
      connections: this.#connections.size,
      servedConnections,
      callsInFlight,
      heldBytes: this.#budget.bytes,
      calls: this.#calls,
      repeatedCalls: this.#replies.hits,
      refusedConnections: this.#refused,
    }
  }

  /** Takes no more calls, waits at most `graceMs` for those under way and their replies, then closes. */
  close(graceMs: number): Promise<void> {
    this.#closing ??= this.#close(graceMs)
    return this.#closing
  }

  async #close(graceMs: number): Promise<void> {
    this.#listener.stop(false)
    clearInterval(this.#sweeper)
    const drained = Promise.all([...this.#connections].map(connection => connection.drain()))
    let timer: ReturnType<typeof setTimeout> | undefined
    const deadline = new Promise(resolve => {
      timer = setTimeout(resolve, graceMs)
    })
    await Promise.race([drained, deadline])
    clearTimeout(timer)
    for (const connection of [...this.#connections]) connection.end()
    this.#connections.clear()
  }

  #listen(): TCPSocketListener<Connection | undefined> {
    const { host, port } = this.#options
    try {
      return Bun.listen<Connection | undefined>({
        hostname: host,
        port,
        socket: {
          open: socket => this.#opened(socket),
          data: (socket, chunk) => socket.data?.received(chunk, this.#now()),
          drain: socket => socket.data?.flush(this.#now()),
          close: socket => this.#closed(socket.data),
          error: (socket, error) => {
            this.#options.log(`A connection failed: ${messageOf(error)}`)
            socket.data?.terminate()
          },
        },
      })
    } catch (error) {
      if (errnoOf(error) === 'EADDRINUSE') {
        throw new ListenError('address_in_use', `Port ${port} of ${host} is in use; choose another port.`, {
          cause: error,
        })
      }
      throw new ListenError('listen_failed', `The server cannot listen on ${host}, port ${port}: ${messageOf(error)}`, {
        cause: error,
      })
    }
  }

  #opened(socket: Socket<Connection | undefined>): void {
    const { admit, limits, log } = this.#options
    const address = socket.remoteAddress
    const { remotePort: port, localAddress, localPort } = socket
    const verdict = admit({ address, port, localAddress, localPort })
    if (this.#closing !== undefined || !verdict.admitted || !this.#makeRoom()) {
      this.#refused++
      if (!verdict.admitted) log(`A connection from ${address} was refused: ${verdict.reason}`)
      socket.terminate()
      return
    }
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 60_000)
    const events = {
      record: (connection: Connection, record: Uint8Array) => this.#receive(connection, record),
      broken: (connection: Connection, error: unknown) =>
        log(`The connection from ${connection.client} was closed: ${messageOf(error)}`),
    }
    const peer = { client: address, port, number: ++connectionsAccepted, uid: verdict.uid, socket: verdict.socket }
    const connection = new Connection(socket as Socket<Connection>, peer, limits, this.#budget, events, this.#now())
    socket.data = connection
    this.#connections.add(connection)
  }

  /**
   * With too many connections an idle one has to go, the longest idle first; those that were never served go before all
   * others. NFS clients connect again by themselves and repeat what was not answered. False if nobody can go.
   */
  #makeRoom(): boolean {
    const { connectionsMax, servedIdleMs } = this.#options.limits
    if (this.#connections.size < connectionsMax) return true
    const idleBeforeMs = this.#now() - servedIdleMs
    const leaving =
      longestIdle(this.#connections, false, Number.POSITIVE_INFINITY) ??
      longestIdle(this.#connections, true, idleBeforeMs)
    if (leaving === undefined) return false
    this.#connections.delete(leaving)
    leaving.terminate()
    return true
  }

  #closed(connection: Connection | undefined): void {
    if (connection === undefined) return
    connection.closed()
    this.#connections.delete(connection)
    this.#underWay.closed(connection)
    this.#options.onDisconnect?.()
  }

  #sweep(): void {
    const now = this.#now()
    for (const connection of [...this.#connections]) connection.sweep(now)
  }

  #receive(connection: Connection, record: Uint8Array): void {
    const received = receiveCall(record)
    if (received.kind === 'nonsense') {
      this.#options.log(
        `The connection from ${connection.client} was closed: it sent something that is not an RPC call.`,
      )
      connection.terminate()
    } else if (received.kind === 'refused') {
      connection.send(sealed(received.reply), this.#now())
    } else {
      this.#dispatch(connection, record, received.call)
    }
  }

  #dispatch(connection: Connection, record: Uint8Array, message: CallMessage): void {
    const { xid } = message
    const program = this.#programOf(message)
    if (program === undefined) {
      connection.send(sealed(this.#unavailable(message)), this.#now())
      return
    }
    const procedure = program.procedures.get(message.procedure)
    if (procedure === undefined) {
      connection.send(sealed(accepted(xid, acceptStat.PROC_UNAVAIL)), this.#now())
      return
    }
    const credential = credentialFor(connection, message.credential)
    if (credential.flavor === 'none' && !procedure.anonymous) {
      connection.send(sealed(authError(xid, authStat.AUTH_TOOWEAK)), this.#now())
      return
    }
    const prepared = this.#prepare(program, procedure, message.args)
    if (prepared === undefined) {
      connection.send(sealed(accepted(xid, acceptStat.GARBAGE_ARGS)), this.#now())
      return
    }
    const end = connection.begin(record.length + prepared.replyBytesMax)
    const { client, name: peer, number, peerSocket } = connection
    const name = procedure.executeOnce ? callName(client, credential, message) : undefined
    const underWay = this.#underWay.enter(name, connection)
    const call: Call = { xid, credential, client, connection: number, peer, socket: peerSocket, underWay }
    // `#answer` never rejects: whatever goes wrong becomes a reply.
    void this.#answer(connection, program, procedure, prepared, call).finally(() => {
      underWay.leave()
      end()
    })
  }

  #prepare(program: Program, procedure: Procedure, args: Uint8Array): PreparedCall | undefined {
    try {
      return procedure.prepare(args)
    } catch (error) {
      if (!(error instanceof XdrError)) {
        this.#options.log(`The arguments of ${program.name} ${procedure.name} broke its decoder: ${messageOf(error)}`)
      }
      return undefined
    }
  }

  #programOf(message: CallMessage): Program | undefined {
    return this.#options.programs.find(
      ({ number, version }) => number === message.program && version === message.version,
    )
  }

  #unavailable({ xid, program }: CallMessage) {
    const versions = this.#options.programs.filter(({ number }) => number === program).map(({ version }) => version)
    if (versions.length === 0) return accepted(xid, acceptStat.PROG_UNAVAIL)
    return programMismatch(xid, Math.min(...versions), Math.max(...versions))
  }

  async #answer(
    connection: Connection,
    program: Program,
    procedure: Procedure,
    prepared: PreparedCall,
    call: Call,
  ): Promise<void> {
    this.#calls++
    const execute = () => this.#execute(connection, program, procedure, prepared, call)
    const { name } = call.underWay
    const pieces = name === undefined ? (await execute()).pieces : await this.#replies.once(name, execute)
    connection.send(pieces, this.#now())
  }

  async #execute(
    connection: Connection,
    program: Program,
    procedure: Procedure,
    prepared: PreparedCall,
    call: Call,
  ): Promise<KeptReply> {
    const { onCall, log } = this.#options
    const startedMs = onCall === undefined ? 0 : performance.now()
    let outcomeName = 'SYSTEM_ERR'
    try {
      const outcome = await prepared.run(call)
      const writer = success(call.xid)
      outcome.encode(writer)
      outcomeName = outcome.name
      if (outcome.granted) connection.grant()
      return { pieces: sealed(writer), keep: outcome.keep }
    } catch (error) {
      log(`${program.name} ${procedure.name} failed: ${messageOf(error)}`)
      return { pieces: sealed(accepted(call.xid, acceptStat.SYSTEM_ERR)), keep: false }
    } finally {
      onCall?.({
        client: call.client,
        xid: call.xid,
        credential: call.credential,
        program: program.name,
        procedure: procedure.name,
        args: prepared.args,
        outcome: outcomeName,
        durationMs: performance.now() - startedMs,
      })
    }
  }

  #now(): number {
    return this.#options.clock.nowMs()
  }
}

/** Of the connections with nothing under way that were served, or were not, the one idle for longest, if it is so since `beforeMs` or before. */
function longestIdle(connections: Iterable<Connection>, served: boolean, beforeMs: number): Connection | undefined {
  let found: Connection | undefined
  let foundMs = Number.POSITIVE_INFINITY
  for (const connection of connections) {
    const { idleSinceMs } = connection
    if (connection.served !== served || idleSinceMs === undefined) continue
    if (idleSinceMs > beforeMs || idleSinceMs >= foundMs) continue
    found = connection
    foundMs = idleSinceMs
  }
  return found
}

/** A user's own program may claim any uid; where the system says who made the connection, that is who calls. */
function credentialFor(connection: Connection, claimed: Credential): Credential {
  const { peerUid } = connection
  if (claimed.flavor === 'none' || peerUid === undefined || peerUid === 0) return claimed
  return { flavor: 'sys', uid: peerUid, gid: claimed.gid, gids: [] }
}

/**
 * Names a call that must not be executed twice. The XID alone does not do (clients choose their own), nor does the port (a
 * client retransmits over a new connection). Of long arguments both ends count.
 */
function callName(client: string, credential: Credential, { xid, program, procedure, args }: CallMessage): string {
  const uid = credential.flavor === 'sys' ? credential.uid : ''
  const head = Bun.hash(args.subarray(0, REPLY_KEY_BYTES))
  const tail = args.length > REPLY_KEY_BYTES ? Bun.hash(args.subarray(-REPLY_KEY_BYTES)) : ''
  return `${client} ${xid} ${uid} ${program} ${procedure} ${args.length} ${head} ${tail}`
}
