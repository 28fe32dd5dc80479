// Settings of a topic or a broker, with their sources.

import { h, say, tag } from "/dom.js";
import { count } from "/format.js";

const SOURCES = {
  DYNAMIC_TOPIC_CONFIG: ["set for the topic", "accent"],
  DYNAMIC_BROKER_CONFIG: ["set for the broker", "accent"],
  DYNAMIC_DEFAULT_BROKER_CONFIG: ["set for all brokers", "accent"],
  STATIC_BROKER_CONFIG: ["from server.properties", "accent"],
  DEFAULT_CONFIG: ["Kafka's default", null],
};

export async function settings(page, body, path) {
  const { configs } = await page.ask(path);
  const isDefault = (it) => it.source === "DEFAULT_CONFIG";
  const field = h("input", { type: "search", placeholder: "Part of a key or value", autocomplete: "off", spellcheck: "false", on: { input: draw } });
  const changed = h("input", { type: "checkbox", on: { change: draw } });
  const shown = h("p", { class: "count", role: "status" });
  const rows = h("tbody");
  const empty = h("p", { class: "note", hidden: true });
  body.replaceChildren(
    h("div", { class: "bar" },
      h("label", { class: "grow" }, "Filter", field), h("label", { class: "check" }, changed, "Only what is not Kafka's default"), shown),
    h("div", { class: "panel scroll" },
      h("table", null, h("thead", null, h("tr", null, h("th", null, "Key"), h("th", null, "Value"), h("th", null, "Source"))), rows), empty));

  function draw() {
    const part = field.value.trim().toLowerCase();
    const found = configs.filter((it) => (!changed.checked || !isDefault(it)) && `${it.name} ${it.value ?? ""}`.toLowerCase().includes(part));
    rows.replaceChildren(...found.map(row));
    say(shown, `${count(found.length)} of ${count(configs.length)}`);
    empty.hidden = found.length > 0;
    say(empty, changed.checked && !part ? "All settings are Kafka's defaults." : "No setting has that in its key or value.");
  }
  draw();
}

function row(it) {
  const [words, kind] = SOURCES[it.source] ?? [it.source, "accent"];
  const below = it.synonyms.slice(1).filter((other) => other.value !== it.value);
  return h("tr", null,
    h("td", { class: "mono" }, it.name),
    h("td", { class: "mono" }, it.is_sensitive ? h("span", { class: "soft" }, "kept secret") : it.value ?? h("span", { class: "soft" }, "none"),
      below.map((other) => h("div", { class: "soft" }, `instead of ${other.value ?? "none"} (${SOURCES[other.source]?.[0] ?? other.source})`))),
    h("td", null, tag(words, kind)));
}
