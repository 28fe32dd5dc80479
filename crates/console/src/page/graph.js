// A directed graph in layers, from left to right, as SVG.

import { h, s } from "/dom.js";

const WIDTH = 216;
const GAP_X = 48;
const GAP_Y = 20;
const LINE = 18;
const PAD = 12;

// The graph of a streams group: nodes are {id, kind, title, lines}, edges are [from, to].
export function ofSubtopologies(subtopologies) {
  const nodes = new Map();
  const edges = [];
  const topic = (name, lines = []) => {
    const id = `topic ${name}`;
    const known = nodes.get(id);
    if (!known) nodes.set(id, { id, kind: "topic", title: name, lines });
    else if (lines.length) known.lines = lines;
    return id;
  };
  for (const it of subtopologies) {
    const id = `step ${it.id}`;
    nodes.set(id, { id, kind: "step", title: `Subtopology ${it.id}`, lines: [] });
    for (const name of it.source_topics) edges.push([topic(name), id]);
    for (const from of it.repartition_source_topics) edges.push([topic(from.name, [`repartition, ${from.partitions} partitions`]), id]);
    for (const name of it.repartition_sink_topics) edges.push([id, topic(name)]);
    for (const log of it.changelog_topics) {
      const store = `store ${log.name}`;
      nodes.set(store, { id: store, kind: "store", title: log.name, lines: ["changelog of a store"] });
      edges.push([id, store]);
    }
  }
  return { nodes: [...nodes.values()], edges };
}

// Which layer each node is in: behind all that lead to it. An edge that closes a circle is left out of that.
export function layered({ nodes, edges }) {
  const next = new Map(nodes.map((node) => [node.id, []]));
  for (const [from, to] of edges) next.get(from)?.push(to);
  const depth = new Map();
  const onPath = new Set();
  const order = [];
  const visit = (id) => {
    if (depth.has(id)) return;
    onPath.add(id);
    depth.set(id, 0);
    for (const to of next.get(id)) if (!onPath.has(to)) visit(to);
    onPath.delete(id);
    order.push(id);
  };
  for (const node of nodes) visit(node.id);
  const at = new Map(order.reverse().map((id, index) => [id, index]));
  for (const id of order) {
    for (const to of next.get(id)) {
      if (at.get(to) > at.get(id)) depth.set(to, Math.max(depth.get(to), depth.get(id) + 1));
    }
  }
  const layers = [];
  for (const node of nodes) (layers[depth.get(node.id)] ??= []).push(node);
  return untangled(layers, edges);
}

// Nodes go beside those that they hang on: fewer lines cross.
function untangled(layers, edges) {
  const place = new Map();
  const number = () => layers.forEach((layer) => layer.forEach((node, index) => place.set(node.id, index / layer.length)));
  number();
  for (let round = 0; round < 4; round += 1) {
    for (const layer of layers) {
      const middle = (node) => {
        const near = edges.filter((edge) => edge.includes(node.id)).map(([from, to]) => place.get(from === node.id ? to : from));
        return near.length ? near.reduce((sum, it) => sum + it, 0) / near.length : place.get(node.id);
      };
      const by = new Map(layer.map((node) => [node.id, middle(node)]));
      layer.sort((a, b) => by.get(a.id) - by.get(b.id));
    }
    number();
  }
  return layers;
}

export function drawn(graph) {
  const layers = layered(graph);
  const boxes = new Map();
  const heights = layers.map((layer) => layer.reduce((sum, node) => sum + height(node) + GAP_Y, -GAP_Y));
  const whole = Math.max(0, ...heights);
  layers.forEach((layer, column) => {
    let y = (whole - heights[column]) / 2 + 1;
    for (const node of layer) {
      boxes.set(node.id, { node, x: column * (WIDTH + GAP_X) + 1, y, height: height(node) });
      y += height(node) + GAP_Y;
    }
  });
  const width = layers.length * (WIDTH + GAP_X) - GAP_X + 2;
  const arrow = s("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto" }, s("path", { d: "M0,0L8,4L0,8Z" }));
  const svg = s("svg", { class: "graph", width, height: whole + 2, viewBox: `0 0 ${width} ${whole + 2}`, role: "img", "aria-label": "The topology" }, s("defs", null, arrow));
  for (const [from, to] of graph.edges) svg.append(line(boxes.get(from), boxes.get(to)));
  for (const box of boxes.values()) svg.append(boxOf(box));
  const holder = h("div", { class: "panel scroll", tabindex: "0" }, svg);
  holder.style.padding = "24px";
  // It becomes smaller to fit, and is moved where it would be too small to be read.
  svg.style.minWidth = `${width * 0.7}px`;
  return holder;
}

function height(node) {
  return PAD * 2 + LINE * (1 + node.lines.length) - 2;
}

function line(from, to) {
  const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + from.height / 2, to.x, to.y + to.height / 2];
  const bend = x2 > x1 ? (x2 - x1) / 2 : GAP_X;
  return s("path", { d: `M${x1},${y1}C${x1 + bend},${y1} ${x2 - bend},${y2} ${x2},${y2}`, "marker-end": "url(#arrow)" });
}

function boxOf({ node, x, y, height: tall }) {
  const text = (words, index) => s("text", { x: x + PAD, y: y + PAD + LINE * index + 13, class: index ? "small" : null }, cut(words));
  return s("g", { class: `is-${node.kind}` }, s("title", null, [node.title, ...node.lines].join("\n")),
    s("rect", { x, y, width: WIDTH, height: tall, rx: 8 }), text(node.title, 0), node.lines.map((words, index) => text(words, index + 1)));
}

function cut(words) {
  return words.length > 27 ? `${words.slice(0, 12)}…${words.slice(-14)}` : words;
}
