// A list of any length, of which only the rows in sight are there.

import { h } from "/dom.js";

const HEIGHT = 44;
const SPARE = 8;

// `columns` are {title, width, num, by}; `draw(item)` gives the cells of a row, and `seen(items)` is told which are in sight.
export class List {
  constructor({ label, columns, draw, key, seen, sorted }) {
    this.columns = columns;
    this.draw = draw;
    this.key = key;
    this.seen = seen ?? (() => {});
    this.items = [];
    this.drawn = new Map();
    this.rows = h("div", { class: "rows", role: "rowgroup" });
    const head = columns.map((column) => this.head(column, sorted));
    this.node = h("div", { class: "panel list", role: "table", "aria-label": label }, h("div", { role: "row" }, head), this.rows);
    // An empty table would say that there is nothing.
    this.node.hidden = true;
    this.node.style.setProperty("--columns", columns.map((column) => column.width).join(" "));
    this.onScroll = () => this.show();
    window.addEventListener("scroll", this.onScroll, { passive: true });
    window.addEventListener("resize", this.onScroll, { passive: true });
    this.node.addEventListener("keydown", (event) => this.move(event));
  }

  head(column, sorted) {
    const attributes = { role: "columnheader", class: column.num ? "num" : null };
    if (!column.by || !sorted) return h("span", attributes, column.title);
    return h("button", { ...attributes, type: "button", on: { click: () => sorted(column.by) } }, column.title);
  }

  set(items) {
    this.node.hidden = false;
    this.items = items;
    this.rows.style.height = `${items.length * HEIGHT}px`;
    this.node.setAttribute("aria-rowcount", items.length + 1);
    this.redraw();
  }

  redraw() {
    for (const row of this.drawn.values()) row.remove();
    this.drawn.clear();
    this.show();
  }

  // Draws the cells of rows in sight anew, in their places: nothing moves, and who has the focus keeps it.
  refresh() {
    for (const [index, row] of this.drawn) {
      const cells = this.draw(this.items[index]);
      row.querySelectorAll("[role=cell]").forEach((cell, at) => {
        const text = cells[at] instanceof Node ? cells[at].textContent : String(cells[at] ?? "");
        if (cell.textContent !== text) cell.replaceChildren(...[cells[at]].flat());
      });
    }
  }

  show() {
    const top = this.rows.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / HEIGHT) - SPARE);
    const last = Math.min(this.items.length, Math.ceil((window.innerHeight - top) / HEIGHT) + SPARE);
    for (const [index, row] of this.drawn) {
      if ((index < first || index >= last) && !row.contains(document.activeElement)) {
        row.remove();
        this.drawn.delete(index);
      }
    }
    for (let index = first; index < last; index += 1) {
      if (!this.drawn.has(index)) this.drawn.set(index, this.rows.appendChild(this.row(index)));
    }
    this.seen(this.items.slice(first, last));
  }

  row(index) {
    const cells = this.draw(this.items[index]).map((cell, at) =>
      h("span", { role: "cell", class: this.columns[at].num ? "num" : null }, cell));
    const row = h("div", { role: "row", "aria-rowindex": index + 2 }, cells);
    row.style.transform = `translateY(${index * HEIGHT}px)`;
    row.dataset.index = index;
    return row;
  }

  // Arrows go from row to row.
  move(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest?.("[data-index]");
    if (!step || !row) return;
    const next = this.drawn.get(Number(row.dataset.index) + step);
    next?.querySelector("a")?.focus();
    if (next) event.preventDefault();
  }

  stop() {
    window.removeEventListener("scroll", this.onScroll);
    window.removeEventListener("resize", this.onScroll);
  }
}
