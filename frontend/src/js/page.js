// Small manners of a page: copy buttons, choices that apply at once, the menu and Escape.
import { word } from "./words.js";

export function mind() {
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = button.parentElement.querySelector("pre, input")?.textContent ?? "";
    await navigator.clipboard?.writeText(text.trim());
    button.querySelector("span").textContent = word("copied");
  });
  document.addEventListener("change", (event) => {
    const form = event.target.closest("form[data-autosubmit]");
    if (form) form.requestSubmit();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea, [contenteditable]");
    if (event.key === "Escape") document.querySelector("details.topbar[open]")?.removeAttribute("open");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey) {
      const box = document.querySelector('input[type="search"]');
      if (box) { event.preventDefault(); box.focus(); }
    }
  });
  document.querySelector("[data-focus]")?.focus();
}
