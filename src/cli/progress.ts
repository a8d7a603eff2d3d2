import { megabytes } from './render.ts'

const SHOWN_AFTER_MS = 1000
const REDRAWN_EVERY_MS = 100
const BAR_WIDTH = 30

/** A bar on standard error for what takes longer than a second; nothing where that is no terminal. */
export class Progress {
  readonly #label: string
  readonly #startMs = Date.now()
  #drawnMs = 0
  #drawn = false

  constructor(label: string) {
    this.#label = label
  }

  update(doneBytes: number, totalBytes: number): void {
    const now = Date.now()
    if (!process.stderr.isTTY || now - this.#startMs < SHOWN_AFTER_MS || now - this.#drawnMs < REDRAWN_EVERY_MS) return
    this.#drawnMs = now
    this.#drawn = true
    const share = totalBytes === 0 ? 1 : Math.min(1, doneBytes / totalBytes)
    const filled = Math.round(share * BAR_WIDTH)
    const bar = '█'.repeat(filled) + '░'.repeat(BAR_WIDTH - filled)
    const left = share > 0 ? ((now - this.#startMs) / share) * (1 - share) : 0
    process.stderr.write(
      `\r\x1b[K${this.#label} ${bar} ${(share * 100).toFixed(0)} %  ${megabytes(doneBytes)} of ${megabytes(totalBytes)}, ${Math.ceil(left / 1000)} s left`,
    )
  }

  end(): void {
    if (this.#drawn) process.stderr.write('\r\x1b[K')
    this.#drawn = false
  }
}
