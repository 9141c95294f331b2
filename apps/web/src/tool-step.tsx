import { type DynamicToolUIPart, getToolName, type ToolUIPart } from 'ai'

type ToolPart = ToolUIPart | DynamicToolUIPart

type Props = {
  part: ToolPart
  isRunning: boolean
  /** Whether the answer has ended to wait for its client. */
  isWaiting: boolean
  onRespond: (approvalId: string, isApproved: boolean) => void
}

const labels: Record<Exclude<ToolPart['state'], 'input-available'>, string> = {
  'input-streaming': 'preparing',
  'approval-requested': 'needs your approval',
  'approval-responded': 'answered',
  'output-available': 'done',
  'output-error': 'failed',
  'output-denied': 'denied',
}

/** A tool's call, with its input and output. A tool without a handler waits for code in the client, which this page has not. */
export function ToolStep({ part, isRunning, isWaiting, onRespond }: Props) {
  const { state } = part
  const unfinished = isWaiting ? 'waiting for the client' : isRunning ? 'running' : 'not finished'
  const isAsking = state === 'approval-requested'
  return (
    <details className="step" data-state={state} open={isAsking || undefined}>
      <summary>
        <code>{getToolName(part)}</code> {state === 'input-available' ? unfinished : labels[state]}
      </summary>
      {part.input !== undefined && <Json label="Input" value={part.input} />}
      {state === 'output-available' && <Json label="Output" value={part.output} />}
      {state === 'output-error' && <p className="step-error">{part.errorText}</p>}
      {isAsking && (
        <p className="approval">
          <button type="button" className="primary" onClick={() => onRespond(part.approval.id, true)}>
            Approve
          </button>
          <button type="button" className="quiet" onClick={() => onRespond(part.approval.id, false)}>
            Deny
          </button>
        </p>
      )}
    </details>
  )
}

/** What the model thought before its answer, if its server sends it. */
export function Reasoning({ text }: { text: string }) {
  return (
    <details className="step">
      <summary>Reasoning</summary>
      <p className="reasoning">{text}</p>
    </details>
  )
}

function Json({ label, value }: { label: string; value: unknown }) {
  return (
    <>
      <p className="step-label">{label}</p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: scrollable regions must be reachable by keyboard */}
      <pre tabIndex={0}>{JSON.stringify(value, null, 2)}</pre>
    </>
  )
}
