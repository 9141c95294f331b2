/** Rules for imports between files and folders, also of types. `turbo boundaries` adds: no app imports another app. */
module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-circular-folders', severity: 'error', scope: 'folder', from: {}, to: { circular: true } },
    {
      name: 'no-import-of-bench',
      severity: 'error',
      from: { pathNot: '^(apps/bench|infra)/' },
      to: { path: '^apps/bench/' },
    },
    {
      name: 'rag-and-llm-without-fastify',
      severity: 'error',
      from: { path: '^packages/(rag|llm)/' },
      to: { path: 'node_modules/fastify' },
    },
    {
      name: 'routes-are-independent',
      severity: 'error',
      from: { path: '^apps/api/src/routes/(.+?)([.]schemas)?[.]ts$' },
      to: { path: '^apps/api/src/routes/', pathNot: '^apps/api/src/routes/$1[.]schemas[.]ts$' },
    },
  ],
  options: {
    parser: 'swc',
    doNotFollow: { path: 'node_modules' },
    exclude: { path: ['(^|/)node_modules/(?!fastify)', '[.]test[.]ts$', '^apps/web/.*[.]tsx$', '/migrations/'] },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'default'], extensions: ['.ts'] },
  },
}
