"use strict"
/* The live page: three models answer in the reader's browser. This one file is both the page's
   script and that of its workers, one a model. The runtime (onnxruntime-web), the models, the
   tokenizer, the problems and the numbers to compare with lie in ./data, put there by build.py. */

const script = typeof document === "undefined" ? self.location : new URL(document.currentScript.src)
const at = name => new URL("data/" + name, script).href

async function fetched(name, kind) {
  const answer = await fetch(at(name))
  if (!answer.ok) throw new Error(`${name} cannot be had (${answer.status})`)
  return answer[kind]()
}

/* ---- Tokenizer: byte-level BPE that keeps digits apart, from tokenizer.json ---- */

class Tokenizer {
  constructor(file) {
    this.ids = new Map(Object.entries(file.model.vocab))
    this.words = new Map([...this.ids].map(([word, id]) => [id, word]))
    this.rank = new Map(file.model.merges.map((pair, rank) => [pair.join(" "), rank]))
    this.special = new Map(file.added_tokens.map(token => [token.content, token.id]))
    this.specialIds = new Set(this.special.values())
    const literal = word => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
    const escaped = [...this.special.keys()].map(literal)
    this.markers = new RegExp(`(${escaped.join("|")})`)
    this.letterOf = letters()
    this.byteOf = new Map(this.letterOf.map((letter, byte) => [letter, byte]))
  }

  encode(text) {
    const ids = []
    for (const part of text.split(this.markers)) {
      if (this.special.has(part)) ids.push(this.special.get(part))
      else for (const word of words(part)) ids.push(...this.merged(word))
    }
    return ids
  }

  merged(word) { // join the pair that was learnt first until no pair is known
    let parts = [...new TextEncoder().encode(word)].map(byte => this.letterOf[byte])
    for (;;) {
      let best = Infinity, place = -1
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = this.rank.get(parts[i] + " " + parts[i + 1])
        if (rank < best) [best, place] = [rank, i]
      }
      if (place < 0) return parts.map(part => this.ids.get(part))
      const pair = parts[place] + parts[place + 1]
      parts = parts.flatMap((part, i) => i === place ? [pair] : part)
      parts.splice(place + 1, 1)
    }
  }

  decode(ids) { // without markers
    const own = ids.filter(id => !this.specialIds.has(id)).map(id => this.words.get(id))
    const bytes = [...own.join("")].map(letter => this.byteOf.get(letter))
    return new TextDecoder("utf-8", {ignoreBOM: true}).decode(new Uint8Array(bytes))
  }
}

function letters() { // one printable letter for each byte, as GPT-2 chose them
  const printable = byte => byte > 32 && byte < 127 || byte > 160 && byte < 173 || byte > 173
  let next = 256
  const letter = (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++)
  return Array.from({length: 256}, letter)
}

const WORD = new RegExp("'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+"
  + "| ?[^\\p{White_Space}\\p{L}\\p{N}]+"
  + "|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+", "gu")

function words(text) {
  return text.split(/(\p{N})/u).flatMap(part => part.match(WORD) ?? [])
}

/* ---- Problems: a·x + b = c, in three wordings ---- */

function problemOf(question, wordings) { // numbers and true answer; null if in none of the wordings
  for (const wording of wordings) {
    const literal = wording.replace(/[.*+?^$()|[\]\\]/g, "\\$&")
    const pattern = literal.replace(/\{(\w)\}/g, "(?<$1>\\d+)")
    const found = question.trim().match(new RegExp(`^${pattern}$`, "i"))
    if (!found) continue
    const [a, b, c] = ["a", "b", "c"].map(name => Number(found.groups[name]))
    return {a, b, c, answer: (c - b)/a}
  }
  return null
}

function questionOf([a, x, b, wording], wordings) {
  const numbers = {a, b, c: a*x + b}
  return wordings[wording].replace(/\{(\w)\}/g, (_, name) => numbers[name])
}

function isKnown({a, b, c, answer}) { // of the kind that the models were made from
  return Number.isInteger(answer) && a >= 2 && a <= 9 && b >= 1 && b <= 49 && c <= 99 && answer >= 2
}

