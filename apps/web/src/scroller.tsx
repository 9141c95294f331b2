import type { ComponentProps } from 'react'

/** A scrollable region. */
export function Scroller(props: ComponentProps<'section'>) {
  // biome-ignore lint/a11y/noNoninteractiveTabindex: scrollable regions must be reachable by keyboard
  return <section tabIndex={0} {...props} />
}
