import { startMockModel } from './mock-model.ts'

const { url } = await startMockModel({ port: Number(process.env.PORT ?? 0) })
console.log(`The mock model is running at ${url}. To use it: OPENAI_BASE_URL=${url} CHAT_MODEL=mock npm start`)
