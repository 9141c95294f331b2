import type { FormEvent } from 'react'

/** Asks for the API key. It is kept in memory only, and password managers are not offered to save it. */
export function KeyForm({ isRejected, onEnter }: { isRejected: boolean; onEnter: (key: string) => void }) {
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
        {/* biome-ignore lint/a11y/noAutofocus: the key is the only field of this page */}
        <input id="key" name="key" type="password" autoComplete="off" spellCheck={false} autoFocus required />
        {isRejected && <p role="alert">Invalid key. Check it, or create a new one.</p>}
        <p className="hint">
          The key is kept in memory until you close this tab. To create one, run{' '}
          <code>npm run manage -- create-key --owner NAME</code>.
        </p>
        <button type="submit" className="primary">
          Open
        </button>
      </form>
    </main>
  )
}
