import { useEffect, useRef } from 'react'
import UPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { shownSeconds } from './use-live.ts'

const height = 64 // px

type Props = { times: number[]; values: (number | null)[]; max: number; color: string }

/** A chart of one value over the last seconds. Its colours are read once, so recreate it when the theme changes. */
export function Chart({ times, values, max, color }: Props) {
  const box = useRef<HTMLDivElement>(null)
  const plot = useRef<UPlot>(undefined)
  useEffect(() => {
    if (!box.current) return
    const created = createPlot(box.current, color)
    plot.current = created
    const observer = new ResizeObserver(([entry]) => {
      if (entry) created.setSize({ width: entry.contentRect.width, height })
    })
    observer.observe(box.current)
    return () => {
      observer.disconnect()
      created.destroy()
    }
  }, [color])
  useEffect(() => {
    const last = times.at(-1) ?? 0
    plot.current?.batch(() => {
      plot.current?.setData([times, values], false)
      plot.current?.setScale('x', { min: last - shownSeconds, max: last })
      plot.current?.setScale('y', { min: 0, max: max * 1.08 })
    })
  }, [times, values, max])
  return <div className="chart" ref={box} aria-hidden="true" />
}

function createPlot(element: HTMLElement, color: string): UPlot {
  const style = getComputedStyle(element)
  const read = (name: string) => style.getPropertyValue(name).trim()
  const options: UPlot.Options = {
    width: element.clientWidth,
    height,
    padding: [6, 0, 6, 0],
    legend: { show: false },
    cursor: { show: false },
    scales: { x: { time: false, auto: false }, y: { auto: false } },
    axes: [
      { show: false },
      {
        size: 30,
        space: 22,
        font: '11px Inter, system-ui, sans-serif',
        stroke: read('--faint'),
        grid: { stroke: read('--line'), width: 1 },
        ticks: { show: false },
      },
    ],
    series: [{}, { stroke: read(color), width: 2, fill: `${read(color)}1f`, points: { show: false }, spanGaps: false }],
  }
  return new UPlot(options, [[], []], element)
}
