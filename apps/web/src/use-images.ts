import type { FileUIPart } from 'ai'
import { useState } from 'react'

const maxBytes = 5_000_000 // per image, as the API

/** Holds the images of the next question, as `data:` URLs. */
export function useImages() {
  const [images, setImages] = useState<FileUIPart[]>([])
  const [problem, setProblem] = useState<string>()
  const add = async (files: File[]) => {
    const small = files.filter(({ size }) => size <= maxBytes)
    setProblem(small.length < files.length ? 'This image is larger than 5 MB. Choose a smaller one.' : undefined)
    const read = await Promise.all(small.map(readImage))
    setImages((before) => [...before, ...read])
  }
  return {
    images,
    problem,
    add,
    remove: (image: FileUIPart) => setImages((before) => before.filter((other) => other !== image)),
    clear: () => setImages([]),
  }
}

async function readImage(file: File): Promise<FileUIPart> {
  const reader = new FileReader()
  const read = new Promise((resolve, reject) => {
    reader.onload = resolve
    reader.onerror = () => reject(reader.error)
  })
  reader.readAsDataURL(file)
  await read
  return { type: 'file', mediaType: file.type, filename: file.name, url: String(reader.result) }
}
