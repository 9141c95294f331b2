import { z } from 'zod'

z.config({ jitless: true }) // the page's policy blocks `new Function`; must run before any schema is created
