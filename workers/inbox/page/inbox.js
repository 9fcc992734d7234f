"use strict";

const CHINESE = {
  title: "演示收件箱", lead: "本演示发出的所有邮件和短信都到这里，不会离开本机。",
  all: "全部", mails: "邮件", texts: "短信", mail: "邮件", sms: "短信",
  from: "发件人", to: "收件人", received: "收到时间", empty: "还没有消息。",
  hint: "打开报警后，邮件和短信几秒内会出现在这里；页面会自动刷新。", choose: "选择一条消息。",
  count: (n) => `${n} 条消息`,
};
const ENGLISH = {
  mail: "Email", sms: "SMS", from: "From", to: "To", received: "Received",
  empty: "Nothing has been sent yet.",
  hint: "When an alarm opens, its email and SMS appear here within seconds, without a reload.",
  choose: "Choose a message.", count: (n) => (n === 1 ? "1 message" : `${n} messages`),
};
const words = navigator.language.toLowerCase().startsWith("zh") ? CHINESE : ENGLISH;
const list = document.getElementById("list");
const pane = document.getElementById("message");
let messages = [];
let filter = "all";
let chosen = null;

if (words === CHINESE) {
  document.documentElement.lang = "zh-Hans";
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = words[node.dataset.text];
}

function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

function when(message) {
  const time = new Date(message.received_at);
  const node = element("time", { className: "when", textContent: time.toLocaleTimeString() });
  node.dateTime = message.received_at;
  node.title = time.toLocaleString();
  return node;
}

function row(message) {
  const button = element("button", { type: "button" },
    element("span", { className: "what", textContent: message.subject || message.text }),
    element("span", { className: "kind", textContent: words[message.kind] }),
    element("span", { className: "who", textContent: [].concat(message.to).join(", ") }),
    when(message));
  button.dataset.id = message.id;
  button.setAttribute("aria-current", String(message.id === chosen));
  button.addEventListener("click", () => { chosen = message.id; draw(); show(message); pane.focus(); });
  return element("li", {}, button);
}

function linked(text) {
  return text.split(/(https?:\/\/[^\s]+)/).map((part, place) =>
    place % 2 ? element("a", { href: part, textContent: part, target: "_blank", rel: "noopener" }) : part);
}

function body(message) {
  if (message.kind === "sms") return element("pre", { className: "bubble" }, ...linked(message.text));
  if (!message.html) return element("pre", {}, ...linked(message.text));
  const frame = element("iframe", { title: message.subject, src: `/mails/${message.id}.html` });
  frame.setAttribute("sandbox", "allow-popups allow-popups-to-escape-sandbox");
  return frame;
}

function show(message) {
  const facts = element("dl");
  const pairs = [["from", message.from], ["to", [].concat(message.to).join(", ")],
    ["received", new Date(message.received_at).toLocaleString()]];
  for (const [name, text] of pairs) {
    if (text) facts.append(element("dt", { textContent: words[name] }), element("dd", { textContent: text }));
  }
  pane.replaceChildren(
    element("h2", { textContent: message.subject || words.sms }), facts, body(message));
}

function draw() {
  const shown = messages.filter((message) => filter === "all" || message.kind === filter);
  document.getElementById("count").textContent = words.count(shown.length);
  list.replaceChildren(...shown.map(row));
  if (!shown.length) {
    list.replaceChildren(element("li", {}, element("p", { className: "empty", textContent: words.empty })));
  }
  if (!chosen) {
    pane.replaceChildren(element("p", { className: "empty", textContent: shown.length ? words.choose : words.hint }));
  }
}

async function refresh() {
  const [mails, texts] = await Promise.all(
    ["/api/mails", "/api/sms"].map((path) => fetch(path).then((answer) => answer.json())));
  messages = [...mails, ...texts].sort((a, b) => b.received_at.localeCompare(a.received_at));
  if (chosen && !messages.some((message) => message.id === chosen)) chosen = null;
  draw();
}

for (const button of document.querySelectorAll("[data-filter]")) {
  button.addEventListener("click", () => {
    filter = button.dataset.filter;
    for (const other of document.querySelectorAll("[data-filter]")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    draw();
  });
}

const events = new EventSource("/events");
events.onmessage = refresh;
events.onopen = refresh;
