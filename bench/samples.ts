import { lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { svg } from './log-plot.ts'

/** What is noted at a point, by name, in the unit that the name ends in. */
export type Sample = Readonly<Record<string, number>>

export function sizeOf(path: string): { readonly megabytes: number; readonly files: number } {
  let megabytes = 0
  let files = 0
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    const stat = lstatSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })
    if (stat === undefined || !stat.isFile()) continue
    megabytes += (stat.blocks * 512) / 1e6
    files++
  }
  return { megabytes, files }
}

/** What a process takes. */
export function processSample(pid: number): Sample {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return {
    'memory MB': Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) / 1e3,
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
  }
}

/** What is noted over a run: each sample is printed, and all are written to NAME.csv and drawn to NAME.svg. */
export class Samples {
  readonly #name: string
  readonly #all: Sample[] = []

  constructor(name: string) {
    this.#name = name
  }

  /** The first of its names is what the others are drawn over. */
  add(sample: Sample): void {
    this.#all.push(sample)
    if (this.#all.length === 1) process.stdout.write(line(Object.keys(sample)))
    process.stdout.write(line(Object.values(sample)))
    writeFileSync(`${this.#name}.csv`, csv(this.#all))
    writeFileSync(`${this.#name}.svg`, plot(this.#all))
  }
}

function line(values: readonly (string | number)[]): string {
  const cells = values.map(value =>
    (typeof value === 'string' ? value : Number.isInteger(value) ? String(value) : value.toFixed(1)).padStart(12),
  )
  return `${cells.join('')}\n`
}

function csv(samples: readonly Sample[]): string {
  const shown = (value: number): string => (Number.isFinite(value) ? String(Number(value.toFixed(2))) : '')
  const lines = samples.map(sample => Object.values(sample).map(shown).join(','))
  return `${[Object.keys(samples[0]!).join(','), ...lines].join('\n')}\n`
}

const PANEL = { width: 900, height: 90, left: 110, gap: 26 }

/** Each thing that was noted as a line over the operations done, from 0 to its greatest value. */
function plot(samples: readonly Sample[]): string {
  const [x = '', ...names] = Object.keys(samples[0]!)
  const last = samples.at(-1)![x]!
  const panels = names.map((name, i) => {
    const top = 20 + i * (PANEL.height + PANEL.gap)
    const known = samples.filter(each => Number.isFinite(each[name]))
    const most = Math.max(...known.map(each => each[name]!), 1e-9)
    const points = known.map(each => {
      const right = PANEL.left + (each[x]! / last) * PANEL.width
      return `${right.toFixed(1)},${(top + PANEL.height * (1 - each[name]! / most)).toFixed(1)}`
    })
    const bottom = top + PANEL.height
    return (
      `<text x="${PANEL.left - 8}" y="${top + 12}" text-anchor="end">${most.toPrecision(3)}</text>` +
      `<text x="${PANEL.left - 8}" y="${bottom}" text-anchor="end">0</text>` +
      `<text x="${PANEL.left + 4}" y="${top - 4}" font-weight="bold">${name}</text>` +
      `<path d="M${PANEL.left},${top}V${bottom}H${PANEL.left + PANEL.width}" fill="none" stroke="#999"/>` +
      `<polyline points="${points.join(' ')}" fill="none" stroke="#1565c0" stroke-width="1.5"/>`
    )
  })
  const height = 20 + names.length * (PANEL.height + PANEL.gap) + 10
  const width = PANEL.left + PANEL.width + 20
  const caption = `<text x="${PANEL.left + PANEL.width}" y="${height - 4}" text-anchor="end">${last} ${x}</text>`
  return svg(width, height, `${names.join(', ')} by ${x}`, panels.join('') + caption)
}
