// All topics. They come in pages, and are filtered here.

import { notice } from "/api.js";
import { h, link, say, tag } from "/dom.js";
import { bytes, count, rate } from "/format.js";
import { List } from "/list.js";
import { live } from "/live.js";

const PAGE = 1000;

const COLUMNS = [
  { title: "Topic", width: "minmax(0, 1fr)", by: "name" },
  { title: "State", width: "150px" },
  { title: "Partitions", width: "90px", num: true, by: "partitions" },
  { title: "Replicas", width: "80px", num: true },
  { title: "Size", width: "110px", num: true, by: "size_bytes" },
  { title: "Records/s", width: "110px", num: true, by: "records_per_second" },
];

export async function topicsView(page) {
  let all = [];
  let by = "name";
  let isDescending = false;
  const field = h("input", { type: "search", placeholder: "Part of a name", autocomplete: "off", spellcheck: "false", on: { input: () => filter() } });
  const internal = h("input", { type: "checkbox", on: { change: () => filter() } });
  const shown = h("p", { class: "count", role: "status" });
  const empty = h("p", { class: "note", hidden: true });
  const problems = h("div");
  const list = new List({ label: "Topics", columns: COLUMNS, draw, sorted: sort });
  page.onStop(() => list.stop());
  page.node.append(
    h("h1", null, "Topics"), problems,
    h("div", { class: "bar" },
      h("label", { class: "grow" }, "Filter", field), h("label", { class: "check" }, internal, "Kafka's own topics"), shown),
    list.node);
  list.node.append(empty);

  function draw(topic) {
    return [h("a", { href: link("topics", topic.name), title: topic.name }, topic.name), state(topic), count(topic.partitions),
      count(topic.replicas), bytes(topic.size_bytes), rate(topic.records_per_second)];
  }

  function sort(next) {
    isDescending = next === by ? !isDescending : next !== "name";
    by = next;
    filter();
  }

  function filter() {
    const part = field.value.trim().toLowerCase();
    const found = all.filter((topic) => (internal.checked || !topic.is_internal) && topic.name.toLowerCase().includes(part));
    if (by !== "name") found.sort((a, b) => (a[by] ?? -1) - (b[by] ?? -1));
    if (isDescending) found.reverse();
    list.set(found);
    const candidates = internal.checked ? all.length : all.filter((topic) => !topic.is_internal).length;
    say(shown, part ? `${count(found.length)} of ${count(candidates)}` : `${count(candidates)} topics`);
    empty.hidden = found.length > 0;
    say(empty, part ? `No topic has “${field.value.trim()}” in its name.`
      : "There are no topics that the console's login may see.");
  }

  page.follow(() => {
    const rates = live.sample?.rates;
    if (!rates || live.trouble) return;
    for (const topic of all) topic.records_per_second = rates[topic.name] ?? 0;
    list.refresh();
  });
  await page.every(20000, async () => {
    const found = [];
    const said = [];
    for (let at = 0; ; at += 1) {
      const answer = await page.ask(["topics"], { page: at, size: PAGE });
      found.push(...answer.topics);
      if (at === 0) said.push(...answer.problems.map((it) => notice(it.problem, `Sizes on broker ${it.broker}`)));
      if ((at + 1) * PAGE >= answer.matching) break;
    }
    problems.replaceChildren(...said);
    const same = found.length === all.length && found.every((topic, at) => topic.name === all[at].name);
    all = found;
    // Who reads the list keeps his place.
    if (!same || by !== "name") filter();
    else {
      const next = new Map(found.map((topic) => [topic.name, topic]));
      list.items = list.items.map((topic) => next.get(topic.name));
      list.refresh();
    }
  });
}

function state(topic) {
  if (topic.problem) return tag(topic.problem.code ?? topic.problem.kind, "bad");
  if (topic.offline) return tag(`${topic.offline} offline`, "bad");
  if (topic.under_replicated) return tag(`${topic.under_replicated} not in sync`, "warn");
  return tag("well", "good");
}
