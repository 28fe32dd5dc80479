// A program of Kafka Streams, by its metrics.

import { notice } from "/api.js";
import { card, h, link, num, numHead, table } from "/dom.js";
import { bytes, count, rate } from "/format.js";
import { drawn, ofSubtopologies } from "/graph.js";
import { stateOf, sum, words } from "/views/applications.js";

export async function applicationView(page, name) {
  const body = h("div");
  const topology = h("div");
  let seen = "";
  page.node.append(h("p", { class: "crumb" }, h("a", { href: "#/applications" }, "Applications")), h("h1", null, name), topology, body);
  await page.every(3000, async () => {
    const it = await page.ask(["applications", name]);
    body.replaceChildren(...program(it));
    // The group of its name may be another's, of a classic protocol, or not be there.
    const group = await page.ask(["groups", name]).catch((problem) => {
      if (problem.name === "AbortError") throw problem;
      return null;
    });
    const form = JSON.stringify(group?.subtopologies ?? null);
    if (form === seen) return;
    seen = form;
    topology.replaceChildren(...(group?.subtopologies ? [h("h2", null, "Topology"), drawn(ofSubtopologies(group.subtopologies)),
      h("p", { class: "foot" }, "Members, offsets and lag: ", h("a", { href: link("groups", name) }, `group ${name}`))] : []));
  });
}

function program(it) {
  const address = h("p", { class: "soft mono" }, it.address);
  if (it.problem) return [notice(it.problem), address];
  return [
    h("h2", null, "Program"),
    h("div", { class: "cards" },
      h("dl", { class: "card" }, h("dt", null, "State"), h("dd", null, stateOf(it))),
      card("Threads alive", count(it.alive_threads), it.failed_threads ? `${count(it.failed_threads)} failed` : null, { bad: it.failed_threads > 0 }),
      card("Tasks", count(it.tasks.length)), card("Lag in records", count(sum(it.lags, "lag"))),
      card("Processed", rate(sum(it.threads, "process_rate")), "per second")),
    h("p", null, words(it)), address,
    h("h2", null, "Threads"), section(it.threads, "It tells of no threads.", ["Thread", numHead("Processed/s"), numHead("Processed"), numHead("Commits/s")],
      (row) => [h("td", { class: "mono" }, row.thread_id), num(rate(row.process_rate)), num(count(row.process_total)), num(rate(row.commit_rate))]),
    h("h2", null, "Tasks"), section(it.tasks, "It has no tasks now.", ["Task", "Thread", numHead("Processed/s"), numHead("Dropped"), numHead("Standby updates/s")],
      (row) => [h("td", { class: "mono" }, row.task_id), h("td", { class: "mono" }, row.thread_id), num(rate(row.process_rate)),
        num(count(row.dropped_records_total)), num(rate(row.update_rate))]),
    h("h2", null, "Lag"), section(it.lags, "It reads nothing now.", ["Topic", numHead("Partition"), numHead("Records"), "Client"],
      (row) => [h("a", { href: link("topics", row.topic) }, row.topic), num(row.partition), num(count(row.lag)), h("td", { class: "mono" }, row.client_id)]),
    h("h2", null, "Topics"), section(it.topics, "It has read and written nothing yet.",
      ["Topic", "Task", "Node", numHead("Read"), numHead("Written"), numHead("Bytes")],
      (row) => [row.topic, h("td", { class: "mono" }, row.task_id), h("td", { class: "mono" }, row.processor_node_id), num(count(row.records_consumed_total)),
        num(count(row.records_produced_total)), num(bytes(row.bytes_consumed_total ?? row.bytes_produced_total))]),
  ];
}

function section(rows, empty, head, draw) {
  return rows.length ? table(head, rows.map(draw)) : h("div", { class: "panel" }, h("p", { class: "note" }, empty));
}
