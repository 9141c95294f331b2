import type { FormEvent } from 'react'

/** Asks for the key where the API wants one. It is kept in memory alone: not even a form filler is told. */
export function KeyForm({ isRefused, onEnter }: { isRefused: boolean; onEnter: (key: string) => void }) {
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const key = new FormData(event.currentTarget).get('key')
    if (typeof key === 'string' && key.trim()) onEnter(key.trim())
  }
  return (
    <main className="locked">
      <form onSubmit={submit}>
        <h1>Sluice</h1>
        <label htmlFor="key">Your API key</label>
        {/* biome-ignore lint/a11y/noAutofocus: it is all that this page holds */}
        <input id="key" name="key" type="password" autoComplete="off" spellCheck={false} autoFocus required />
        {isRefused && <p role="alert">This key is not valid. Check it, or make another.</p>}
        <p className="hint">
          It stays in this tab’s memory and is forgotten with it. <code>npm run manage -- create-key --owner NAME</code>{' '}
          makes one.
        </p>
        <button type="submit" className="primary">
          Open
        </button>
      </form>
    </main>
  )
}
