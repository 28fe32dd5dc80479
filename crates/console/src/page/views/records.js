// Records of a topic, some at a time.

import { notice } from "/api.js";
import { h, say } from "/dom.js";
import { bytes, count, plural, time } from "/format.js";

const FORMATS = { auto: "as they are", text: "text", json: "JSON", integer: "integer", hex: "hexadecimal" };
const FROM = { end: "the newest", beginning: "the beginning", offset: "an offset", timestamp: "a time" };
const STOPPED = {
  end: "That is all that was there.",
  limit: "There is more.",
  looked_at: "It looked at enough for once; there is more.",
  time: "It took too long for once; there is more.",
};

export async function recordsTab(page, body, name) {
  const topic = await page.ask(["topics", name]);
  const partitions = { "": "all", ...Object.fromEntries(topic.partitions.map((it) => [it.partition, String(it.partition)])) };
  const partition = select(partitions);
  const from = select(FROM);
  const offset = h("input", { type: "number", min: "0", value: "0", required: true });
  const moment = h("input", { type: "datetime-local", step: "1" });
  const filter = h("input", { type: "search", placeholder: "Part of a key or value", autocomplete: "off", spellcheck: "false" });
  const limit = select({ 50: "50", 100: "100", 500: "500" });
  const key = select(FORMATS);
  const value = select(FORMATS);
  const button = h("button", { class: "is-main", type: "submit" }, "Read");
  const offsetLabel = h("label", { hidden: true }, "Offset", offset);
  const momentLabel = h("label", { hidden: true }, "Time", moment);
  const form = h("form", { class: "bar", on: { submit: (event) => { event.preventDefault(); read(true); } } },
    h("label", null, "Partition", partition), h("label", null, "From", from), offsetLabel, momentLabel,
    h("label", { class: "grow" }, "Filter", filter), h("label", null, "Keys", key), h("label", null, "Values", value),
    h("label", null, "At most", limit), button);
  from.addEventListener("change", () => {
    offsetLabel.hidden = from.value !== "offset";
    momentLabel.hidden = from.value !== "timestamp";
  });
  const problems = h("div");
  const said = h("p", { class: "soft", role: "status" });
  const list = h("div", { class: "panel records" });
  const more = h("button", { type: "button", hidden: true, on: { click: () => read(false) } }, "Read on");
  body.replaceChildren(form, problems, said, list, h("p", null), more);
  let next = "";

  async function read(anew) {
    const parameters = { partition: partition.value, filter: filter.value, limit: limit.value, key_format: key.value, value_format: value.value };
    if (!anew) Object.assign(parameters, { from: "offset", at: next });
    else if (from.value === "offset") Object.assign(parameters, { from: "offset", at: offset.value });
    else if (from.value === "timestamp") {
      const at = new Date(moment.value).getTime();
      if (Number.isNaN(at)) {
        say(said, "Say from which time on.");
        return moment.focus();
      }
      Object.assign(parameters, { from: "timestamp", at });
    } else parameters.from = from.value;
    button.disabled = more.disabled = true;
    say(said, "Reading …");
    try {
      const found = await page.ask(["topics", name, "records"], parameters);
      problems.replaceChildren(...found.problems.map((it) => notice(it)));
      if (anew) list.replaceChildren();
      list.append(...found.records.map(record));
      next = found.next;
      more.hidden = !next;
      say(said, told(found, filter.value));
      if (!list.childElementCount) list.replaceChildren(h("p", { class: "note" }, filter.value ? "No record has that in its key or value." : "There are no records here."));
    } catch (problem) {
      if (problem.name === "AbortError") return;
      problems.replaceChildren(notice(problem));
      say(said, "");
    } finally {
      button.disabled = more.disabled = false;
    }
  }
  await read(true);
}

function select(options) {
  return h("select", null, Object.entries(options).map(([value, text]) => h("option", { value }, text)));
}

function told(found, filter) {
  const looked = filter ? ` of ${plural(found.looked_at, "record")} that it looked at` : "";
  const end = found.next || found.stopped !== "end" ? STOPPED[found.stopped] : filter ? "" : STOPPED.end;
  return `${plural(found.records.length, "record")}${looked}. ${end}`;
}

// One line, which opens. What is in it is drawn when it is opened.
function record(it) {
  const line = (part) => (part === null ? h("span", { class: "soft" }, "null") : h("span", { class: "mono" }, part.text.slice(0, 300).replace(/\s+/g, " ")));
  const details = h("details", null,
    h("summary", null, h("span", { class: "mono" }, `${it.partition}:${count(it.offset)}`), h("span", { class: "soft" }, time(it.timestamp)), line(it.key), line(it.value)));
  details.addEventListener("toggle", () => {
    if (details.childElementCount === 1) details.append(inside(it));
  }, { once: true });
  return details;
}

function inside(it) {
  const part = (title, found) => h("div", null,
    h("h3", null, found === null ? title : `${title}, ${found.format}, ${bytes(found.bytes)}${found.is_cut ? ", cut" : ""}`),
    found?.problem ? h("p", { class: "notice" }, `Not as asked for: ${found.problem}.`) : null,
    found === null ? h("p", { class: "soft" }, "null") : h("pre", { tabindex: "0" }, found.text));
  const headers = it.headers.map((header) => part(`Header ${header.key}`, header.value));
  const kind = it.timestamp_type === "LogAppendTime" ? "when the broker appended it" : "when it was made";
  return h("div", { class: "body" },
    h("p", { class: "soft" }, `Partition ${it.partition}, offset ${count(it.offset)}, ${time(it.timestamp)}, ${kind}`),
    part("Key", it.key), part("Value", it.value), headers);
}
