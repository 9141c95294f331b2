import { useEffect, useState } from 'react'

/** Changes with the colours, which a canvas does not follow by itself. */
export function useTheme(): 'light' | 'dark' {
  const [isDark, setDark] = useState(() => matchMedia('(prefers-color-scheme: dark)').matches)
  useEffect(() => {
    const query = matchMedia('(prefers-color-scheme: dark)')
    const note = () => setDark(query.matches)
    query.addEventListener('change', note)
    return () => query.removeEventListener('change', note)
  }, [])
  return isDark ? 'dark' : 'light'
}
