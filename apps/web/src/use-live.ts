import { useEffect, useState } from 'react'
import { type LiveSample, useApi } from './api.ts'

export const shownSeconds = 90

/** A sample with the tokens per second since the previous one. */
export type Moment = LiveSample & { time: number; tokensPerSecond: number }

const retryMs = 2000

/** Returns the latest samples, newest last. A hidden page disconnects. */
export function useLive(): { moments: Moment[]; isConnected: boolean } {
  const api = useApi()
  const [moments, setMoments] = useState<Moment[]>([])
  const [isConnected, setConnected] = useState(false)
  const isVisible = useVisible()
  useEffect(() => {
    if (!isVisible) return
    const controller = new AbortController()
    const { signal } = controller
    const follow = async () => {
      for await (const sample of api.watch(signal)) {
        setConnected(true)
        setMoments((before) => addMoment(before, sample))
      }
    }
    const keepFollowing = async () => {
      while (!signal.aborted) {
        await follow().catch(() => {})
        setConnected(false)
        await new Promise((resolve) => setTimeout(resolve, retryMs))
      }
    }
    void keepFollowing()
    return () => controller.abort()
  }, [api, isVisible])
  return { moments, isConnected }
}

function addMoment(before: Moment[], sample: LiveSample): Moment[] {
  const time = Date.parse(sample.at) / 1000
  const last = before.at(-1)
  const tokens = last ? Math.max(0, sample.deltas - last.deltas) / Math.max(0.5, time - last.time) : 0
  const recent = before.filter((moment) => time - moment.time <= shownSeconds)
  return [...recent, { ...sample, time, tokensPerSecond: Math.round(tokens) }]
}

function useVisible(): boolean {
  const [isVisible, setVisible] = useState(!document.hidden)
  useEffect(() => {
    const update = () => setVisible(!document.hidden)
    document.addEventListener('visibilitychange', update)
    return () => document.removeEventListener('visibilitychange', update)
  }, [])
  return isVisible
}
