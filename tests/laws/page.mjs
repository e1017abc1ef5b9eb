// Run the script of a page with a small stand-in for the browser, and print what the page shows.
// Use: node page.mjs PAGE.html
import { readFileSync } from "node:fs";

class Element {
  constructor(name) {
    Object.assign(this, { name, attributes: {}, children: [], style: {}, listeners: {}, text: "" });
  }
  setAttribute(key, value) { this.attributes[key] = String(value); }
  append(...nodes) { this.children.push(...nodes); }
  replaceChildren(...nodes) { this.children = nodes; }
  addEventListener(kind, listener) { (this.listeners[kind] ??= []).push(listener); }
  fire(kind, event) { for (const listener of this.listeners[kind]) listener(event); }
  set textContent(text) { this.text = String(text); }
  get textContent() { return this.text; }
  get value() { return this.chosen ?? this.choices()[0]; }
  set value(choice) { this.chosen = String(choice); }
  choices() { return this.children.map(option => option.attributes.value ?? option.text); }
  getContext() {
    const cells = this.cells = [];
    return { fillText() {}, fillRect(x, y) { cells.push([x, y, this.fillStyle]); } };
  }
}
class Fragment {
  constructor() { this.found = { ".form": new Element("select") };
    this.found[".form"].append(option("lines"), option("grid")); }
  querySelector(selector) { return this.found[selector] ??= new Element(selector); }
}
function option(text) { const made = new Element("option"); made.text = text; return made; }

const html = readFileSync(process.argv[2], "utf-8");
const data = html.match(/id="data">(.*?)<\/script>/s)[1];
const script = html.match(/<script>(.*?)<\/script>/s)[1];
const shown = [];
const main = { append: fragment => shown.push(fragment) };
globalThis.innerWidth = 1280;
globalThis.getComputedStyle = () => ({ getPropertyValue: name => name });
globalThis.document = {
  documentElement: {}, createElement: name => new Element(name),
  createElementNS: (_, name) => new Element(name), querySelector: () => main,
  getElementById: id => id === "data" ? { textContent: data }
    : { content: { cloneNode: () => new Fragment() } },
};
(0, eval)(script);

const [page] = shown, find = selector => page.querySelector(selector);
const layer = find(".layer"), head = find(".head"), form = find(".form"), depth = find(".depth");
const T = JSON.parse(data)[0].tokens.length, CELL = 22;
function hovered(box, note) {  // the text of each cell of a grid, and its colour
  const [canvas] = find(box).children, column = Number(canvas.attributes["data-column"]), rows = [];
  for (let t = 0; t < T; t++) for (let u = 0; u < T; u++) {
    canvas.fire("mousemove", { offsetX: column + CELL * (u + 0.5), offsetY: CELL * (t + 0.5) });
    const [x, y, colour] = canvas.cells[t * T + u];
    rows.push([find(note).text, colour, (x - column) / CELL, y / CELL]);
  }
  return rows;
}
const attention = {}, lines = {}, pointed = {}, similarity = {};
for (const l of layer.choices()) for (const k of head.choices()) {
  layer.value = l; head.value = k; form.value = "grid"; form.fire("change");
  attention[`${l} ${k}`] = hovered(".attention", ".attention-value");
  form.value = "lines"; form.fire("change");
  const [svg] = find(".attention").children, [drawings, ...texts] = svg.children;
  lines[`${l} ${k}`] = drawings.children.map(line => line.attributes);
  pointed[`${l} ${k}`] = texts.filter(text => text.listeners.focus).map(text => {
    text.fire("focus");
    return [find(".attention-value").text, drawings.children.map(line => line.attributes)];
  });
}
for (const d of depth.choices()) {
  depth.value = d; depth.fire("change");
  similarity[d] = hovered(".similarity", ".similarity-value");
}
console.log(JSON.stringify({
  title: find("h2").text, what: find(".what").text, saliency: find(".saliency").text,
  predictions: find(".predictions").children.map(bar => bar.children.length
    ? [bar.children[0].text, bar.children[2].text, bar.children[1].children[0].style.width]
    : bar.text),
  tokens: find(".tokens").children.map(chip =>
    [chip.text, chip.attributes.title, chip.children[0].text, chip.style.background]),
  activations: find(".activations").children.map(row => row.children.map(cell => cell.text)),
  attention, lines, pointed, similarity,
}));
