// What hovering shows (the title) is also shown by tapping, where there is no pointer that can hover.
const SELECTOR = "time[title], data[title], .status[title], .badge[title], .rating[title], .heat__cell[title]"

document.addEventListener("click", (event) => {
  document.querySelector(".hint")?.remove()
  const element = matchMedia("(hover: none)").matches && event.target.closest(SELECTOR)
  if (!element || event.target.closest("a, button, summary")) return
  const hint = document.createElement("div")
  hint.className = "hint"
  hint.setAttribute("role", "status")
  hint.textContent = element.title
  document.body.append(hint)
  const box = element.getBoundingClientRect()
  const left = Math.min(Math.max(8, box.left), innerWidth - hint.offsetWidth - 8)
  hint.style.left = `${left + scrollX}px`
  hint.style.top = `${box.bottom + scrollY + 6}px`
})
