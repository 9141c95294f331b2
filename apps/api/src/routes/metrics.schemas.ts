import { z } from 'zod'

const MetricsResponse = z.string().meta({
  description: 'https://prometheus.io/docs/instrumenting/exposition_formats',
  examples: [
    '# HELP sluice_open_streams Answers being generated\n# TYPE sluice_open_streams gauge\nsluice_open_streams 3\n',
  ],
})

export const metrics = { description: 'The metrics', content: { 'text/plain': { schema: MetricsResponse } } }
