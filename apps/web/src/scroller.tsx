import type { ComponentProps } from 'react'

/** A region that scrolls by itself. */
export function Scroller(props: ComponentProps<'section'>) {
  // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reached by the keyboard
  return <section tabIndex={0} {...props} />
}
