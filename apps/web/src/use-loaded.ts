import { useCallback, useEffect, useState } from 'react'
import { toErrorMessage } from './api.ts'

/** Returns the result of `load`, which must be stable (`useCallback`). `reload` keeps the old value while it loads. */
export function useLoaded<Value>(load: () => Promise<Value>) {
  const [state, setState] = useState<{ value?: Value; error?: string }>({})
  const [round, setRound] = useState(0)
  useEffect(() => {
    let isCurrent = round >= 0
    load().then(
      (value) => isCurrent && setState({ value }),
      (error) => isCurrent && setState((before) => ({ ...before, error: toErrorMessage(error) })),
    )
    return () => {
      isCurrent = false
    }
  }, [load, round])
  const reload = useCallback(() => setRound((count) => count + 1), [])
  return { ...state, reload }
}
