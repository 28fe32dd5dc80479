// The cluster in a few numbers.

import { notice } from "/api.js";
import { card, h, link, num, numHead, s, table, tag } from "/dom.js";
import { count, duration, plural, rate } from "/format.js";
import { live } from "/live.js";

export async function overviewView(page) {
  const body = h("div");
  page.node.append(h("h1", null, "Overview"), body);
  let groups = null;
  let groupsProblem = null;
  const draw = (found) => {
    const broken = found.offline_partitions + found.under_replicated_partitions;
    body.replaceChildren(
      ...problems(found, groupsProblem),
      h("div", { class: "cards" },
        card("Brokers", count(found.brokers.length), null, { bad: found.missing_brokers.length > 0 }),
        card("Topics", count(found.topics)),
        card("Partitions", count(found.partitions), broken ? `${count(broken)} not well` : null, { bad: broken > 0 }),
        card("Groups", count(groups)),
        card("Records", rate(found.records_per_second), "per second")),
      h("div", { class: "card" }, h("p", { class: "soft" }, span(live.history)), spark(live.history)),
      h("h2", null, "Brokers"), brokers(found),
      h("h2", null, "Busiest topics"), busiest(found),
      h("p", { class: "foot soft mono" }, `Cluster ${found.cluster_id}`));
  };
  page.follow(() => live.sample && !live.trouble && draw(live.sample));
  await page.every(15000, async () => {
    const found = await page.ask(["overview"]);
    groups = found.groups;
    groupsProblem = found.groups_problem;
    draw(live.sample && live.sample.at >= found.at ? live.sample : found);
  });
}

function problems(found, groupsProblem) {
  const said = found.problems.slice(0, 5).map((it) => notice(it.problem, `Topic ${it.topic}`));
  if (groupsProblem) said.push(notice(groupsProblem, "Groups"));
  const bad = (text) => said.push(h("p", { class: "notice is-bad" }, text));
  if (found.missing_brokers.length) {
    const list = found.missing_brokers.join(", ");
    bad(`${found.missing_brokers.length === 1 ? "Broker" : "Brokers"} ${list} should have replicas and cannot be seen.`);
  }
  if (found.offline_partitions) {
    bad(`${plural(found.offline_partitions, "partition")} without a leader: nobody can read or write there.`);
  }
  if (found.under_replicated_partitions) {
    bad(`${plural(found.under_replicated_partitions, "partition")} with replicas that are not in sync.`);
  }
  return said;
}

function brokers(found) {
  const head = ["Broker", "Address", "Rack", numHead("Leads")];
  const row = (it) => [
    h("td", null, h("a", { href: link("brokers", it.id) }, `Broker ${it.id}`), " ", it.is_controller ? tag("controller", "accent") : null),
    h("td", { class: "mono" }, it.address), it.rack ?? "–", num(plural(it.leads, "partition")),
  ];
  return table(head, found.brokers.map(row));
}

function busiest(found) {
  const rates = Object.entries(found.rates ?? {}).sort((a, b) => b[1] - a[1]).slice(0, 5);
  if (!rates.length) {
    const text = found.rates ? "No records came in the last ten seconds." : "Rates are known after a few seconds.";
    return h("div", { class: "panel" }, h("p", { class: "note" }, text));
  }
  const row = ([name, value]) => [h("a", { href: link("topics", name) }, name), num(rate(value))];
  return table(["Topic", numHead("Records per second")], rates.map(row));
}

function span(history) {
  const known = history.filter((it) => it.rate !== null);
  if (known.length < 2) return "Records per second are known after a few seconds";
  return `Records per second, the last ${duration(Math.round((known[known.length - 1].at - known[0].at) / 1000) * 1000)}`;
}

// A line of the rates that were seen.
function spark(history) {
  const known = history.filter((it) => it.rate !== null);
  const svg = s("svg", { class: "spark", viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img", "aria-label": "Records per second over time" });
  if (known.length < 2) return svg;
  const most = Math.max(1, ...known.map((it) => it.rate));
  const whole = Math.max(20000, known[known.length - 1].at - known[0].at);
  const x = (at) => 100 - ((known[known.length - 1].at - at) / whole) * 100;
  const points = known.map((it) => `${x(it.at).toFixed(2)},${(38 - (it.rate / most) * 34).toFixed(2)}`);
  const line = "M" + points.join("L");
  svg.append(s("path", { class: "area", d: `${line}L100,40L${x(known[0].at).toFixed(2)},40Z` }), s("path", { d: line }));
  return svg;
}
