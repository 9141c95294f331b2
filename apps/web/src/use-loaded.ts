import { useCallback, useEffect, useState } from 'react'
import { explain } from './api.ts'

/** What `load` gives, once it does; `reload` asks again and keeps what there is until then. Make `load` with `useCallback`. */
export function useLoaded<Value>(load: () => Promise<Value>) {
  const [state, setState] = useState<{ value?: Value; error?: string }>({})
  const [round, setRound] = useState(0)
  useEffect(() => {
    let isCurrent = round >= 0
    load().then(
      (value) => isCurrent && setState({ value }),
      (error) => isCurrent && setState((before) => ({ ...before, error: explain(error) })),
    )
    return () => {
      isCurrent = false
    }
  }, [load, round])
  const reload = useCallback(() => setRound((count) => count + 1), [])
  return { ...state, reload }
}
