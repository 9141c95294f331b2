import { runCommand } from './command.ts'
import { loadSamples } from './samples.ts'

await runCommand('Failed to load the sample documents', async () => {
  await loadSamples()
  return 0
})
