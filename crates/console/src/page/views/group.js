// A group: its members, what it has committed, and what a reset would do.

import { notice } from "/api.js";
import { card, h, link, num, numHead, say, table } from "/dom.js";
import { count, duration, plural } from "/format.js";
import { drawn, ofSubtopologies } from "/graph.js";
import { stateTag } from "/views/groups.js";

export async function groupView(page, id) {
  const top = h("div");
  const topology = h("div");
  const offsets = h("div");
  const members = h("div");
  let ages = null;
  const reset = h("div");
  let drawnTopology = "";
  page.node.append(h("p", { class: "crumb" }, h("a", { href: "#/groups" }, "Groups")), h("h1", null, id), top, topology, members, offsets, reset);

  await page.every(4000, async () => {
    const group = await page.ask(["groups", id]);
    top.replaceChildren(summary(group, ages));
    members.replaceChildren(h("h2", null, "Members"), membersOf(group));
    offsets.replaceChildren(h("h2", null, "Offsets"), offsetsOf(group, ages));
    if (!reset.childElementCount) reset.append(resetForm(page, id));
    const form = JSON.stringify(group.subtopologies ?? null);
    if (form !== drawnTopology) {
      drawnTopology = form;
      topology.replaceChildren(...(group.subtopologies ? [h("h2", null, "Topology"), drawn(ofSubtopologies(group.subtopologies))] : []));
    }
    // How old the first record is costs a look at each partition: seldom, and after all else is there.
    if (ages === null || Date.now() - ages.asked > 30000) {
      ages = { asked: Date.now(), rows: ages?.rows ?? new Map() };
      page.ask(["groups", id, "lag-time"]).then((found) => {
        ages.rows = new Map(found.partitions.map((it) => [`${it.topic}-${it.partition}`, it]));
        ages.problem = null;
      }, (problem) => {
        ages.problem = problem;
      }).then(() => {
        if (page.aborting.signal.aborted) return;
        top.replaceChildren(summary(group, ages));
        offsets.replaceChildren(h("h2", null, "Offsets"), offsetsOf(group, ages));
      });
    }
  });
}

function summary(group, ages) {
  const rows = [...(ages?.rows.values() ?? [])].filter((it) => it.lag_ms !== null);
  const oldest = rows.length ? Math.max(...rows.map((it) => it.lag_ms)) : null;
  const isKnown = group.offsets.some((it) => it.lag !== null);
  return h("div", { class: "cards" },
    h("dl", { class: "card" }, h("dt", null, "State"), h("dd", null, stateTag(group.state))),
    card("Type", group.type), card("Members", count(group.members.length)),
    card("Lag in records", isKnown ? count(group.lag) : "–"), card("Lag in time", duration(oldest)));
}

function membersOf(group) {
  if (!group.members.length) {
    return h("div", { class: "panel" }, h("p", { class: "note" }, "The group has no members: nobody reads for it now."));
  }
  const isStreams = group.type === "Streams";
  const row = (it) => [
    h("td", null, it.client_id, it.instance_id ? h("div", { class: "soft" }, `instance ${it.instance_id}`) : null, h("div", { class: "soft mono" }, it.id)),
    h("td", { class: "mono" }, it.host),
    h("td", null, isStreams ? tasks(it.tasks) : assignment(it.assignment)),
  ];
  return table(["Member", "Host", isStreams ? "Tasks" : "Partitions"], group.members.map(row));
}

function assignment(topics) {
  if (!topics.length) return h("span", { class: "soft" }, "none");
  return topics.map((it) => h("div", null, h("a", { href: link("topics", it.topic) }, it.topic), " ", it.partitions.join(", ")));
}

function tasks(roles) {
  const lines = Object.entries(roles).filter(([, ids]) => ids.length).map(([role, ids]) => h("div", null, `${role} `, h("span", { class: "mono" }, ids.join(", "))));
  return lines.length ? lines : h("span", { class: "soft" }, "none");
}

function offsetsOf(group, ages) {
  if (!group.offsets.length) return h("div", { class: "panel" }, h("p", { class: "note" }, "The group has committed nothing."));
  const clients = new Map(group.members.map((it) => [it.id, it.client_id]));
  const age = (it) => {
    const found = ages?.rows.get(`${it.topic}-${it.partition}`);
    return h("td", { class: "num", title: found?.reason ?? null }, found ? duration(found.lag_ms) : "–");
  };
  const row = (it) => [
    h("a", { href: link("topics", it.topic) }, it.topic), num(it.partition), num(it.committed === null ? "none" : count(it.committed)),
    num(count(it.end_offset)), num(count(it.lag)), age(it), it.member ? clients.get(it.member) ?? it.member : h("span", { class: "soft" }, "nobody"),
  ];
  const head = ["Topic", numHead("Partition"), numHead("Committed"), numHead("End"), numHead("Lag"), numHead("Lag in time"), "Read by"];
  return h("div", null,
    group.offsets.filter((it) => it.problem).slice(0, 5).map((it) => notice(it.problem, `${it.topic}, partition ${it.partition}`)),
    ages?.problem ? notice(ages.problem, "Lag in time") : null, table(head, group.offsets.map(row)));
}

// What a reset would do; it is not done.
function resetForm(page, id) {
  const to = h("select", null, h("option", { value: "earliest" }, "the earliest"), h("option", { value: "latest" }, "the latest"), h("option", { value: "datetime" }, "a time"));
  const moment = h("input", { type: "datetime-local", step: "1" });
  const momentLabel = h("label", { hidden: true }, "Time", moment);
  to.addEventListener("change", () => (momentLabel.hidden = to.value !== "datetime"));
  const said = h("p", { class: "soft", role: "status" });
  const found = h("div");
  const button = h("button", { type: "submit" }, "Show what it would do");
  const submit = async (event) => {
    event.preventDefault();
    const at = to.value === "datetime" ? new Date(moment.value).getTime() : null;
    if (Number.isNaN(at)) {
      say(said, "Say from which time on.");
      return moment.focus();
    }
    button.disabled = true;
    try {
      const answer = await page.ask(["groups", id, "reset"], { to: to.value, at });
      say(said, answer.is_possible ? "The group is empty, so it could be reset. Nothing was changed."
        : `The group is ${answer.state}: Kafka resets offsets of groups without members only. Nothing was changed.`);
      const row = (it) => [
        it.topic, num(it.partition), num(it.committed === null ? "none" : count(it.committed)),
        it.problem ? h("td", null, it.problem.cause) : num(count(it.reset)), num(change(it.change)),
      ];
      found.replaceChildren(answer.offsets.length
        ? table(["Topic", numHead("Partition"), numHead("Committed"), numHead("Then"), numHead("Change")], answer.offsets.map(row))
        : h("p", { class: "soft" }, "There are no offsets to reset."));
    } catch (problem) {
      if (problem.name !== "AbortError") found.replaceChildren(notice(problem));
    } finally {
      button.disabled = false;
    }
  };
  return h("section", null, h("h2", null, "What a reset would do"),
    h("form", { class: "bar", on: { submit } }, h("label", null, "To", to), momentLabel, button), said, found);
}

function change(by) {
  if (by === null) return "–";
  if (by === 0) return "none";
  return by < 0 ? `${plural(-by, "record")} again` : `skips ${plural(by, "record")}`;
}
