// Keeps <time data-relative> current, and says the exact moment in the reader's own zone on hover.
const UNITS = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [30 * 86400, 86400, "d"]]
// Swedish writes dates as ISO 8601 does.
const exact = new Intl.DateTimeFormat("sv-SE", {
  year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit", timeZoneName: "short",
})

function words(moment) {
  const seconds = (Date.now() - moment) / 1000
  const distance = Math.abs(seconds)
  if (distance < 10) return "just now"
  const unit = UNITS.find(([limit]) => distance < limit)
  if (!unit) return null
  const span = `${Math.floor(distance / unit[1])} ${unit[2]}`
  return seconds > 0 ? `${span} ago` : `in ${span}`
}

function refresh() {
  for (const element of document.querySelectorAll("time[data-relative]")) {
    const moment = new Date(element.dateTime)
    const text = words(moment)
    if (text && element.textContent !== text) element.textContent = text
    if (!element.dataset.relative) {
      element.dataset.relative = "on"
      element.title = exact.format(moment)
    }
  }
}

refresh()
setInterval(() => { if (!document.hidden) refresh() }, 15_000)
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh() })
document.addEventListener("htmx:afterSettle", refresh)
