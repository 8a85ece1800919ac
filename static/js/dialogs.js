// data-dialog="id" opens that <dialog>; its link stays the way for whoever has no JavaScript.
// Menus made of <details data-menu> close on Escape, on a click elsewhere, and when another one opens.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]")
  const dialog = opener && document.getElementById(opener.dataset.dialog)
  if (dialog && !event.ctrlKey && !event.metaKey) {
    event.preventDefault()
    dialog.showModal()
  }
  event.target.closest("[data-dialog-close]")?.closest("dialog")?.close()
  if (event.target instanceof HTMLDialogElement) event.target.close() // a click on the backdrop
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false
  }
})

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    menu.open = false
    menu.querySelector("summary").focus()
  }
})
