import type { Socket } from 'bun'
import { RecordReader } from './record.ts'

export interface ConnectionLimits {
  readonly recordBytesMax: number
  /** Calls in flight, per connection. */
  readonly callsMax: number
  /** Bytes held for a connection: calls in flight, the replies expected of them, and replies not sent yet. */
  readonly heldBytesMax: number
  /** The time that a record may take to arrive. */
  readonly recordTimeoutMs: number
  /** The time that a peer may leave replies unread. */
  readonly stallTimeoutMs: number
}

/** Bytes held for all connections together. */
export class Budget {
  readonly #bytesMax: number
  #bytes = 0
  readonly #waiting = new Set<Connection>()

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  get exceeded(): boolean {
    return this.#bytes >= this.#bytesMax
  }

  /** Has `connection` called again when there is room. */
  wait(connection: Connection): void {
    this.#waiting.add(connection)
  }

  forget(connection: Connection): void {
    this.#waiting.delete(connection)
  }

  change(bytes: number): void {
    this.#bytes += bytes
    if (this.exceeded || this.#waiting.size === 0) return
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const connection of waiting) queueMicrotask(() => connection.pump())
  }
}

export interface ConnectionEvents {
  /** A complete record. The handler may hold the connection's bytes with `begin`, and answers with `send`. */
  record(connection: Connection, record: Uint8Array): void
  /** The connection cannot go on; it is being closed. */
  broken(connection: Connection, error: unknown): void
}

/** The client at the other end of a connection. */
export interface Peer {
  readonly client: string
  readonly port: number
  readonly number: number
  readonly uid: number | undefined
  readonly socket: number | undefined
}

const GATHER_BYTES = 64 * 1024
const SMALL_PIECE_BYTES = 8 * 1024

/**
 * One client's connection: records in, replies out. It stops reading the socket while the client has too much under
 * way, and so lets TCP slow the client down; nothing is queued without a bound.
 */
export class Connection {
  readonly client: string
  /** The client's address and port. */
  readonly name: string
  /** Counted from the server's start. */
  readonly number: number
  /** The user whose calls these are, whatever they claim, where the system can tell; see peer.ts. */
  readonly peerUid: number | undefined
  /** The inode number of the other end's socket, if that is one of this machine. */
  readonly peerSocket: number | undefined
  readonly #socket: Socket<Connection>
  readonly #limits: ConnectionLimits
  readonly #budget: Budget
  readonly #events: ConnectionEvents
  readonly #records: RecordReader
  #out: Uint8Array[] = []
  #outBytes = 0
  #calls = 0
  #held = 0
  #paused = false
  #closed = false
  #draining: (() => void) | undefined
  #served = false
  readonly #openedMs: number
  #lastActiveMs: number
  #lastSentMs: number
  #recordSinceMs: number

  constructor(
    socket: Socket<Connection>,
    peer: Peer,
    limits: ConnectionLimits,
    budget: Budget,
    events: ConnectionEvents,
    nowMs: number,
  ) {
    this.client = peer.client
    this.name = `${peer.client}:${peer.port}`
    this.number = peer.number
    this.peerUid = peer.uid
    this.peerSocket = peer.socket
    this.#socket = socket
    this.#limits = limits
    this.#budget = budget
    this.#events = events
    this.#records = new RecordReader(limits.recordBytesMax)
    this.#openedMs = nowMs
    this.#lastActiveMs = nowMs
    this.#lastSentMs = nowMs
    this.#recordSinceMs = nowMs
  }

  /** True if a call of this client ever got what only those get who may: not NULL, and no refusal. */
  get served(): boolean {
    return this.#served
  }

  /** A call of the client was granted. */
  grant(): void {
    this.#served = true
  }

