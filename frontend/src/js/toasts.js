// New alarms, said once, politely, and kept until read: a critical one does not vanish by itself.
import { iconsUrl, word } from "./words.js";

const KEPT_MS = { critical: 0, warning: 30_000, notice: 12_000, ok: 8_000 };
const MOST = 4;

export function toast({ severity, title, text, url }) {
  const place = document.getElementById("toasts");
  const made = document.getElementById("toast")?.content.firstElementChild.cloneNode(true);
  if (!place || !made) return;
  made.dataset.severity = severity;
  made.querySelector("use").setAttribute("href", `${iconsUrl}#${severity}`);
  made.querySelector("strong").textContent = title;
  made.querySelector("p").textContent = text;
  made.querySelector("a").href = url;
  made.querySelector("button").addEventListener("click", () => made.remove());
  place.append(made);
  while (place.children.length > MOST) place.firstElementChild.remove();
  const kept = KEPT_MS[severity] ?? 12_000;
  if (kept) setTimeout(() => made.remove(), kept);
}

export function toastOf(event) {
  const gone = event.kind === "cleared";
  toast({
    severity: gone ? "ok" : event.severity,
    title: `${word(event.kind) || event.kind}: ${event.title ?? event.condition}`,
    text: [gone ? "" : word(event.severity), event.serial].filter(Boolean).join(" · "),
    url: `/alarms/${event.alarm}/`,
  });
}
