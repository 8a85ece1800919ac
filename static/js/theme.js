// Runs before the first paint (a small blocking script), so that neither the theme nor the rail flickers.
(() => {
  const root = document.documentElement
  root.classList.add("js")
  try {
    const theme = localStorage.getItem("theme")
    if (theme === "light" || theme === "dark") root.dataset.theme = theme
    if (localStorage.getItem("rail") === "narrow") root.dataset.rail = "narrow"
  } catch { /* storage can be forbidden; the system preference still holds */ }
})()
