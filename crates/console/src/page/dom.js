// Elements. What comes from the cluster is only ever the text of one.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name in element && typeof value === "boolean") {
      element[name] = value;
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// An element of HTML: `h("a", {href: link("topics", name)}, name)`.
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// An element of SVG.
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// An address within the page.
export function link(...parts) {
  return "#/" + parts.map((part) => encodeURIComponent(part)).join("/");
}

// Sets a text without touching what has it already.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function tag(text, kind) {
  return h("span", { class: kind ? `tag is-${kind}` : "tag" }, text);
}

export function table(head, rows) {
  const cell = (kind) => (it) => it instanceof Node && (it.tagName === "TD" || it.tagName === "TH") ? it : h(kind, null, it);
  return h("div", { class: "panel scroll" },
    h("table", null,
      h("thead", null, h("tr", null, head.map(cell("th")))),
      h("tbody", null, rows.map((row) => h("tr", null, row.map(cell("td")))))));
}

export function num(text) {
  return h("td", { class: "num" }, text);
}

export function numHead(text) {
  return h("th", { class: "num" }, text);
}

export function card(label, value, unit, options) {
  const text = h("dd", null, value, unit ? h("small", null, " " + unit) : null);
  return h("dl", { class: options?.bad ? "card is-bad" : "card" }, h("dt", null, label), text);
}
