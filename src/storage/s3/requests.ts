import { onceDone } from '../../core/once.ts'
import { RETRIES, type RetryPolicy, type RetrySeams, retried } from '../retrying.ts'
import { accessOf } from './access.ts'
import type { ConnectedClient } from './client.ts'
import { type Failed, failedRequest } from './errors.ts'

/** An attempt that gets nothing, and gets rid of nothing, for so long is over. */
const SILENCE_MS = 15_000
/** A store that has never answered yet is given up sooner: its address may be wrong. */
const FIRST_SILENCE_MS = 4000
const FIRST_RETRIES: RetryPolicy = { ...RETRIES, attemptsMax: 3, totalMsMax: 5000 }
/** Bodies are given the time that they take on a slow line. */
const SLOW_BYTES_PER_MS = 64

/** The part of the SDK that requests are made with. */
export type Sdk = Pick<ConnectedClient, 'client' | 'commands'>

/** One request: what it is, and how it is sent. */
export interface Request<T> {
  /** As IAM names it. */
  readonly action: string
  /** The object or folder, for messages. */
  readonly target: string
  readonly bucket: string
  /** The bytes that are sent. */
  readonly sizeBytes?: number
  /** An answer that is a result: undefined for those that are none. */
  readonly outcomeOf?: (status: number, name: string) => T | undefined
  /** Sends it; `goesOn` is called when something came. */
  readonly send: (sdk: Sdk, signal: AbortSignal, goesOn: () => void) => Promise<T>
}

export interface RequestsOptions {
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined
  readonly policy?: RetryPolicy | undefined
  readonly seams?: RetrySeams | undefined
  readonly silenceMs?: number | undefined
}

/** Sends requests to a store, each so often as there is use in it, and says in sentences what went wrong. */
export class Requests {
  readonly #options: RequestsOptions
  #connect: () => Promise<ConnectedClient>
  #hasAnswered = false

  constructor(options: RequestsOptions = {}) {
    this.#options = options
    this.#connect = this.#connecting()
  }

  /** The SDK is loaded, and the environment read, when the first request is there. */
  connected(): Promise<ConnectedClient> {
    return this.#connect()
  }

  #connecting(): () => Promise<ConnectedClient> {
    return onceDone(async () => {
      const { connect } = await import('./client.ts')
      return connect(accessOf(this.#options.environment ?? process.env))
    })
  }

  /** Rejects with StorageError. */
  async run<T>(request: Request<T>): Promise<T> {
    let failed: Failed | undefined
    let hasRenewed = false
    let mayHaveTakenEffect = false
    const attempt = async (): Promise<T> => {
      const connected = await this.#connect()
      try {
        return await this.#attempt(connected, request)
      } catch (error) {
        failed = failedRequest(error, {
          ...request,
          endpoint: connected.endpoint,
          region: connected.region,
          source: await connected.source(),
          secrets: connected.secrets(),
        })
        mayHaveTakenEffect ||= failed.error.mayHaveTakenEffect
        throw failed.error
      }
    }
    const retryOf = (): Failed['retry'] => {
      if (failed?.isExpired !== true) return failed?.retry
      if (hasRenewed) return undefined
      // Another client looks for credentials anew, in files too.
      hasRenewed = true
      this.#connect = this.#connecting()
      return {}
    }
    const policy = this.#options.policy ?? (this.#hasAnswered ? RETRIES : FIRST_RETRIES)
    try {
      return await retried(attempt, retryOf, policy, this.#options.seams)
    } catch (error) {
      // Whatever the last attempt failed of: an earlier one may have come through.
      throw mayHaveTakenEffect && failed !== undefined ? failed.error.inDoubt() : error
    }
  }

  async #attempt<T>(sdk: Sdk, request: Request<T>): Promise<T> {
    const { sizeBytes = 0, outcomeOf } = request
    const silenceMs = this.#options.silenceMs ?? (this.#hasAnswered ? SILENCE_MS : FIRST_SILENCE_MS)
    const controller = new AbortController()
    const end = (): void => controller.abort(new DOMException('nothing came in time', 'TimeoutError'))
    let timer = setTimeout(end, silenceMs + sizeBytes / SLOW_BYTES_PER_MS)
    const goesOn = (): void => {
      this.#hasAnswered = true
      clearTimeout(timer)
      timer = setTimeout(end, silenceMs)
    }
    try {
      const result = await request.send(sdk, controller.signal, goesOn)
      this.#hasAnswered = true
      return result
    } catch (error) {
      const { $metadata, Code, name } = error as {
        $metadata?: { httpStatusCode?: number }
        Code?: string
        name?: string
      }
      const status = $metadata?.httpStatusCode ?? 0
      if (status > 0) this.#hasAnswered = true
      const outcome = status > 0 ? outcomeOf?.(status, Code ?? name ?? '') : undefined
      if (outcome !== undefined) return outcome
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
}
