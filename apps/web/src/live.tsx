import { Chart } from './chart.tsx'
import { Flow } from './flow.tsx'
import { Scroller } from './scroller.tsx'
import { type Moment, useLive } from './use-live.ts'
import { useTheme } from './use-theme.ts'

const numbers = [
  { label: 'Open streams', color: '--streams', unit: '', read: (moment: Moment) => moment.openStreams },
  { label: 'PgBouncer clients', color: '--clients', unit: '', read: (moment: Moment) => moment.poolerClients },
  { label: 'Server connections in use', color: '--servers', unit: '', read: (moment: Moment) => moment.serversInUse },
  {
    label: 'Event loop delay',
    color: '--delay',
    unit: 'ms',
    read: (moment: Moment) => Math.round(moment.eventLoopDelayMs * 10) / 10,
  },
] as const

const leastCount = 20
const leastDelay = 50 // ms

/** What flows now, and the four numbers over time. The three counts share a scale: that is the point. */
export function Live() {
  const { moments, isConnected } = useLive()
  const theme = useTheme()
  const now = moments.at(-1)
  const times = moments.map(({ time }) => time)
  const series = numbers.map(({ read }) => moments.map(read))
  const counts = series.slice(0, 3).flat()
  const countMax = Math.max(leastCount, ...counts.map((value) => value ?? 0))
  return (
    <Scroller className="live" aria-label="The live picture">
      <h2>{now ? sayIt(now) : 'Listening to the server…'}</h2>
      {!isConnected && now && <p role="status">The server does not answer; trying again.</p>}
      {now && <Flow now={now} />}
      <div className="charts">
        {numbers.map(({ label, color, unit }, index) => {
          const values = series[index] ?? []
          const max = index < 3 ? countMax : Math.max(leastDelay, ...values.map((value) => value ?? 0))
          const value = values.at(-1)
          return (
            <figure key={label}>
              <figcaption>
                {label}
                <output>
                  {value === null || value === undefined ? '–' : `${value.toLocaleString('en')}${unit && ` ${unit}`}`}
                </output>
              </figcaption>
              <Chart key={theme} times={times} values={values} max={max} color={color} />
            </figure>
          )
        })}
      </div>
      <p className="hint">
        The counts share one scale. <code>npm run bench -- --live</code> puts 500 streams on it.
      </p>
    </Scroller>
  )
}

/** The point of it all, in a sentence. */
function sayIt({ openStreams, serversInUse }: Moment): string {
  const streams = `${openStreams.toLocaleString('en')} ${openStreams === 1 ? 'answer' : 'answers'} streaming`
  if (serversInUse === null) return `${streams}.`
  return `${streams}, ${serversInUse} database ${serversInUse === 1 ? 'connection' : 'connections'} in use.`
}
