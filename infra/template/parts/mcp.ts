import type { Part } from '../part.ts'

export const part: Part = {
  description: 'the MCP server, /mcp',
  files: ['apps/api/src/mcp'],
  dependencies: { 'apps/api': ['@modelcontextprotocol/client', '@modelcontextprotocol/server'] },
  edits: {
    'CHANGELOG.md': ['- `POST /mcp`: '],
    'apps/api/src/app.ts': [
      "await app.register(import('./mcp/protected-resource",
      "await app.register(import('./mcp/routes",
    ],
    'apps/api/src/chat/tools.ts': [
      'mcp?: boolean',
      ["'description' | 'isOffered' | 'mcp'>", "'description' | 'isOffered'>"],
    ],
    'apps/api/src/plugins/auth.ts': [['|\\.well-known\\/oauth-protected-resource\\/', '']],
    'apps/api/src/plugins/openapi.ts': [
      ['/** The version of this project. */\nexport const { version }', 'const { version }'],
      "{ name: 'mcp'",
    ],
    'apps/api/src/tools/README.md': ['- **`mcp: true`**'],
    'apps/api/src/tools/read-document.ts': ['mcp: true,'],
    'apps/api/src/tools/search-documents.ts': ['mcp: true,'],
    'apps/api/tests/owners.test.ts': [
      'const findDocument = ',
      'const [documentId, sharedId] = ',
      'const callMcp = ',
      'const callTool = ',
      "['searches over MCP'",
      "['reads a document of hers over MCP'",
      "['reads a resource of hers'",
      "['searches for what is shared'",
      "['reads a shared resource'",
      "['lists resources after one of hers'",
    ],
    'apps/api/tests/scopes.test.ts': ["'POST /mcp'"],
    'apps/api/tests/stalls.test.ts': ['const callMcp = ', "'POST /mcp'"],
    'biome.json': ['"apps/api/src/mcp/protected-resource.ts"', '"apps/api/src/mcp/routes.ts"'],
    'docs/clients.md': ['## Claude, Cursor and other MCP clients'],
    'docs/security.md': [[', and `POST /mcp`', ''], '- `/mcp` needs `read`'],
  },
}
