// The API of the console, and problems in words.

import { h } from "/dom.js";

export class Problem extends Error {
  constructor(problem) {
    super(problem.cause);
    this.kind = problem.kind;
    this.code = problem.code;
  }
}

// Asks for `/api/…`; parts are of the path, and parameters that are null or empty are left out.
export async function ask(parts, parameters, signal) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters ?? {})) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const path = ["", "api", ...parts].map((part) => encodeURIComponent(part)).join("/");
  let response;
  try {
    response = await fetch(query.size ? `${path}?${query}` : path, { signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ kind: "console", cause: "the console itself does not answer: its process may have ended" });
  }
  const answer = await response.json();
  if (answer.problem && !response.ok) throw new Problem(answer.problem);
  return answer;
}

const MEANINGS = {
  unreachable: "The cluster cannot be reached.",
  unauthorized: "The console's login may not see this.",
  missing: "This is not there.",
  unsupported: "This cannot be shown.",
  busy: "The console is busy.",
  asked: "This cannot be asked for.",
  cluster: "The cluster refuses.",
  console: "The console is away.",
};

// A problem, first what it means and then its cause.
export function told(problem) {
  const cause = problem.cause ?? problem.message;
  const code = problem.code && !cause.includes(problem.code) ? ` (${problem.code})` : "";
  return `${MEANINGS[problem.kind] ?? "Something is wrong."} ${cause[0]?.toUpperCase() ?? ""}${cause.slice(1)}${code}.`;
}

export function notice(problem, before) {
  return h("p", { class: problem.kind === "unauthorized" ? "notice" : "notice is-bad" }, before ? `${before}: ` : "", told(problem));
}
