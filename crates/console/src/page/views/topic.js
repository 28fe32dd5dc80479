// A topic: its partitions, records and settings.

import { notice } from "/api.js";
import { card, h, link, num, numHead, table, tag } from "/dom.js";
import { bytes, count, rate } from "/format.js";
import { settings } from "/views/settings.js";
import { recordsTab } from "/views/records.js";

const TABS = { "": "Partitions", records: "Records", settings: "Settings" };

export async function topicView(page, name, tab = "") {
  const tabs = Object.entries(TABS).map(([key, title]) =>
    h("a", { href: link("topics", name, ...(key ? [key] : [])), "aria-current": key === tab ? "page" : null }, title));
  page.node.append(
    h("p", { class: "crumb" }, h("a", { href: "#/topics" }, "Topics")), h("h1", null, name),
    h("nav", { class: "tabs", "aria-label": "Of the topic" }, tabs));
  const body = h("div");
  page.node.append(body);
  if (tab === "records") return recordsTab(page, body, name);
  if (tab === "settings") return settings(page, body, ["topics", name, "configs"]);
  return page.every(2500, async () => body.replaceChildren(...partitions(await page.ask(["topics", name]))));
}

function partitions(topic) {
  const records = topic.partitions.reduce((sum, it) => sum + Math.max(0, (it.end_offset ?? 0) - (it.start_offset ?? 0)), 0);
  const isKnown = topic.partitions.every((it) => it.end_offset !== null && it.start_offset !== null);
  const size = topic.partitions.flatMap((it) => it.sizes).reduce((sum, it) => sum + it.size_bytes, 0);
  const head = ["Partition", "Leader", "Replicas", numHead("First offset"), numHead("End offset"), numHead("Size"), "State"];
  const row = (it) => [
    num(it.partition),
    it.leader === null ? "none" : h("a", { href: link("brokers", it.leader) }, `Broker ${it.leader}`),
    replicas(it), num(count(it.start_offset)), num(count(it.end_offset)), num(bytes(leaderSize(it))), state(it),
  ];
  head[0] = numHead("Partition");
  const failed = topic.partitions.filter((it) => it.problem).slice(0, 5);
  return [
    ...topic.problems.map((it) => notice(it.problem, `Sizes on broker ${it.broker}`)),
    ...failed.map((it) => notice(it.problem, `Partition ${it.partition}`)),
    h("div", { class: "cards" },
      card("Partitions", count(topic.partitions.length)), card("Offsets held", isKnown ? count(records) : "–"),
      card("Size of all replicas", topic.problems.length ? "–" : bytes(size)), card("Records", rate(topic.records_per_second), "per second")),
    table(head, topic.partitions.map(row)),
  ];
}

function replicas(it) {
  const missing = it.replicas.filter((id) => !it.isr.includes(id));
  const text = it.replicas.join(", ");
  return missing.length ? h("span", null, text, h("span", { class: "soft" }, ` without ${missing.join(", ")}`)) : text;
}

function leaderSize(it) {
  return it.sizes.find((size) => size.broker === it.leader && !size.is_future)?.size_bytes ?? null;
}

function state(it) {
  if (it.leader === null) return tag("no leader", "bad");
  return it.is_under_replicated ? tag("not in sync", "warn") : tag("well", "good");
}
