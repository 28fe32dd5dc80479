// Which view is open, and what is said above it.

import { ask, notice, told } from "/api.js";
import { h, say } from "/dom.js";
import { clock } from "/format.js";
import { follow, live } from "/live.js";
import { applicationView } from "/views/application.js";
import { applicationsView } from "/views/applications.js";
import { brokerView } from "/views/broker.js";
import { brokersView } from "/views/brokers.js";
import { groupView } from "/views/group.js";
import { groupsView } from "/views/groups.js";
import { overviewView } from "/views/overview.js";
import { topicView } from "/views/topic.js";
import { topicsView } from "/views/topics.js";

const main = document.getElementById("main");
let open = null;

// A view gets the page's parts and gives what stops it, or nothing. It may throw a problem.
const VIEWS = { "": overviewView, topics: topicsView, groups: groupsView, brokers: brokersView, applications: applicationsView };
const ENTITIES = { topics: topicView, groups: groupView, brokers: brokerView, applications: applicationView };

async function show() {
  open?.stop();
  const parts = location.hash.replace(/^#\/?/, "").split("/").map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
  const [first, ...rest] = parts;
  for (const anchor of document.querySelectorAll("header nav a")) {
    const isThis = anchor.getAttribute("href") === `#/${first}`;
    isThis ? anchor.setAttribute("aria-current", "page") : anchor.removeAttribute("aria-current");
  }
  const view = rest.length > 0 ? ENTITIES[first] : VIEWS[first];
  const aborting = new AbortController();
  const page = new Page(aborting);
  open = page;
  main.replaceChildren(page.node);
  document.title = `${parts.filter(Boolean).join(" · ") || "Overview"} – Vltava`;
  window.scrollTo(0, 0);
  if (!view) {
    page.node.append(h("h1", null, "Nothing here"), h("p", null, "There is no such page. ", h("a", { href: "#/" }, "Go to the overview"), "."));
    return;
  }
  const waiting = h("p", { class: "soft" }, "Asking the cluster …");
  const timer = setTimeout(() => page.node.append(waiting), 300);
  try {
    await view(page, ...rest);
  } catch (problem) {
    if (problem.name !== "AbortError") page.fail(problem);
  } finally {
    clearTimeout(timer);
    waiting.remove();
  }
}

// What a view draws into, as long as it is open.
class Page {
  constructor(aborting) {
    this.aborting = aborting;
    this.node = h("div");
    this.stops = [];
  }

  // Asks the API, until the view is closed.
  ask(parts, parameters) {
    return ask(parts, parameters, this.aborting.signal);
  }

  follow(listener) {
    this.stops.push(follow(listener));
  }

  onStop(stop) {
    this.stops.push(stop);
  }

  // Calls what may fail now and every `ms` ms while somebody looks; the last failure stands above the view.
  async every(ms, work) {
    const step = async () => {
      if (document.hidden) return;
      try {
        await work();
        this.failure?.remove();
        this.failure = null;
        this.hasData = true;
      } catch (problem) {
        if (problem.name !== "AbortError") this.fail(problem);
      }
    };
    let timer = null;
    const loop = async () => {
      await step();
      if (!this.aborting.signal.aborted) timer = setTimeout(loop, ms);
    };
    this.onStop(() => clearTimeout(timer));
    await loop();
  }

  fail(problem) {
    // What stands above the page already, and is so for all of it.
    if (this.hasData && live.trouble && problem.kind === live.trouble.kind) return;
    const said = notice(problem);
    this.failure ? this.failure.replaceWith(said) : this.node.prepend(said);
    this.failure = said;
    // A mistake of the page's own.
    if (!problem.kind) console.error(problem);
  }

  stop() {
    this.aborting.abort();
    for (const stop of this.stops) stop();
  }
}

const status = document.getElementById("live");
const trouble = document.getElementById("trouble");
follow(() => {
  const isAway = live.trouble !== null;
  status.className = isAway ? "live is-away" : "live is-live";
  say(status, isAway ? "not live" : `live, ${clock(live.sample.at)}`);
  trouble.hidden = !isAway;
  if (isAway) {
    const since = live.sample ? ` What you see is as of ${clock(live.sample.at)}.` : "";
    say(trouble, told(live.trouble) + since);
  }
});

// The slash is for the field that looks for something.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const field = main.querySelector("input[type=search]");
  if (field) {
    event.preventDefault();
    field.focus();
  }
});

window.addEventListener("hashchange", () => {
  show();
  main.focus({ preventScroll: true });
});
show();
