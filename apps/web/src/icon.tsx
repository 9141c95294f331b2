const paths = {
  copy: 'M9 9h11v11H9zM6 15H4V4h11v2',
  copied: 'M5 13l5 5 9-11',
  regenerate: 'M5 12a7.5 7.5 0 1 1 2.4 5.5M5 7v5h5',
  edit: 'M4 20l1-4L16 5l3 3L8 19z',
  good: 'M4 11h3v9H4zM7 12l4-8c1.6 0 2.4 1.2 2.1 2.7L12.6 9H18c1.3 0 2.2 1 2 2.3l-1.2 6.8A2.3 2.3 0 0 1 16.6 20H7',
  bad: 'M4 13h3V4H4zM7 12l4 8c1.6 0 2.4-1.2 2.1-2.7l-.5-2.3H18c1.3 0 2.2-1 2-2.3l-1.2-6.8A2.3 2.3 0 0 0 16.6 4H7',
  image: 'M4 5h16v14H4zM4 16l5-5 5 5 2-2 4 4M15 9h.01',
}

export type IconName = keyof typeof paths

/** A picture without a name: its button has one. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg viewBox="0 0 24 24" aria-hidden="true" className="icon">
      <path d={paths[name]} />
    </svg>
  )
}

type Props = {
  icon: IconName
  label: string
  isPressed?: boolean
  isDisabled?: boolean
  onClick: () => void
  ref?: React.Ref<HTMLButtonElement>
}

/** A button that shows only an icon. Its label is read aloud and shown on hover. */
export function IconButton({ icon, label, isPressed, isDisabled, onClick, ref }: Props) {
  return (
    <button
      type="button"
      className="icon-button"
      ref={ref}
      aria-label={label}
      title={label}
      aria-pressed={isPressed}
      disabled={isDisabled}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  )
}
