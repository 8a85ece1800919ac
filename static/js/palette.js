// The command palette on Ctrl+K or Cmd+K: pages and actions ([data-palette] on links and buttons), and the servers and tools
// that data-suggest on the dialog finds ({"items": [{"label", "url", "kind"}]}). Enter on nothing found searches the catalog.
const dialog = document.getElementById("palette")
const input = dialog?.querySelector("input")
const list = dialog?.querySelector("[role=listbox]")
const LIMIT = 12
let entries = []
let chosen = 0
let asking = null

function local(query) {
  const seen = new Set()
  const found = []
  for (const element of document.querySelectorAll("[data-palette]")) {
    const label = element.dataset.palette || element.textContent.trim()
    if (seen.has(label) || !label.toLowerCase().includes(query)) continue
    seen.add(label)
    found.push({ label, kind: element.matches("a") ? "Page" : "Action", run: () => element.click() })
  }
  return found
}

async function remote(query) {
  asking?.abort()
  if (!dialog.dataset.suggest || query.length < 2) return []
  asking = new AbortController()
  try {
    const address = new URL(dialog.dataset.suggest, location.href)
    address.searchParams.set("q", query)
    const answer = await fetch(address, { signal: asking.signal, headers: { Accept: "application/json" } })
    if (!answer.ok) return []
    return (await answer.json()).items.map((item) => ({ ...item, run: () => location.assign(item.url) }))
  } catch {
    return []
  }
}

function searchEntry(query) {
  return { label: `Search the catalog for “${query}”`, kind: "Search", run: () => location.assign(`/?q=${encodeURIComponent(query)}`) }
}

function draw(found) {
  entries = found.slice(0, LIMIT)
  chosen = 0
  list.replaceChildren(...entries.map((entry, index) => {
    const option = document.createElement("li")
    option.id = `palette-${index}`
    option.className = "palette__option"
    option.setAttribute("role", "option")
    const kind = document.createElement("span")
    kind.className = "palette__kind"
    kind.textContent = entry.kind
    option.append(entry.label, kind)
    option.addEventListener("click", () => run(index))
    return option
  }))
  mark()
}

function mark() {
  ;[...list.children].forEach((option, index) => option.setAttribute("aria-selected", String(index === chosen)))
  list.children[chosen]?.scrollIntoView({ block: "nearest" })
  input.setAttribute("aria-activedescendant", entries.length ? `palette-${chosen}` : "")
}

function run(index) {
  dialog.close()
  entries[index]?.run()
}

async function refresh() {
  const typed = input.value.trim()
  const here = local(typed.toLowerCase())
  const last = typed ? [searchEntry(typed)] : []
  draw([...here, ...last])
  const found = await remote(typed)
  if (found.length && input.value.trim() === typed) draw([...found.slice(0, 6), ...here, ...last])
}

function open() {
  if (!dialog || dialog.open) return
  input.value = ""
  dialog.showModal()
  refresh()
}

document.addEventListener("keydown", (event) => {
  if (event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey) {
    event.preventDefault()
    open()
  }
})
document.addEventListener("click", (event) => { if (event.target.closest("[data-palette-open]")) open() })

input?.addEventListener("input", refresh)
input?.addEventListener("keydown", (event) => {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
  if (step && entries.length) {
    event.preventDefault()
    chosen = (chosen + step + entries.length) % entries.length
    mark()
  } else if (event.key === "Enter") {
    event.preventDefault()
    run(chosen)
  }
})
