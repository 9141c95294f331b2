import { fromStored, type PastMessage } from '@repo/db'
import type { ChatMessage } from '@repo/llm'
import { toChatMessages } from './chat-messages.ts'
import { chooseImages, listFiles, type ReadImage, toQuestion } from './images.ts'

/**
 * Returns the complete turns that fit `budget`, in bytes, oldest first. The last turn always belongs to them. Expects the
 * newest message first. Without `readImage`, images are replaced by a note.
 */
export function fitHistory(newestFirst: PastMessage[], budget: number, readImage?: ReadImage): ChatMessage[] {
  const images = readImage ? chooseImages(newestFirst) : new Set<string>()
  const cut = findCut(newestFirst[0], budget)
  const kept: ChatMessage[] = []
  for (const { role, content, parts = null, start } of newestFirst) {
    // Skips unanswered questions. Some model servers reject two consecutive messages with the same role.
    if (role === (kept[0]?.role ?? 'user')) continue
    if (start < cut && kept.length >= 2) break
    if (role === 'assistant') kept.unshift(...toChatMessages(fromStored({ content, parts })))
    else kept.unshift(toQuestion(content, listFiles(parts), readImage, images))
  }
  // Some model servers reject a conversation that starts with an answer.
  while (kept[0]?.role === 'assistant') kept.shift()
  return kept
}

/**
 * Returns the position in the conversation's text before which messages are dropped. It advances by half of the budget at
 * once and then stays for several turns, because each change makes the model server read the whole history again.
 */
function findCut(newest: PastMessage | undefined, budget: number): number {
  const length = newest ? newest.start + newest.size : 0
  const block = budget / 2
  return Math.max(0, Math.ceil((length - budget) / block) * block)
}