function stated(text) { // the last x that an attempt states, as the task's grader reads it
  const found = [...text.matchAll(/x = (-?\d+)(?![\d·])/g)]
  return found.length ? Number(found.at(-1)[1]) : null
}

/* ---- Worker: one model, which writes a conversation token by token ---- */

let session, tokenizer, chat
let asked // the number of the conversation in hand; a newer one ends it

async function load({folder, runtime, tokenizerFile, format}) {
  importScripts(at("ort.wasm.min.js"))
  const wasmPaths = {mjs: at("ort-wasm-simd-threaded.mjs")}
  Object.assign(ort.env.wasm, {numThreads: 1, wasmBinary: runtime, wasmPaths})
  ort.env.logLevel = "error"
  tokenizer = new Tokenizer(tokenizerFile)
  chat = format
  const options = {executionProviders: ["wasm"], logSeverityLevel: 3}
  session = await ort.InferenceSession.create(at(`${folder}/model.onnx`), options)
  await next([chat.end], 0) // the first pass is slow
}

async function next(ids, temperature) { // the next token and its probability
  const input = new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length])
  const {logits} = await session.run({ids: input})
  const scores = logits.data.subarray(logits.data.length - logits.dims[2])
  const best = scores.reduce((best, score, id) => score > scores[best] ? id : best, 0)
  const weight = score => Math.exp((score - scores[best])/(temperature || 1))
  const weights = Float64Array.from(scores, weight)
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  let token = best
  if (temperature) {
    let luck = Math.random()*total
    token = weights.findIndex(weight => (luck -= weight) < 0)
    if (token < 0) token = best
  }
  return [token, weights[token]/total]
}

const pause = () => new Promise(go => { // let a message in
  const channel = new MessageChannel()
  channel.port1.onmessage = go
  channel.port2.postMessage(0)
})

async function converse({number, question, attempts, temperature}) {
  const ids = tokenizer.encode(chat.before + question.trim() + chat.after)
  for (let attempt = 1; attempt <= attempts; attempt++) {
    const own = []
    for (;;) {
      const [token, probability] = await next(ids, temperature)
      if (asked !== number) return
      ids.push(token)
      own.push(token)
      const ended = chat.stop.includes(token), over = ended || own.length === chat.limit
      const text = tokenizer.decode(own).trim()
      const piece = chat.stop.includes(token) ? "" : tokenizer.decode([token])
      postMessage({number, attempt, piece, probability, over, ended, text})
      if (over) break
      await pause()
    }
    if (ids.at(-1) === chat.end) ids.pop()
    ids.push(...tokenizer.encode(chat.bridge))
  }
}

function work() {
  let queue = Promise.resolve()
  onmessage = ({data}) => {
    if (data.number !== undefined) asked = data.number
    const fail = error => postMessage({failed: String(error?.message ?? error)})
    const start = () => load(data).then(() => postMessage({ready: true}))
    queue = queue.then(() => data.folder ? start() : converse(data)).catch(fail)
  }
}

/* ---- Page ---- */

const $ = id => document.getElementById(id)

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties)
  made.append(...children)
  return made
}

function missing() { // what this browser lacks, in words; "" if nothing
  if (location.protocol === "file:")
    return "This page was opened as a file, and a browser then lets it read nothing. "
      + "Serve the folder (python -m http.server) and open it from there."
  if (typeof WebAssembly !== "object")
    return "This browser has no WebAssembly, so the models cannot run here. "
      + "Another browser, or another setting of this one, will do."
  if (typeof DecompressionStream !== "function")
    return "This browser is too old to unpack the models' runtime. A newer one will do."
  return ""
}

class Model { // a column of the page, its worker, and what was counted of it
  constructor(about) {
    Object.assign(this, about)
    this.count = {n: 0, first: 0, second: 0, mended: 0, spoilt: 0}
    this.said = element("div", {className: "said"})
    const title = element("h3", {textContent: this.title})
    this.column = element("section", {className: "model"}, title, this.said)
    this.worker = new Worker(script)
    this.worker.onerror = event => {
      event.preventDefault()
      complain(`${this.title}: ${event.message}`)
    }
  }

