import { stem } from './words.ts'

/** English words of work and software that people use for one another. Small on purpose: a wrong pair is a wrong answer. */
const groups = `
  allow permit permitted authorise authorize
  answer reply respond response
  app application
  ban forbid forbidden prohibit disallow
  begin start launch
  bill invoice
  bug defect fault
  buy purchase order
  cancel terminate termination end
  change modify edit alter update
  client customer
  close shut
  cost price fee charge rate tariff
  damage harm break broken
  delay late overdue
  delete remove erase
  deploy deployment release rollout
  developer programmer engineer
  employee staff worker personnel
  employ hire recruit
  error failure
  fast quick rapid
  fix repair mend
  guarantee warranty
  help support assistance
  holiday vacation leave
  illness sick sickness
  job task
  keep retain store retention
  limit maximum max cap
  login signin logon
  money refund reimburse reimbursement
  need require requirement necessary
  pay payment remuneration
  postgres postgresql
  programme program
  reason cause
  safe secure
  salary wage
  send ship deliver delivery shipping dispatch
  agreement contract
  alert alarm
  boss manager supervisor
  car vehicle
  stop halt
`

const groupsOf = new Map<string, number>()
groups
  .trim()
  .split('\n')
  .forEach((line, group) => {
    for (const word of line.trim().split(' ')) groupsOf.set(stem(word), group)
  })

/** The number of the group of words that a stem belongs to, if any. */
export function findSynonyms(stemmed: string): number | undefined {
  return groupsOf.get(stemmed)
}
