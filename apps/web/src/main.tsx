import './no-eval.ts'
import { createRoot } from 'react-dom/client'
import { App } from './app.tsx'
import './style.css'

const element = document.getElementById('page')
if (element) createRoot(element).render(<App />)
