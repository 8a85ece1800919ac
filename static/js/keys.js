// The keyboard: "/" focuses search, j and k move in lists ([data-list-item]), "?" shows the shortcuts.
function isTyping(target) {
  return target.closest?.("input, textarea, select, [contenteditable]") && !["checkbox", "radio"].includes(target.type)
}

function focusable(item) {
  return item.matches("a, button") ? item : item.querySelector("a[href], button")
}

function move(step) {
  const items = [...document.querySelectorAll("[data-list-item]")].filter((item) => item.offsetParent && focusable(item))
  if (!items.length) return
  const here = items.findIndex((item) => item.contains(document.activeElement))
  const next = here < 0 ? (step > 0 ? 0 : items.length - 1) : Math.min(Math.max(here + step, 0), items.length - 1)
  focusable(items[next]).focus()
  items[next].scrollIntoView({ block: "nearest" })
}

const ACTIONS = {
  "/": () => {
    const boxes = [...document.querySelectorAll("[data-search-main], input[type=search]")]
    const box = boxes.find((candidate) => candidate.matches("[data-search-main]") && candidate.offsetParent)
      ?? boxes.find((candidate) => candidate.offsetParent)
    box?.focus()
    box?.select()
  },
  "j": () => move(1),
  "k": () => move(-1),
  "?": () => document.getElementById("shortcuts")?.showModal(),
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return
  if (isTyping(event.target) || document.querySelector("dialog[open]")) return
  const action = ACTIONS[event.key]
  if (!action) return
  event.preventDefault()
  action()
})
