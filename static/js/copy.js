// Copy buttons: data-copy="text", or an empty data-copy that copies the [data-copy-text] of its [data-copy-scope].
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]")
  if (!button) return
  const text = button.dataset.copy || button.closest("[data-copy-scope]")?.querySelector("[data-copy-text]")?.textContent
  if (text === undefined) return
  say(button, await write(text) ? "Copied" : "Copy failed")
})

async function write(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    return writeBySelection(text)
  }
}

// Pages served over plain HTTP have no clipboard API.
function writeBySelection(text) {
  const area = document.createElement("textarea")
  area.value = text
  area.className = "visually-hidden"
  document.body.append(area)
  area.select()
  const done = document.execCommand("copy")
  area.remove()
  return done
}

function say(button, word) {
  const label = button.querySelector("[data-copy-label]") ?? button
  label.dataset.before ??= label.textContent
  label.textContent = word
  button.classList.add("is-done")
  clearTimeout(button.timer)
  button.timer = setTimeout(() => {
    label.textContent = label.dataset.before
    button.classList.remove("is-done")
  }, 1600)
}
