import { z } from 'zod'

z.config({ jitless: true }) // the page's policy refuses `new Function`; said before any shape is made
