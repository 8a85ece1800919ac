// The theme switch and the rail's collapse button; both are remembered on this device.
const root = document.documentElement

function remember(key, value) {
  try {
    if (value) localStorage.setItem(key, value)
    else localStorage.removeItem(key)
  } catch { /* not remembered, still switched */ }
}

function currentTheme() {
  return root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")
}

export function switchTheme() {
  root.dataset.theme = currentTheme() === "dark" ? "light" : "dark"
  remember("theme", root.dataset.theme)
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-theme-switch]")) switchTheme()
  const rail = event.target.closest("[data-rail-switch]")
  if (rail) {
    const narrow = root.dataset.rail !== "narrow"
    if (narrow) root.dataset.rail = "narrow"
    else delete root.dataset.rail
    remember("rail", narrow ? "narrow" : "")
    rail.setAttribute("aria-expanded", String(!narrow))
  }
})

for (const rail of document.querySelectorAll("[data-rail-switch]")) {
  rail.setAttribute("aria-expanded", String(root.dataset.rail !== "narrow"))
}
