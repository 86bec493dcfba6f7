/** One picture: the CPU time of a request, for everyone. Plain SVG that reads on a light and on a dark page. */
import type { Results } from '../perform.ts'

const WIDTH = 760
const BAR = 18
const ROW = 28
const LEFT = 290
const RIGHT = 60
const TOP = 56

const escaped = (text: string): string => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')

export function chart(results: Results): string | undefined {
  const rows = results.throughput
    .filter(({ workload, cpuMicros }) => workload === 'W1' && Number.isFinite(cpuMicros))
    .sort((a, b) => a.cpuMicros - b.cpuMicros)
  const most = Math.max(...rows.map(({ cpuMicros }) => cpuMicros))
  if (rows.length === 0) return undefined
  const height = TOP + rows.length * ROW + 12
  const bars = rows.map(({ proxy, cpuMicros }, i) => {
    const y = TOP + i * ROW
    const ours = proxy === 'hopgate'
    const does = results.proxies.find(({ name }) => name === proxy)?.does ?? ''
    const width = (cpuMicros / most) * (WIDTH - LEFT - RIGHT)
    const weight = ours ? ' font-weight="700"' : ''
    return [
      `<text x="${LEFT - 10}" y="${y + 14}" text-anchor="end"${weight}>${escaped(proxy.replace(' +log', ''))}<tspan class="quiet"> ${escaped(does)}</tspan></text>`,
      `<rect x="${LEFT}" y="${y}" width="${width.toFixed(1)}" height="${BAR}" rx="2" class="${ours ? 'ours' : 'theirs'}"/>`,
      `<text x="${(LEFT + width + 8).toFixed(1)}" y="${y + 14}"${weight}>${cpuMicros.toFixed(1)}</text>`,
    ].join('\n')
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="CPU time per request, in microseconds">
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.quiet { fill: #656d76; font-size: 11px; font-weight: 400 }
.ours { fill: #1a7f64 }
.theirs { fill: #9aa4b0 }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .quiet { fill: #8d96a0 } .ours { fill: #3fb68b } .theirs { fill: #5b6672 } }
</style>
<text x="12" y="22" class="title">CPU time per request, microseconds</text>
<text x="12" y="40" class="quiet">W1: 500-byte GET over keep-alive, 64 connections, one core; shorter is better</text>
${bars.join('\n')}
</svg>
`
}