  start(shared) {
    return new Promise((ready, fail) => {
      this.worker.onmessage = ({data}) => data.ready ? ready() : fail(new Error(data.failed))
      this.worker.postMessage({folder: this.folder, ...shared})
    })
  }

  ask(question, attempts, temperature, show) { // to the attempts; to null if a newer question came
    this.abandon?.()
    const number = this.number = (this.number ?? 0) + 1
    const problem = problemOf(question, page.wordings), texts = []
    if (show) this.said.replaceChildren()
    return new Promise((done, fail) => {
      this.abandon = () => done(null)
      this.worker.onmessage = ({data}) => {
        if (data.failed) return fail(new Error(data.failed))
        if (data.number !== number) return
        if (show) this.write(data, problem)
        if (data.over) texts.push(data)
        if (texts.length === attempts) { this.abandon = null; done(texts) }
      }
      this.worker.postMessage({number, question, attempts, temperature})
    })
  }

  write({attempt, piece, probability, over, ended, text}, problem) { // a token more
    let line = this.said.children[attempt - 1]
    if (!line) {
      line = element("p", {className: `attempt attempt-${Math.min(attempt, 3)}`, tabIndex: 0},
        element("b", {textContent: `${attempt} `}))
      line.setAttribute("aria-label", `attempt ${attempt}`)
      this.said.append(line)
    }
    if (piece) line.append(token(piece, probability))
    if (!over) return
    const right = problem && ended && stated(text) === problem.answer
    const grade = right ? "right" : problem || !ended ? "wrong" : "ungraded"
    const mark = {right: " ✓", wrong: ended ? " ✗" : " ✗ cut off", ungraded: ""}[grade]
    line.append(element("span", {className: grade, textContent: mark, title: grade}))
    line.setAttribute("aria-label", `attempt ${attempt}: ${text}, ${grade}`)
  }

  add(texts, problem) { // a conversation more
    const [first, second] = texts.map(({ended, text}) => ended && stated(text) === problem.answer)
    const count = this.count
    count.n++
    count.first += first
    count.second += second
    count.mended += !first && second
    count.spoilt += first && !second
  }
}

function token(piece, probability) {
  const percent = `${(100*probability).toFixed(1)} %`
  const made = element("span", {className: "token", textContent: piece, title: percent})
  made.style.setProperty("--doubt", (1 - probability).toFixed(3))
  made.dataset.probability = percent
  return made
}

const page = {models: [], wordings: [], problems: [], running: false}

function complain(text) {
  $("live-status").textContent = text
  $("live-status").classList.add("failed")
}

function table() { // what was counted, beside what the run itself counted
  const share = (count, of) => of ? `${(100*count/of).toFixed(1)}` : "–"
  const row = ({title, count, stored}) => {
    const cell = what => element("td", {}, share(count[what], count.n),
      element("small", {textContent: ` / ${share(stored[what], stored.n)}`}))
    const cells = ["first", "second", "mended", "spoilt"].map(cell)
    const name = element("th", {textContent: title, scope: "row"})
    return element("tr", {}, name, element("td", {textContent: count.n}), ...cells)
  }
  $("live-count").replaceChildren(...page.models.map(row))
}

function settings() {
  return [Number($("live-attempts").value), Number($("live-temperature").value)]
}

function another() {
  const problem = page.problems[Math.floor(Math.random()*page.problems.length)]
  $("live-question").value = questionOf(problem, page.wordings)
}

function about(problem) { // what is said of a question
  if (!problem) return "Not one of the three wordings, so nothing can be graded or counted."
  if (!Number.isInteger(problem.answer))
    return "It has no whole answer, so every attempt is wrong; not counted."
  const answer = `The answer is ${problem.answer}.`
  if (isKnown(problem)) return answer
  return `${answer} Not counted: the models know numbers up to 99, and 2 to 9 times x.`
}

async function ask() {
  const question = $("live-question").value.trim(), problem = problemOf(question, page.wordings)
  if (!question) return
  stop()
  $("live-status").textContent = about(problem)
  await Promise.all(page.models.map(async model => {
    const texts = await model.ask(question, ...settings(), true)
    if (texts && problem && isKnown(problem)) model.add(texts, problem)
    table()
  }))
}

