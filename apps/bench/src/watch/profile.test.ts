import { describe, expect, it } from 'vitest'
import { listHotFunctions } from './profile.ts'

describe('hot functions', () => {
  const node = (id: number, functionName: string, url = '') => ({ id, callFrame: { functionName, url, lineNumber: 4 } })
  const nodes = [
    node(1, '(idle)'),
    node(2, 'read', 'file:///home/x/apps/api/src/chat.ts'),
    node(3, 'write', 'file:///home/x/node_modules/postgres/src/index.js'),
    node(4, 'read', 'file:///home/x/apps/api/src/chat.ts'),
  ]
  const profile = { startTime: 1000, nodes, samples: [3, 1, 2, 4, 3], timeDeltas: [500, 900, 1000, 2000, 1000] }

  it('are those with the most self time over all callers, without idle time', () => {
    expect(listHotFunctions(profile, 0)).toEqual([
      ' 66.7 %  read apps/api/src/chat.ts:5',
      ' 33.3 %  write postgres/src/index.js:5',
    ])
  })

  it('count from the start of the load', () => {
    expect(listHotFunctions(profile, 3)).toEqual([
      ' 75.0 %  read apps/api/src/chat.ts:5',
      ' 25.0 %  write postgres/src/index.js:5',
    ])
  })
})
