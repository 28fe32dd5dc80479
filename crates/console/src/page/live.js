// Numbers that move: one stream of events for all views.

// Three minutes.
const KEPT = 90;

export const live = { sample: null, trouble: null, isOpen: false, history: [] };

const listeners = new Set();
let source = null;

// Calls `listener` with each change until the answer is called.
export function follow(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell() {
  for (const listener of listeners) listener(live);
}

function open() {
  if (source) return;
  source = new EventSource("/api/events");
  source.addEventListener("sample", (event) => {
    live.sample = JSON.parse(event.data);
    live.trouble = null;
    live.isOpen = true;
    live.history.push({ at: live.sample.at, rate: live.sample.records_per_second });
    if (live.history.length > KEPT) live.history.shift();
    tell();
  });
  source.addEventListener("trouble", (event) => {
    live.trouble = JSON.parse(event.data).problem;
    live.isOpen = true;
    tell();
  });
  source.addEventListener("error", () => {
    live.isOpen = false;
    live.trouble = { kind: "console", cause: "the console itself does not answer: its process may have ended" };
    tell();
    // A browser that was refused does not try again by itself.
    if (source?.readyState === EventSource.CLOSED) {
      source = null;
      setTimeout(open, 3000);
    }
  });
}

function close() {
  source?.close();
  source = null;
}

// Who does not look has nothing asked for him.
document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
if (!document.hidden) open();
