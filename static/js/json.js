// Search inside a JSON viewer: opens the branches that hold a match and marks the leaves.
document.addEventListener("input", (event) => {
  const box = event.target.closest("[data-json-search]")
  if (!box) return
  const wanted = box.value.trim().toLowerCase()
  const tree = box.closest("[data-json]")
  for (const leaf of tree.querySelectorAll(".json__leaf")) {
    const hit = wanted !== "" && leaf.textContent.toLowerCase().includes(wanted)
    leaf.classList.toggle("is-hit", hit)
    for (let up = leaf.closest("details"); hit && up; up = up.parentElement.closest("details")) up.open = true
  }
  tree.querySelector(".is-hit")?.scrollIntoView({ block: "nearest" })
})
