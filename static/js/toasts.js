// Toasts: Django messages, the event "toast" (HX-Trigger: {"toast": {"text": "…", "level": "success"}}), and failed htmx requests.
// Good news leaves after six seconds unless somebody is reading it; bad news stays until dismissed.
const region = document.querySelector("[data-toasts]")
const STAY_MS = 6000

function watch(toast) {
  if (toast.matches(".toast--error, .toast--warning")) return
  let timer = setTimeout(() => toast.remove(), STAY_MS)
  toast.addEventListener("pointerenter", () => clearTimeout(timer))
  toast.addEventListener("focusin", () => clearTimeout(timer))
  toast.addEventListener("pointerleave", () => { timer = setTimeout(() => toast.remove(), STAY_MS) })
}

function show(text, level = "info") {
  const toast = document.createElement("div")
  toast.className = `toast toast--${level}`
  toast.dataset.toast = ""
  const line = document.createElement("p")
  line.textContent = text
  const close = document.createElement("button")
  close.type = "button"
  close.className = "toast__close"
  close.dataset.toastClose = ""
  close.textContent = "Dismiss"
  toast.append(line, close)
  region.append(toast)
  watch(toast)
}

if (region) {
  region.querySelectorAll("[data-toast]").forEach(watch)
  region.addEventListener("click", (event) => event.target.closest("[data-toast-close]")?.closest("[data-toast]").remove())
  document.addEventListener("toast", (event) => show(event.detail.text, event.detail.level))
  document.addEventListener("htmx:responseError", (event) => {
    const { status } = event.detail.xhr
    const what = status === 403 ? "You may not do that" : status === 404 ? "That is no longer there" : "The server refused the request"
    show(`${what} (HTTP ${status}). Reload the page to see the current state.`, "error")
  })
  document.addEventListener("htmx:sendError", () => show("The server cannot be reached. Check the connection, then try again.", "error"))
}
