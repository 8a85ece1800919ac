// [data-tabs] holds [data-tab] panels, all visible without this script. With it they become tabs, and the label that
// was chosen last opens first on every page.
const KEY = "tab"

function build(group) {
  const panels = [...group.querySelectorAll(":scope > [data-tab]")]
  if (group.dataset.ready || panels.length < 2) return
  group.dataset.ready = "yes"
  const list = document.createElement("div")
  list.className = "tabs tabs--inline"
  list.setAttribute("role", "tablist")
  list.setAttribute("aria-label", group.dataset.tabs)
  const tabs = panels.map((panel) => tabFor(panel))
  list.append(...tabs)
  group.prepend(list)
  list.addEventListener("click", (event) => {
    const index = tabs.indexOf(event.target.closest("[role=tab]"))
    if (index >= 0) choose(tabs, panels, index, true)
  })
  list.addEventListener("keydown", (event) => move(event, tabs, panels))
  choose(tabs, panels, Math.max(panels.findIndex((panel) => panel.dataset.tab === remembered()), 0), false)
}

function tabFor(panel) {
  const tab = document.createElement("button")
  tab.type = "button"
  tab.className = "tabs__tab"
  tab.textContent = panel.dataset.tab
  tab.id = `${panel.id}-tab`
  tab.setAttribute("role", "tab")
  tab.setAttribute("aria-controls", panel.id)
  panel.setAttribute("role", "tabpanel")
  panel.setAttribute("aria-labelledby", tab.id)
  return tab
}

function choose(tabs, panels, chosen, byHand) {
  tabs.forEach((tab, index) => {
    tab.setAttribute("aria-selected", String(index === chosen))
    tab.tabIndex = index === chosen ? 0 : -1
    panels[index].hidden = index !== chosen
  })
  if (byHand) try { localStorage.setItem(KEY, panels[chosen].dataset.tab) } catch { /* not remembered */ }
}

function move(event, tabs, panels) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
  if (!step) return
  event.preventDefault()
  const next = (tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length
  choose(tabs, panels, next, true)
  tabs[next].focus()
}

function remembered() {
  try { return localStorage.getItem(KEY) } catch { return null }
}

function buildAll() {
  document.querySelectorAll("[data-tabs]").forEach(build)
}

// On a narrow screen tabs and side navigation scroll sideways: the current one is brought into view.
function reveal() {
  document.querySelectorAll(".tabs > [aria-current], .side-nav > [aria-current]").forEach((link) => {
    const bar = link.parentElement
    const before = link.getBoundingClientRect().left - bar.getBoundingClientRect().left
    bar.scrollLeft += before - (bar.clientWidth - link.offsetWidth) / 2
  })
}

function settle() {
  buildAll()
  reveal()
}

settle()
document.addEventListener("htmx:afterSettle", settle)
