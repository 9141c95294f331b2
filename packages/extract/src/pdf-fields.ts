import { z } from 'zod'

const Choices = z.array(z.object({ exportValue: z.string().nullable(), displayValue: z.string().nullable() }))
const Annotation = z.object({
  subtype: z.string(),
  fieldName: z.string().optional(),
  alternativeText: z.string().nullish(),
  fieldValue: z
    .union([z.string(), z.array(z.string())])
    .nullish()
    .catch(undefined),
  options: Choices.optional().catch(undefined),
  contentsObj: z.object({ str: z.string() }).optional(),
  exportValue: z.string().nullish(),
  buttonValue: z.string().nullish(),
  checkBox: z.boolean().optional(),
  radioButton: z.boolean().optional(),
  pushButton: z.boolean().optional(),
  password: z.boolean().optional(),
  hidden: z.boolean().optional(),
})
type Annotation = z.output<typeof Annotation>

/** Returns what was entered on a page, one line per field: form fields with their labels, and free text. */
export async function readFields(page: { getAnnotations(): Promise<unknown[]> }): Promise<string[]> {
  const annotations = await page.getAnnotations()
  return annotations.flatMap((annotation) => {
    const { data } = Annotation.safeParse(annotation)
    return data && !data.hidden && !data.password ? describe(data) : []
  })
}

function describe(annotation: Annotation): string[] {
  if (annotation.subtype === 'FreeText') return [annotation.contentsObj?.str ?? ''].filter((text) => text.trim())
  const value = annotation.subtype === 'Widget' ? readValue(annotation).trim() : ''
  if (!value) return []
  const label = annotation.alternativeText || annotation.fieldName || ''
  return [/^[\p{L}\p{N}][^[\]_.]*$/u.test(label) && label !== value ? `${label}: ${value}` : value]
}

function readValue({ fieldValue, options, ...annotation }: Annotation): string {
  if (annotation.pushButton) return ''
  if (annotation.checkBox) return fieldValue && fieldValue === annotation.exportValue ? '☒' : ''
  if (annotation.radioButton) return fieldValue && fieldValue === annotation.buttonValue ? String(fieldValue) : ''
  const toName = (value: string) => options?.find(({ exportValue }) => exportValue === value)?.displayValue ?? value
  return [fieldValue ?? []].flat().map(toName).join(', ')
}