  /**
   * Since when the client has done nothing useful: since bytes last went either way; bytes of one that was never served
   * count for nothing, so that it gains no time by dribbling. Undefined while a call of it is under way.
   */
  get idleSinceMs(): number | undefined {
    if (this.#calls > 0) return undefined
    return this.#served ? Math.max(this.#lastActiveMs, this.#lastSentMs) : this.#openedMs
  }

  get idle(): boolean {
    return this.#calls === 0 && this.#outBytes === 0
  }

  get callsInFlight(): number {
    return this.#calls
  }

  received(chunk: Uint8Array, nowMs: number): void {
    if (this.#closed || this.#draining !== undefined) return
    if (!this.#records.partial) this.#recordSinceMs = nowMs
    this.#lastActiveMs = nowMs
    // A plain array: Buffer's `slice` makes a view where everybody expects a copy.
    this.#records.push(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength))
    this.pump()
  }

  /** Handles the records that are there, as far as the bounds allow. */
  pump(): void {
    while (!this.#closed && this.#draining === undefined) {
      if (this.#full()) {
        this.#pause()
        return
      }
      let record: Uint8Array | undefined
      try {
        record = this.#records.next()
      } catch (error) {
        this.#break(error)
        return
      }
      if (record === undefined) {
        this.#resume()
        return
      }
      this.#recordSinceMs = this.#lastActiveMs
      this.#events.record(this, record)
    }
  }

  /** Counts a call with the bytes that it holds, until the function returned is called. */
  begin(bytes: number): () => void {
    this.#calls++
    this.#charge(bytes)
    return () => {
      this.#calls--
      this.#charge(-bytes)
      this.#next()
    }
  }

  /** Sends a message's pieces. They are kept until the client has taken them, and must not be written to. */
  send(pieces: readonly Uint8Array[], nowMs: number): void {
    if (this.#closed) return
    if (this.#outBytes === 0) this.#lastSentMs = nowMs
    let bytes = 0
    for (const piece of pieces) {
      this.#out.push(piece)
      bytes += piece.length
    }
    this.#outBytes += bytes
    this.#charge(bytes)
    this.flush(nowMs)
  }

  /** Writes what the socket takes. */
  flush(nowMs: number): void {
    let sent = 0
    let index = 0
    while (!this.#closed) {
      this.#gather(index)
      const piece = this.#out[index]
      if (piece === undefined) break
      const written = this.#socket.write(piece)
      if (written <= 0) break
      sent += written
      if (written === piece.length) index++
      else this.#out[index] = piece.subarray(written)
    }
    if (index > 0) this.#out.splice(0, index)
    if (sent > 0) {
      this.#lastSentMs = nowMs
      this.#outBytes -= sent
      this.#charge(-sent)
      this.#next()
    }
  }

  /** Closes the connection if the peer sends a record, or takes its replies, too slowly. */
  sweep(nowMs: number): void {
    if (this.#outBytes > 0 && nowMs - this.#lastSentMs > this.#limits.stallTimeoutMs) {
      this.#break(new Error('The client does not read its replies.'))
    } else if (this.#paused) {
      this.#recordSinceMs = nowMs
    } else if (this.#records.partial && nowMs - this.#recordSinceMs > this.#limits.recordTimeoutMs) {
      this.#break(new Error('The client began a record and did not finish it.'))
    }
  }

  /**
   * Takes no further calls; resolves when those under way are answered. What still arrives is read and dropped: closing a
   * socket with unread bytes resets the connection, and could cost the client replies that it has not read yet.
   */
  drain(): Promise<void> {
    this.#resume()
    return new Promise(resolve => {
      this.#draining = resolve
      if (this.#closed || this.idle) resolve()
    })
  }

  /** The socket is gone: nothing more can be sent. */
  closed(): void {
    if (this.#closed) return
    this.#closed = true
    this.#out = []
    this.#charge(-this.#outBytes)
    this.#outBytes = 0
    this.#budget.forget(this)
    this.#draining?.()
  }

  /** Ends the connection behind the replies that were sent, or at once if some could not be. */
  end(): void {
    if (!this.idle) {
      this.terminate()
      return
    }
    this.closed()
    this.#socket.end()
  }

  /** Ends the connection at once. */
  terminate(): void {
    this.closed()
    this.#socket.terminate()
  }

  /** Puts small pieces together, so that many small replies go out in one system call. */
  #gather(index: number): void {
    const first = this.#out[index]
    const second = this.#out[index + 1]
    if (first === undefined || second === undefined) return
    if (first.length >= SMALL_PIECE_BYTES || second.length >= SMALL_PIECE_BYTES) return
    let end = index
    let bytes = 0
    for (let piece = this.#out[end]; piece !== undefined && piece.length < SMALL_PIECE_BYTES; piece = this.#out[end]) {
      if (bytes + piece.length > GATHER_BYTES) break
      bytes += piece.length
      end++
    }
    const gathered = Buffer.concat(this.#out.slice(index, end), bytes)
    this.#out.splice(index, end - index, gathered)
  }

  #full(): boolean {
    if (this.#calls >= this.#limits.callsMax || this.#held >= this.#limits.heldBytesMax) return true
    // Everybody gets at least one call through, however much others hold.
    if (this.#held === 0 || !this.#budget.exceeded) return false
    this.#budget.wait(this)
    return true
  }

  #next(): void {
    if (this.#draining !== undefined) {
      if (this.idle) this.#draining()
    } else if (this.#paused) {
      this.pump()
    }
  }

  #charge(bytes: number): void {
    this.#held += bytes
    this.#budget.change(bytes)
  }

  #pause(): void {
    if (this.#paused || this.#closed) return
    this.#paused = true
    this.#socket.pause()
  }

  #resume(): void {
    if (!this.#paused || this.#closed) return
    this.#paused = false
    this.#socket.resume()
  }

  #break(error: unknown): void {
    this.terminate()
    this.#events.broken(this, error)
  }
}
