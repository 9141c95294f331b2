import type { Moment } from './use-live.ts'

const width = 320
const levels = { clients: 26, api: 122, pooler: 214, postgres: 306 }
const maxStrands = 64 // more would not be distinguishable
const boxHeight = 34

/** Draws one line per streaming answer, PgBouncer client and Postgres connection. Lines in use are animated. */
export function Flow({ now }: { now: Moment }) {
  const { openStreams, processes, poolerClients, serversInUse, serversIdle, tokensPerSecond } = now
  const clients = poolerClients ?? 0
  const servers = (serversInUse ?? 0) + (serversIdle ?? 0)
  const perSecond = openStreams > 0 ? `, ${tokensPerSecond.toLocaleString('en')} tokens per second` : ''
  return (
    <svg className="flow" viewBox={`0 0 ${width} 330`} role="img" aria-label={describe(now)}>
      <Strands kind="streams" count={openStreams} from={levels.clients} to={levels.api} spread={300} gather={120} />
      <Strands
        kind="clients"
        count={clients}
        from={levels.api}
        to={levels.pooler}
        spread={110}
        gather={90}
        busy={serversInUse ?? 0}
      />
      <Strands
        kind="servers"
        count={servers}
        from={levels.pooler}
        to={levels.postgres}
        spread={60}
        gather={50}
        busy={serversInUse ?? 0}
      />
      <Station
        y={levels.clients}
        name={`${openStreams === 1 ? 'client' : 'clients'} streaming${perSecond}`}
        number={openStreams}
        wide
      />
      <Station y={levels.api} name={processes === 1 ? 'API process' : 'API processes'} number={processes} />
      <Station y={levels.pooler} name="PgBouncer clients" number={poolerClients} />
      <Station y={levels.postgres} name={`of ${servers} Postgres connections`} number={serversInUse} />
    </svg>
  )
}

function describe({ openStreams, processes, poolerClients, serversInUse, serversIdle }: Moment): string {
  if (poolerClients === null || serversInUse === null)
    return `Answers streaming: ${openStreams}. API processes: ${processes}. No data from PgBouncer.`
  const servers = serversInUse + (serversIdle ?? 0)
  return `Answers streaming: ${openStreams}. API processes: ${processes}. PgBouncer clients: ${poolerClients}. Postgres connections in use: ${serversInUse} of ${servers}.`
}

type StrandsProps = {
  kind: 'streams' | 'clients' | 'servers'
  count: number
  from: number
  to: number
  spread: number
  gather: number
  busy?: number
}

function Strands({ kind, count, from, to, spread, gather, busy = count }: StrandsProps) {
  const drawn = Math.min(count, maxStrands)
  const [top, bottom] = [from + boxHeight / 2, to - boxHeight / 2]
  const middle = (top + bottom) / 2
  const lines = Array.from({ length: drawn }, (_, index) => {
    const toX = (space: number) => width / 2 + (index - (drawn - 1) / 2) * Math.min(12, space / Math.max(1, drawn - 1))
    const [x1, x2] = [toX(spread), toX(gather)]
    // Lines in use are in the middle, where they are easiest to see.
    const isBusy = Math.abs(index - (drawn - 1) / 2) < busy / 2
    return { id: `${kind} ${index}`, isBusy, path: `M${x1} ${top}C${x1} ${middle} ${x2} ${middle} ${x2} ${bottom}` }
  })
  return lines.map(({ id, isBusy, path }, index) => (
    <path key={id} d={path} className={`strand ${kind}`} data-busy={isBusy} data-phase={index % 5} />
  ))
}

function Station({
  y,
  name,
  number,
  wide = false,
}: {
  y: number
  name: string
  number: number | null
  wide?: boolean
}) {
  const boxWidth = wide ? 312 : 216
  return (
    <g>
      <rect
        className="station"
        x={(width - boxWidth) / 2}
        y={y - boxHeight / 2}
        width={boxWidth}
        height={boxHeight}
        rx={boxHeight / 2}
      />
      <text x={width / 2} y={y + 5} textAnchor="middle">
        <tspan className="number">{number === null ? '–' : number.toLocaleString('en')}</tspan> {name}
      </text>
    </g>
  )
}
