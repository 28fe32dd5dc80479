// A broker: its log directories and settings.

import { Problem } from "/api.js";
import { h } from "/dom.js";
import { logDirs } from "/views/brokers.js";
import { settings } from "/views/settings.js";

export async function brokerView(page, id) {
  page.node.append(h("p", { class: "crumb" }, h("a", { href: "#/brokers" }, "Brokers")), h("h1", null, `Broker ${id}`));
  const { brokers } = await page.ask(["brokers"]);
  const broker = brokers.find((it) => String(it.id) === id);
  if (!broker) throw new Problem({ kind: "missing", cause: `there is no broker ${id}` });
  const body = h("div");
  page.node.append(h("p", { class: "soft mono" }, broker.address), logDirs(broker), h("h2", null, "Settings"), body);
  await settings(page, body, ["brokers", id, "configs"]);
}
