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

const minCountScale = 20
const minDelayScale = 50 // ms

/** The live view: the current flow and four charts. The three counts share one scale to be comparable. */
export function Live() {
  const { moments, isConnected } = useLive()
  const theme = useTheme()
  const now = moments.at(-1)
  const times = moments.map(({ time }) => time)
  const series = numbers.map(({ read }) => moments.map(read))
  const counts = series.slice(0, 3).flat()
  const countMax = Math.max(minCountScale, ...counts.map((value) => value ?? 0))
  return (
    <Scroller className="live" aria-label="Live view">
      <h2>{now ? summarize(now) : 'Connecting to the server…'}</h2>
      {!isConnected && now && <p role="status">The server is not responding. Reconnecting…</p>}
      {now && <Flow now={now} />}
      <div className="charts">
        {numbers.map(({ label, color, unit }, index) => {
          const values = series[index] ?? []
          const max = index < 3 ? countMax : Math.max(minDelayScale, ...values.map((value) => value ?? 0))
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
        All counts use the same scale. Run <code>npm run bench -- --live</code> to see 500 streams.
      </p>
    </Scroller>
  )
}

/** Returns a summary of a sample in one sentence. */
function summarize({ openStreams, serversInUse }: Moment): string {
  const streams = `${openStreams.toLocaleString('en')} ${openStreams === 1 ? 'answer' : 'answers'} streaming`
  if (serversInUse === null) return `${streams}.`
  return `${streams}, ${serversInUse} database ${serversInUse === 1 ? 'connection' : 'connections'} in use.`
}
