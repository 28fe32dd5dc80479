// Applications of Kafka Streams: their groups, and the programs that were named to the console.

import { notice } from "/api.js";
import { h, link, num, numHead, table, tag } from "/dom.js";
import { count, rate } from "/format.js";
import { stateTag } from "/views/groups.js";

export async function applicationsView(page) {
  const body = h("div");
  page.node.append(h("h1", null, "Applications"), body);
  await page.every(5000, async () => {
    const [{ applications }, groups] = await Promise.all([
      page.ask(["applications"]), page.ask(["groups"]).catch((problem) => {
        if (problem.name === "AbortError") throw problem;
        return { problem };
      }),
    ]);
    body.replaceChildren(h("h2", null, "Programs"), programs(applications), h("h2", null, "Streams groups"),
      groups.problem ? notice(groups.problem) : streamsGroups(groups.groups));
  });
}

function programs(applications) {
  if (!applications.length) {
    return h("div", { class: "panel" }, h("p", { class: "note" }, "No program was named. Start the console with ",
      h("span", { class: "mono" }, "--application NAME=http://host:port"), ", for each program that serves its metrics there."));
  }
  const head = ["Program", "State", "Says", numHead("Threads"), numHead("Tasks"), numHead("Lag"), numHead("Records/s")];
  return table(head, applications.map((it) => [
    h("td", null, h("a", { href: link("applications", it.name) }, it.name), h("div", { class: "soft mono" }, it.address)),
    stateOf(it), it.problem ? it.problem.cause : words(it), num(count(it.alive_threads)), num(count(it.tasks?.length)),
    num(count(sum(it.lags, "lag"))), num(rate(sum(it.threads, "process_rate"))),
  ]));
}

function streamsGroups(groups) {
  const found = groups.filter((it) => it.type === "Streams");
  if (!found.length) {
    return h("div", { class: "panel" }, h("p", { class: "note" },
      "There are none. Applications with group.protocol=streams have one; others are groups of the classic protocol, under ",
      h("a", { href: "#/groups" }, "Groups"), "."));
  }
  return table(["Group", "State"], found.map((it) => [h("a", { href: link("groups", it.id) }, it.id), stateTag(it.state)]));
}

// The sum of what is known, or nothing where nothing is.
export function sum(rows, field) {
  const known = (rows ?? []).map((row) => row[field]).filter((value) => value !== null && value !== undefined);
  return known.length ? known.reduce((all, value) => all + value, 0) : null;
}

export function stateOf(it) {
  if (it.problem) return tag("away", "bad");
  const kinds = { RUNNING: "good", REBALANCING: "warn", CREATED: "warn" };
  return it.state ? tag(it.state, kinds[it.state] ?? "bad") : tag("unknown", "warn");
}

export function words(it) {
  const said = [it.health, it.ready].filter((found) => found && !found.is_ok).map((found) => found.words);
  if (said.length) return [...new Set(said)].join("; ");
  return it.ready ? "It is ready." : h("span", { class: "soft" }, "nothing");
}
