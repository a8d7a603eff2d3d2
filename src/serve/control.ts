import { rmSync } from 'node:fs'
import type { Socket } from 'bun'
import { messageOf } from '../core/errors.ts'
import { MountError } from '../mount/errors.ts'
import { socketPath } from './registry.ts'

/** What a server can be asked by other processes of its user. */
export type Operation = 'status' | 'settle' | 'stop'

export interface ServerStatus {
  readonly pid: number
  readonly version: string
  /** Sentences about saves that are held. */
  readonly held: readonly string[]
  readonly measuring?: { readonly doneBytes: number; readonly totalBytes: number } | undefined
}

export interface ControlHandlers {
  status(): ServerStatus
  /** Resolves when no save is held. */
  settle(): Promise<void>
  /** Resolves when the server has ended all but its process. */
  stop(): Promise<void>
}

export interface Control {
  close(): void
}

interface Answer {
  readonly ok: boolean
  readonly status?: ServerStatus
  readonly message?: string
}

/** One that asks: what has come of its question, and what is still to be sent of the answer. */
interface Conversation {
  request: string
  reply: Uint8Array
}

const REQUEST_BYTES_MAX = 1024
const NOTHING = new Uint8Array(0)

/** Answers other processes on the table's socket: one line with an operation, one line with the answer as JSON. */
export function startControl(location: string, handlers: ControlHandlers): Control {
  const path = socketPath(location)
  // The table is locked, so what is left there is of a server that died.
  rmSync(path, { force: true })
  const listener = Bun.listen<Conversation>({
    unix: path,
    socket: {
      open: socket => {
        socket.data = { request: '', reply: NOTHING }
      },
      data: (socket, bytes) => {
        socket.data.request += bytes.toString()
        if (socket.data.request.length > REQUEST_BYTES_MAX) {
          socket.end()
          return
        }
        if (!socket.data.request.includes('\n')) return
        void answer(socket.data.request.trim(), handlers).then(reply => {
          socket.data.reply = new TextEncoder().encode(`${JSON.stringify(reply)}\n`)
          sendOn(socket)
        })
      },
      drain: socket => {
        if (socket.data.reply.length > 0) sendOn(socket)
      },
    },
  })
  return {
    close: () => {
      listener.stop()
      rmSync(path, { force: true })
    },
  }
}

/** Sends as much of the answer as the socket takes now. */
function sendOn(socket: Socket<Conversation>): void {
  const { data } = socket
  data.reply = data.reply.subarray(Math.max(0, socket.write(data.reply)))
  if (data.reply.length === 0) socket.end()
}

async function answer(operation: string, handlers: ControlHandlers): Promise<Answer> {
  try {
    if (operation === 'settle') await handlers.settle()
    else if (operation === 'stop') await handlers.stop()
    else if (operation !== 'status') return { ok: false, message: `there is no operation ${operation}` }
    return { ok: true, status: handlers.status() }
  } catch (error) {
    return { ok: false, message: messageOf(error) }
  }
}

/** Asks the server of a table. Undefined if none runs. MountError if it runs and cannot do it. */
export async function ask(location: string, operation: Operation): Promise<ServerStatus | undefined> {
  const text = await new Promise<string | undefined>(resolve => {
    let reply = ''
    const decoder = new TextDecoder()
    Bun.connect({
      unix: socketPath(location),
      socket: {
        open: socket => void socket.write(`${operation}\n`),
        data: (_, bytes) => {
          reply += decoder.decode(bytes, { stream: true })
        },
        close: () => resolve(reply),
        error: () => resolve(undefined),
        connectError: () => resolve(undefined),
      },
    }).catch(() => resolve(undefined))
  })
  if (text === undefined) return undefined
  if (text === '') {
    // It is on its way out.
    if (operation !== 'settle') return undefined
    throw new MountError('failed', `the server of ${location} ended while it was asked to ${operation}`)
  }
  const reply = JSON.parse(text) as Answer
  if (!reply.ok) throw new MountError('failed', `the server of ${location} could not ${operation}: ${reply.message}`)
  return reply.status
}
