// All groups; how far they are behind is asked for when they are in sight.

import { h, link, say, tag } from "/dom.js";
import { count } from "/format.js";
import { List } from "/list.js";

const COLUMNS = [
  { title: "Group", width: "minmax(0, 1fr)" },
  { title: "Type", width: "110px" },
  { title: "State", width: "180px" },
  { title: "Members", width: "90px", num: true },
  { title: "Lag in records", width: "140px", num: true },
];

const AT_ONCE = 3;
const SERVES_MS = 8000;

export async function groupsView(page) {
  let all = [];
  const known = new Map();
  const asking = new Set();
  const field = h("input", { type: "search", placeholder: "Part of a name", autocomplete: "off", spellcheck: "false", on: { input: () => filter() } });
  const shown = h("p", { class: "count", role: "status" });
  const empty = h("p", { class: "note", hidden: true });
  const list = new List({ label: "Groups", columns: COLUMNS, draw, seen: look });
  page.onStop(() => list.stop());
  page.node.append(h("h1", null, "Groups"), h("div", { class: "bar" }, h("label", { class: "grow" }, "Filter", field), shown), list.node);
  list.node.append(empty);

  function draw(group) {
    const more = known.get(group.id);
    const lag = more?.problem ? tag(more.problem.code ?? more.problem.kind, "bad") : count(more?.lag);
    return [h("a", { href: link("groups", group.id), title: group.id }, group.id), group.type ?? "–", stateTag(group.state), count(more?.members), lag];
  }

  function filter() {
    const part = field.value.trim().toLowerCase();
    const found = all.filter((group) => group.id.toLowerCase().includes(part));
    list.set(found);
    say(shown, part ? `${count(found.length)} of ${count(all.length)}` : `${count(all.length)} groups`);
    empty.hidden = found.length > 0;
    say(empty, part ? `No group has “${field.value.trim()}” in its name.` : "There are no groups that the console's login may see.");
  }

  let wanted = [];
  function look(items) {
    wanted = items;
    next();
  }

  async function next() {
    const isOld = (group) => !known.has(group.id) || Date.now() - known.get(group.id).at > SERVES_MS;
    const group = wanted.find((it) => isOld(it) && !asking.has(it.id));
    if (!group || asking.size >= AT_ONCE || page.aborting.signal.aborted) return;
    asking.add(group.id);
    next();
    try {
      const found = await page.ask(["groups", group.id]);
      known.set(group.id, { at: Date.now(), lag: found.offsets.some((it) => it.lag !== null) ? found.lag : null, members: found.members.length });
    } catch (problem) {
      if (problem.name === "AbortError") return;
      known.set(group.id, { at: Date.now(), problem });
    }
    asking.delete(group.id);
    list.refresh();
    next();
  }

  await page.every(5000, async () => {
    const { groups } = await page.ask(["groups"]);
    const same = groups.length === all.length && groups.every((group, at) => group.id === all[at].id);
    all = groups;
    if (!same || !list.items.length) filter();
    else {
      const fresh = new Map(groups.map((group) => [group.id, group]));
      list.items = list.items.map((group) => fresh.get(group.id));
      list.refresh();
      list.show();
    }
  });
}

const KINDS = { Stable: "good", Empty: null, Dead: "bad", NotReady: "bad" };

export function stateTag(state) {
  return state ? tag(state, state in KINDS ? KINDS[state] : "warn") : "–";
}
