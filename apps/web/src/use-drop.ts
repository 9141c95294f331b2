import { useEffect, useRef, useState } from 'react'

/** Handles files dropped anywhere on the page. Returns whether files are being dragged over it. */
export function useDrop(onDrop: (files: File[]) => void): boolean {
  const [isOver, setOver] = useState(false)
  const latest = useRef(onDrop)
  latest.current = onDrop
  useEffect(() => {
    const controller = new AbortController()
    const listen = (type: 'dragover' | 'dragleave' | 'drop', act: (event: DragEvent) => void) =>
      addEventListener(type, act, { signal: controller.signal })
    listen('dragover', (event) => {
      event.preventDefault() // otherwise the browser opens the file
      setOver(event.dataTransfer?.types.includes('Files') ?? false)
    })
    listen('dragleave', (event) => event.relatedTarget === null && setOver(false))
    listen('drop', (event) => {
      event.preventDefault()
      setOver(false)
      const files = [...(event.dataTransfer?.files ?? [])]
      if (files.length > 0) latest.current(files)
    })
    return () => controller.abort()
  }, [])
  return isOver
}
