/** A line of a panel: values by size, with gaps where nothing was measured. */
export interface Line {
  readonly name: string
  readonly points: readonly (readonly [size: number, value: number])[]
}

/** A diagram of some lines, both axes of which are logarithmic. */
export interface Panel {
  readonly title: string
  readonly lines: readonly Line[]
}

const WIDTH = 400
const HEIGHT = 190
const MARGIN = { left: 64, right: 24, top: 40, bottom: 34 }
const COLUMNS = 2
const COLORS = ['#1565c0', '#e65100', '#2e7d32', '#6a1b9a']

/** Panels side by side, as an SVG: `x` names the sizes, `y` formats a value at its axis. */
export function logPlot(title: string, panels: readonly Panel[], x: string, y: (value: number) => string): string {
  const width = COLUMNS * (MARGIN.left + WIDTH + MARGIN.right)
  const height = Math.ceil(panels.length / COLUMNS) * (MARGIN.top + HEIGHT + MARGIN.bottom) + 8
  const body = panels.map((panel, i) => {
    const left = (i % COLUMNS) * (MARGIN.left + WIDTH + MARGIN.right) + MARGIN.left
    const top = Math.floor(i / COLUMNS) * (MARGIN.top + HEIGHT + MARGIN.bottom) + MARGIN.top
    return `<g transform="translate(${left},${top})">${drawn(panel, x, y)}</g>`
  })
  return svg(width, height, title, body.join('\n'))
}

/** An SVG document on white. */
export function svg(width: number, height: number, title: string, body: string): string {
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">` +
    `<title>${title}</title><rect width="100%" height="100%" fill="white"/>${body}</svg>\n`
  )
}

interface Axis {
  readonly from: number
  readonly to: number
}

/** Whole powers of ten around some values. */
function axisOf(values: readonly number[]): Axis {
  const from = Math.floor(Math.log10(Math.min(...values)) + 1e-9)
  return { from, to: Math.max(from + 1, Math.ceil(Math.log10(Math.max(...values)) - 1e-9)) }
}

function share({ from, to }: Axis, value: number): number {
  return (Math.log10(value) - from) / (to - from)
}

function powers({ from, to }: Axis): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i))
}

function drawn({ title, lines }: Panel, x: string, y: (value: number) => string): string {
  const points = lines.flatMap(line => line.points)
  const across = axisOf(points.map(([size]) => size))
  const up = axisOf(points.map(([, value]) => value))
  const right = (size: number): string => (share(across, size) * WIDTH).toFixed(1)
  const down = (value: number): string => ((1 - share(up, value)) * HEIGHT).toFixed(1)
  const grid = [
    ...powers(up).map(
      value =>
        `<path d="M0,${down(value)}H${WIDTH}" stroke="#ddd"/><text x="-6" y="${Number(down(value)) + 4}" text-anchor="end">${y(value)}</text>`,
    ),
    ...powers(across).map(
      size =>
        `<path d="M${right(size)},0V${HEIGHT}" stroke="#ddd"/><text x="${right(size)}" y="${HEIGHT + 16}" text-anchor="middle">${size.toLocaleString('en')}</text>`,
    ),
  ]
  let nameAt = 0
  const drawing = lines.map(({ name, points: own }, i) => {
    const color = COLORS[i % COLORS.length]!
    const path = own.map(([size, value]) => `${right(size)},${down(value)}`).join(' ')
    const dots = own.map(([size, value]) => `<circle cx="${right(size)}" cy="${down(value)}" r="2.5" fill="${color}"/>`)
    const label = `<text x="${nameAt}" y="-6" fill="${color}">${name}</text>`
    nameAt += name.length * 7 + 16
    return `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="1.5"/>${dots.join('')}${label}`
  })
  return (
    `<text x="0" y="-22" font-weight="bold">${title}</text>${grid.join('')}${drawing.join('')}` +
    `<text x="${WIDTH}" y="-22" text-anchor="end" fill="#666">over ${x}</text>`
  )
}
