// [data-live] asks for news on its own. It rests while nobody looks, and stays calm when an answer fails: the next one may not.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (event.target.matches("[data-live]") && document.hidden) event.preventDefault()
})
for (const failure of ["htmx:responseError", "htmx:sendError"]) {
  document.addEventListener(failure, (event) => {
    if (!event.target.matches("[data-live]")) return
    event.stopImmediatePropagation()
    event.target.dataset.live = "stale"
  }, true)
}
// The first call of an organisation changes the whole page, not only the list.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (!event.target.matches("[data-live-reload]") || event.detail.xhr.status !== 200) return
  event.detail.shouldSwap = false
  location.reload()
})
