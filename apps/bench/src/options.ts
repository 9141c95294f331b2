import { parseArgs } from 'node:util'
import { defaultChunks, scenarios, variants } from './scenarios.ts'

export type Options = Exclude<ReturnType<typeof readOptions>, undefined>

const scenarioNames = scenarios.map(({ name }) => name)

const help = `npm run bench -- [OPTIONS]: measures Sluice and its baselines under load, on a temporary stack

  --quick           run only the main scenarios, in under 3 minutes
  --only NAME,…     run only these scenarios
  --variants NAME,… run only these variants: ${variants.join(', ')}
  --repeat N        repeat each run N times and show medians
  --streams N       number of clients (default: set by the scenario)
  --tokens N        tokens per answer (default: set by the scenario)
  --chunks N        chunks that are searched (default: ${defaultChunks}; \`search\` compares sizes)
  --seconds N       seconds in which clients send requests (default: set by the scenario)
  --profile         take CPU profiles of the API and list its hottest functions
  --live            put load on a running \`npm start\`; its model must be \`npm run mock -w @repo/testing\`
  --capacity        measure unit costs and compute what a deployment needs, in under 10 minutes
  --from FILE       with --capacity: compute from the measurements in FILE, and measure nothing
  --page FILE       with --capacity: replace the tables of this page
  --out DIR         output folder of report.html and connections.svg (default: .data/bench-report)
  --folder DIR      folder of the temporary stack (default: .data/bench)
  --json FILE       write all numbers of all runs to FILE
  --help            show this help

Scenarios:
${scenarios.map(({ name, title }) => `  ${name.padEnd(16)}  ${title}`).join('\n')}
`

/** Parses the command line. Prints help and returns undefined for `--help`. Throws a one-line error for invalid options. */
export function readOptions(args: string[]) {
  const { values } = parseArgs({
    args,
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string' },
      repeat: { type: 'string', default: '1' },
      variants: { type: 'string' },
      streams: { type: 'string' },
      tokens: { type: 'string' },
      chunks: { type: 'string' },
      seconds: { type: 'string' },
      profile: { type: 'boolean', default: false },
      live: { type: 'boolean', default: false },
      capacity: { type: 'boolean', default: false },
      from: { type: 'string' },
      page: { type: 'string' },
      out: { type: 'string', default: '.data/bench-report' },
      folder: { type: 'string', default: '.data/bench' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) {
    console.log(help)
    return undefined
  }
  return {
    ...values,
    only: readNames('only', scenarioNames, values.only),
    variants: readNames('variants', variants, values.variants),
    repeat: readNumber('repeat', values.repeat) ?? 1,
    streams: readNumber('streams', values.streams),
    tokens: readNumber('tokens', values.tokens),
    chunks: readNumber('chunks', values.chunks),
    seconds: readNumber('seconds', values.seconds),
  }
}

function readNames(name: string, known: readonly string[], text: string | undefined): string[] | undefined {
  const names = text?.split(',')
  const unknown = names?.find((given) => !known.includes(given))
  if (unknown !== undefined) throw new Error(`Unknown value for --${name}: ${unknown}. Use one of ${known.join(', ')}.`)
  return names
}

function readNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9]\d*$/.test(text)) throw new Error(`--${name} must be a whole number of at least 1.`)
  return Number(text)
}
