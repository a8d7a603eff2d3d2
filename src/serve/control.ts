import { rmSync } from 'node:fs'
import type { Socket } from 'bun'
import { LakeError, messageOf } from '../core/errors.ts'
import { withinMs } from '../core/limit.ts'
import type { Endpoint } from './endpoints.ts'
import { ServeError, serveError } from './errors.ts'
import type { Problem } from './health.ts'
import { recordOf, socketPath, type TableMount } from './registry.ts'
import type { Rights } from './table-server.ts'

export interface ServerStatus {
  readonly pid: number
  readonly version: string
  /** Sentences about saves that are held. */
  readonly held: readonly string[]
  readonly measuring?: { readonly doneBytes: number; readonly totalBytes: number } | undefined
  /** The fate of the small files that changes leave, as a sentence; undefined if they are left. */
  readonly compaction?: string | undefined
  readonly mounts?: readonly TableMount[] | undefined
  readonly problem?: Problem | undefined
}

/** A mount that is to be made. */
export interface JoinRequest extends Rights {
  readonly mountPoint: string
  /** undefined: the server's first endpoint. */
  readonly host?: string | undefined
  readonly port?: number | undefined
}

export type Joined =
  | (Endpoint & { readonly kind: 'mount'; readonly exportPath: string })
  /** The table is mounted there. */
  | (TableMount & { readonly kind: 'mounted' })

/** The state of a server when a mount is gone. */
export interface Left {
  readonly ended: boolean
  /** No mount is left, but programs still use one that was cut off. */
  readonly isUsed: boolean
}

/** The requests that a server takes from other processes of its user: arguments and answers by the operation's name. */
export interface Operations {
  readonly status: { readonly args: undefined; readonly answer: ServerStatus }
  /** Answered when the server has looked for commits of others: its mounts show them from then on. */
  readonly look: { readonly args: undefined; readonly answer: null }
  /** Answered when no save is held. */
  readonly settle: { readonly args: undefined; readonly answer: null }
  /** Answered when the server has ended all but its process. */
  readonly stop: { readonly args: undefined; readonly answer: null }
  /** The server stays until the mount is there, or the asker gone; it ends the connection with the mount. */
  readonly join: { readonly args: JoinRequest; readonly answer: Joined }
  /** The mount that was asked for has been made. */
  readonly mounted: { readonly args: { readonly mountPoint: string }; readonly answer: null }
  /** A mount is gone. Answered when the server has ended, if that was the last one and no program uses it any more. */
  readonly leave: { readonly args: undefined; readonly answer: Left }
  /** Answered at once; the connection ends when the server has, and others can serve the table. */
  readonly watch: { readonly args: undefined; readonly answer: null }
}

export type Operation = keyof Operations

/** The process that sent a request, and may stay connected for longer than the answer takes. */
export interface Asker {
  /** Resolves when it has closed its connection. */
  readonly gone: Promise<void>
  /** Closes the connection. */
  end(): void
}

export type ControlHandlers = {
  readonly [K in Operation]: (args: Operations[K]['args'], asker: Asker) => Promise<Operations[K]['answer']>
}

export interface Control {
  /** Takes no more questions. */
  unlisten(): void
  /** Resolves when what was asked is answered, and the answers are sent; after a second at most. */
  close(): Promise<void>
}

type Answer = { readonly ok: true; readonly answer: unknown } | { ok: false; code?: string; message: string }

/** One that asks: what has come of its question, and what is still to be sent of the answer. */
interface Conversation {
  request: string
  reply: Uint8Array
  gone: PromiseWithResolvers<void>
  /** The answer is complete. */
  answered: boolean
  /** Whoever has joined, or waits for the end of the server, stays connected. */
  stays: boolean
  beat: Timer | undefined
}

const REQUEST_BYTES_MAX = 64 * 1024
const NOTHING = new Uint8Array(0)
const BEAT_MS = 1000
const BEAT = new TextEncoder().encode('\n')
const CLOSE_LIMIT_MS = 1000
/** A server that is at work says so every second. */
export const SILENCE_MS = 10_000
const STATUS_SILENCE_MS = 5000
/** Longer than a server takes to end. */
export const END_LIMIT_MS = 90_000

/**
 * Answers other processes on the table's socket. A question is one line, an operation and its arguments as JSON; the
 * answer is one line of JSON, behind empty lines that say that it is being worked on.
 */
export function startControl(location: string, handlers: ControlHandlers): Control {
  const path = socketPath(location)
  // The table is locked, so what is left there is of a server that died.
  rmSync(path, { force: true })
  const conversations = new Set<Socket<Conversation>>()
  const listener = Bun.listen<Conversation>({
    unix: path,
    socket: {
      open: socket => {
        conversations.add(socket)
        socket.data = {
          request: '',
          reply: NOTHING,
          gone: Promise.withResolvers(),
          answered: false,
          stays: false,
          beat: undefined,
        }
      },
      data: (socket, bytes) => {
        if (socket.data.request.includes('\n')) return
        socket.data.request += bytes.toString()
        if (socket.data.request.length > REQUEST_BYTES_MAX) socket.end()
        else if (socket.data.request.includes('\n')) void answer(socket, handlers)
      },
      drain: socket => {
        if (socket.data.reply.length > 0) sendOn(socket)
      },
      close: socket => {
        clearInterval(socket.data.beat)
        socket.data.gone.resolve()
        conversations.delete(socket)
      },
    },
  })
  const unlisten = (): void => {
    rmSync(path, { force: true })
    listener.stop(false)
  }
  return {
    unlisten,
    close: async () => {
      for (const socket of conversations) if (socket.data.answered && socket.data.reply.length === 0) socket.end()
      await withinMs(CLOSE_LIMIT_MS, Promise.all([...conversations].map(socket => socket.data.gone.promise)))
      listener.stop(true)
    },
  }
}

