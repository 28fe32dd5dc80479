// The brokers and their log directories.

import { notice } from "/api.js";
import { h, link, num, numHead, s, table, tag } from "/dom.js";
import { bytes, count } from "/format.js";

export async function brokersView(page) {
  const body = h("div");
  page.node.append(h("h1", null, "Brokers"), body);
  await page.every(10000, async () => {
    const { brokers } = await page.ask(["brokers"]);
    body.replaceChildren(...brokers.flatMap((it) => [
      h("h2", null, h("a", { href: link("brokers", it.id) }, `Broker ${it.id}`), " ", it.is_controller ? tag("controller", "accent") : null),
      h("p", { class: "soft" }, h("span", { class: "mono" }, it.address), it.rack ? ` in rack ${it.rack}` : ""),
      logDirs(it),
    ]));
  });
}

export function logDirs(broker) {
  if (broker.problem) return notice(broker.problem, "Log directories");
  const row = (it) => [
    h("td", { class: "mono" }, it.path, it.problem ? notice(it.problem) : null),
    num(count(it.replicas)), num(bytes(it.size_bytes)),
    h("td", { class: "num" }, it.usable_bytes === null ? "–" : `${bytes(it.usable_bytes)} of ${bytes(it.total_bytes)}`, meter(it)),
  ];
  return table(["Log directory", numHead("Replicas"), numHead("Size"), numHead("Free on its disk")], broker.log_dirs.map(row));
}

function meter(it) {
  if (it.usable_bytes === null || !it.total_bytes) return null;
  const used = 1 - it.usable_bytes / it.total_bytes;
  return s("svg", { class: "meter", viewBox: "0 0 100 6", preserveAspectRatio: "none", role: "img", "aria-label": `${Math.round(used * 100)} percent used` },
    s("rect", { width: (used * 100).toFixed(1), height: 6 }));
}