async function run100() {
  if (page.running) return stop()
  const turn = page.running = {}
  $("live-run").textContent = "Stop"
  const problems = page.problems.slice().sort(() => Math.random() - .5).slice(0, 100)
  const [, temperature] = settings(), done = page.models.map(() => 0)
  await Promise.all(page.models.map(async (model, column) => {
    for (const numbers of problems) {
      const question = questionOf(numbers, page.wordings)
      const texts = await model.ask(question, 2, temperature, done[column] % 10 === 0)
      if (!texts || page.running !== turn) return
      model.add(texts, problemOf(question, page.wordings))
      done[column]++
      $("live-status").textContent = `${Math.min(...done)} of ${problems.length} problems; `
        + "every tenth is shown."
      table()
    }
  }))
  if (page.running === turn) stop()
}

function stop() {
  page.running = false
  $("live-run").textContent = "Run 100"
}

function tell(target) { // the probability of a token, in a line below
  document.querySelectorAll(".token.told").forEach(told => told.classList.remove("told"))
  if (!target?.dataset?.probability) return
  target.classList.add("told")
  const {textContent, dataset} = target
  $("live-token").textContent = `“${textContent}” had a probability of ${dataset.probability}`
}

function walk(event) { // arrows go from token to token of an attempt
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key]
  if (!step || !event.target.classList.contains("attempt")) return
  const tokens = [...event.target.querySelectorAll(".token")]
  const place = tokens.findIndex(one => one.classList.contains("told"))
  event.preventDefault()
  tell(tokens[Math.max(0, Math.min(tokens.length - 1, place + step))])
}

function listen() {
  $("live-form").addEventListener("submit", event => {
    event.preventDefault()
    ask().catch(failed)
  })
  $("live-another").addEventListener("click", () => {
    another()
    ask().catch(failed)
  })
  $("live-run").addEventListener("click", () => run100().catch(failed))
  $("live-reset").addEventListener("click", () => {
    stop()
    for (const {count} of page.models) Object.keys(count).forEach(what => count[what] = 0)
    table()
  })
  $("live-temperature").addEventListener("input", ({target}) =>
    $("live-warmth").textContent = Number(target.value) ? target.value : "0 (greedy)")
  for (const what of ["pointerover", "click"])
    $("live-models").addEventListener(what, event => tell(event.target))
  $("live-models").addEventListener("keydown", walk)
}

const failed = error => complain(`This went wrong: ${error.message}`)

async function runtime() { // the runtime's WebAssembly, which is stored packed
  const packed = await fetch(at("ort-wasm-simd-threaded.wasm.gz"))
  if (!packed.ok) throw new Error(`the runtime cannot be had (${packed.status})`)
  const bytes = await packed.arrayBuffer()
  const isPacked = new Uint8Array(bytes, 0, 2).join() === "31,139" // some servers unpack it
  if (!isPacked) return bytes
  const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))
  return new Response(unpacked).arrayBuffer()
}

async function open() {
  const lack = missing()
  if (lack) return complain(lack)
  const [facts, tokenizerFile, wasm] = await Promise.all(
    [fetched("models.json", "json"), fetched("tokenizer.json", "json"), runtime()])
  const models = facts.models.map(about => new Model(about))
  Object.assign(page, facts, {tokenizer: new Tokenizer(tokenizerFile), models})
  $("live-models").replaceChildren(...models.map(model => model.column))
  const ready = page.problems.slice(0, 8).map(problem => questionOf(problem, page.wordings))
  $("live-ready").replaceChildren(...ready.map(value => element("option", {value})))
  table()
  listen()
  another()
  const shared = {runtime: wasm, tokenizerFile, format: page.chat}
  await Promise.all(models.map(model => model.start(shared)))
  document.querySelectorAll("#live-form [disabled]").forEach(control => control.disabled = false)
  $("live-status").textContent = "Ready. Press Enter, or take another problem."
}

if (typeof document === "undefined") work()
else page.open = open().catch(failed)
