import { parseArgs } from 'node:util'
import { scenarios, variants } from './scenarios.ts'

export type Options = Exclude<ReturnType<typeof readOptions>, undefined>

const scenarioNames = scenarios.map(({ name }) => name)

const help = `npm run bench -- [OPTIONS]: load on Sluice and its baselines, in turn, on a stack of its own

  --quick           under 45 s: only what shows the point
  --only NAME,…     only these scenarios
  --variants NAME,… only these of ${variants.join(', ')}
  --repeat N        each run N times; the table has medians
  --streams N       other than a scenario says: so many clients,
  --tokens N        answers of so many tokens,
  --seconds N       so many seconds in which they ask
  --profile         CPU profiles of the API, and where its time goes
  --live            load on a started \`npm start\` whose model is \`npm run mock -w @repo/bench\`
  --out DIR         where report.html and connections.svg go (default .data/bench-report)
  --folder DIR      where its stack lives (default .data/bench)
  --json FILE       all numbers of all runs
  --help

Scenarios:
${scenarios.map(({ name, title }) => `  ${name.padEnd(16)}  ${title}`).join('\n')}
`

/** Reads the command line; undefined when it asked for help, which is printed. Throws one line about what is wrong. */
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
      seconds: { type: 'string' },
      profile: { type: 'boolean', default: false },
      live: { type: 'boolean', default: false },
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
    seconds: readNumber('seconds', values.seconds),
  }
}

function readNames(name: string, known: readonly string[], text: string | undefined): string[] | undefined {
  const names = text?.split(',')
  const unknown = names?.find((given) => !known.includes(given))
  if (unknown !== undefined) throw new Error(`--${name} has no ${unknown}, but ${known.join(', ')}`)
  return names
}

function readNumber(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^[1-9]\d*$/.test(text)) throw new Error(`--${name} should be a whole number from 1 on`)
  return Number(text)
}
