// Makes of seccomp-table.txt what the programs read: native/sandbox/seccomp-table.h, in which rules by
// name have become spans of numbers, and sandbox/seccomp/default-rules.ts, the names by their rules.
import { readFileSync, writeFileSync } from 'node:fs'

const table = new URL('seccomp-table.txt', import.meta.url)
const header = new URL('../src/layerfs/native/sandbox/seccomp-table.h', import.meta.url)
const list = new URL('../src/layerfs/sandbox/seccomp/default-rules.ts', import.meta.url)

/** In the order of the table's columns. */
const architectures = ['x86_64', 'i386', 'aarch64']

/** What happens by rule: the verdict, and the capabilities that make it ALLOW. */
const rules = {
  allow: { verdict: 'ALLOW', capabilities: [] },
  clone: { verdict: 'CHECK_CLONE', capabilities: ['CAP_SYS_ADMIN'] },
  clone3: { verdict: 'UNKNOWN', capabilities: ['CAP_SYS_ADMIN'] },
  socket: { verdict: 'CHECK_SOCKET', capabilities: [] },
  personality: { verdict: 'CHECK_PERSONALITY', capabilities: [] },
}

function parseTable(text) {
  const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
  return lines.map(line => {
    const [name, ...words] = line.split(/\s+/)
    const rule = words.pop()
    return { name, numbers: words.map(word => (word === '-' ? undefined : Number(word))), rule }
  })
}

function ruleOf(word) {
  if (Object.hasOwn(rules, word)) return rules[word]
  const capabilities = word.split('|')
  if (capabilities.every(name => /^CAP_[A-Z_]+$/.test(name)))
    return { verdict: 'REFUSE', capabilities }
  throw new Error(`seccomp-table.txt: unknown rule "${word}"`)
}

/** Spans that cover all numbers: each lasts until the next one's first. */
function spansOf(calls, column) {
  const byNumber = new Map()
  for (const { name, numbers, rule } of calls) {
    const number = numbers[column]
    if (number === undefined) continue
    if (byNumber.has(number)) throw new Error(`seccomp-table.txt: ${name} has a number twice`)
    byNumber.set(number, ruleOf(rule))
  }
  const newest = Math.max(...byNumber.keys())
  const spans = []
  for (let number = 0; number <= newest + 1; number++) {
    const unlisted = number > newest ? 'UNKNOWN' : 'REFUSE'
    const { verdict, capabilities } = byNumber.get(number) ?? {
      verdict: unlisted,
      capabilities: [],
    }
    const unlockedBy = capabilities.map(name => `BIT(${name})`).join(' | ') || '0'
    const last = spans.at(-1)
    if (last?.verdict === verdict && last.unlockedBy === unlockedBy) continue
    spans.push({ number, verdict, unlockedBy })
  }
  return spans
}

function arrayOf(name, spans) {
  const rows = spans.map(span => `    {${span.number}, ${span.verdict}, ${span.unlockedBy}},`)
  return `static const struct span ${name}_spans[] = {\n${rows.join('\n')}\n};\n`
}

const calls = parseTable(readFileSync(table, 'utf8'))
const arrays = architectures.map((name, column) => {
  const guard = name === 'aarch64' ? 'defined(__aarch64__)' : 'defined(__x86_64__)'
  return `#if ${guard}\n${arrayOf(name, spansOf(calls, column))}#endif\n`
})
const top = `/* Made by scripts/generate-seccomp.mjs from scripts/seccomp-table.txt; change that and run it. */\n`
writeFileSync(header, `${top}${arrays.join('')}`)

/** Lines of at most 100 columns. */
function wrap(words) {
  const lines = ['']
  for (const word of words) {
    const line = lines.at(-1)
    if (line.length + word.length > 90) lines.push(`    ${word}`)
    else lines[lines.length - 1] = line === '' ? `    ${word}` : `${line} ${word}`
  }
  return lines.join('\n')
}

const byRule = new Map()
for (const { name, rule } of calls) byRule.set(rule, [...(byRule.get(rule) ?? []), name])
const entries = Array.from(byRule, ([rule, names]) => {
  return `  [\n    '${rule}',\n    \`\n${wrap(names)}\n    \`,\n  ],\n`
})
writeFileSync(
  list,
  [
    '/**\n * Docker’s rules for system calls, as names by rule. Made by scripts/generate-seccomp.mjs from\n',
    ' * scripts/seccomp-table.txt, which says what the rules mean; change that and run it.\n */\n',
    'export const defaultRules: readonly (readonly [rule: string, names: string])[] = [\n',
    ...entries,
    ']\n',
  ].join(''),
)