async function answer(socket: Socket<Conversation>, handlers: ControlHandlers): Promise<void> {
  const { data } = socket
  const beat = (): void => {
    if (data.reply.length === 0) socket.write(BEAT)
  }
  beat()
  data.beat = setInterval(beat, BEAT_MS)
  const [operation = '', json = ''] = data.request.trim().split(/ (.*)/s)
  const asker: Asker = { gone: data.gone.promise, end: () => void socket.end() }
  const reply = await answerTo(operation, json, handlers, asker)
  clearInterval(data.beat)
  data.answered = true
  data.stays = operation === 'watch' || (operation === 'join' && (reply.ok || reply.code === 'stopping'))
  data.reply = new TextEncoder().encode(`${JSON.stringify(reply)}\n`)
  sendOn(socket)
}

async function answerTo(operation: string, json: string, handlers: ControlHandlers, asker: Asker): Promise<Answer> {
  if (!Object.hasOwn(handlers, operation)) return { ok: false, message: `there is no operation ${operation}` }
  try {
    const args: unknown = json === '' ? undefined : JSON.parse(json)
    const handler = handlers[operation as Operation] as (args: unknown, asker: Asker) => Promise<unknown>
    return { ok: true, answer: await handler(args, asker) }
  } catch (error) {
    return { ok: false, message: messageOf(error), ...(error instanceof LakeError ? { code: error.code } : {}) }
  }
}

/** Sends as much of the answer as the socket takes now. */
function sendOn(socket: Socket<Conversation>): void {
  const { data } = socket
  data.reply = data.reply.subarray(Math.max(0, socket.write(data.reply)))
  if (data.reply.length === 0 && !data.stays) socket.end()
}

/** A question to a server, and what comes of it. */
export interface Question<K extends Operation> {
  /** undefined if there is no server, or it ended instead of answering. Rejects with ServeError. */
  readonly answer: Promise<Operations[K]['answer'] | undefined>
  /** Resolves when the server has closed the connection, as it does when it ends. */
  readonly closed: Promise<void>
  close(): void
}

/** Asks the server of a table, and keeps the connection open until it is closed. */
export function question<K extends Operation>(
  location: string,
  operation: K,
  args?: Operations[K]['args'],
  silenceMs: number = operation === 'status' ? STATUS_SILENCE_MS : SILENCE_MS,
): Question<K> {
  const answered = Promise.withResolvers<Operations[K]['answer'] | undefined>()
  const closed = Promise.withResolvers<void>()
  let socket: Socket | undefined
  let silence: Timer | undefined
  const listen = (): void => {
    clearTimeout(silence)
    silence = setTimeout(() => answered.reject(silent(location, silenceMs)), silenceMs)
  }
  const end = (): void => {
    clearTimeout(silence)
    if (socket === undefined || operation !== 'settle') answered.resolve(undefined)
    else
      answered.reject(
        new ServeError('not_running', `the server of ${location} ended while it was asked to ${operation}`),
      )
    closed.resolve()
  }
  let text = ''
  const decoder = new TextDecoder()
  const receive = (bytes: Uint8Array): void => {
    listen()
    text = (text + decoder.decode(bytes, { stream: true })).replace(/^\n+/, '')
    if (!text.endsWith('\n')) return
    clearTimeout(silence)
    const reply = replyOf(text)
    if (reply.ok) answered.resolve(reply.answer as Operations[K]['answer'])
    else answered.reject(serveError(reply.code, sentenceFor(reply, location, operation)))
  }
  listen()
  Bun.connect({
    unix: socketPath(location),
    socket: {
      open: opened => {
        socket = opened
        opened.write(`${operation}${args === undefined ? '' : ` ${JSON.stringify(args)}`}\n`)
      },
      data: (_, bytes) => receive(bytes),
      close: end,
      error: end,
      connectError: end,
    },
  }).catch(end)
  return {
    answer: answered.promise.finally(() => clearTimeout(silence)),
    closed: closed.promise,
    close: () => {
      clearTimeout(silence)
      socket?.end()
    },
  }
}

function replyOf(text: string): Answer {
  try {
    return JSON.parse(text) as Answer
  } catch {
    return { ok: false, message: `its answer cannot be read: ${text.slice(0, 100)}` }
  }
}

/** Returns the sentence for a failure in the server: its own if the failure was foreseen. */
function sentenceFor({ code, message }: Extract<Answer, { ok: false }>, location: string, operation: string): string {
  return code === undefined ? `the server of ${location} could not ${operation}: ${message}` : message
}

function silent(location: string, silenceMs: number): ServeError {
  const pid = recordOf(location)?.pid
  const who = pid === undefined ? '' : ` (process ${pid})`
  const how = pid === undefined ? '' : `; end it with: kill -9 ${pid}, and mount again`
  return new ServeError(
    'not_answering',
    `the server of ${location}${who} has not answered for ${silenceMs / 1000} s: it is stopped, or hangs${how}`,
  )
}

/** Asks the server of a table. Undefined if none runs. ServeError if it runs and cannot do it. */
export async function ask<K extends Operation>(
  location: string,
  operation: K,
  args?: Operations[K]['args'],
): Promise<Operations[K]['answer'] | undefined> {
  const asked = question(location, operation, args)
  try {
    return await asked.answer
  } finally {
    asked.close()
  }
}
