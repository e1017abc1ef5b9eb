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
    const nothing = () => {};
    return { fillText: nothing, save: nothing, restore: nothing, translate: nothing,
      rotate: nothing, scale: nothing, clearRect: nothing, strokeRect: nothing,
      fillRect(x, y) { cells.push([x, y, this.fillStyle]); } };
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
globalThis.addEventListener = () => {};
const heading = { textContent: "a title" };
globalThis.getComputedStyle = () => ({ getPropertyValue: name => name });
globalThis.document = {
  documentElement: {}, createElement: name => new Element(name),
  createElementNS: (_, name) => new Element(name), querySelector: selector => selector === "h1" ? heading : main,
  getElementById: id => id === "data" ? { textContent: data }
    : { content: { cloneNode: () => new Fragment() } },
};
(0, eval)(script);

const [page] = shown, find = selector => page.querySelector(selector);
const layer = find(".layer"), head = find(".head"), form = find(".form"), depth = find(".depth");
const state = find(".state"), T = JSON.parse(data)[0].tokens.length, legends = {}, axes = {};
function hovered(name, columns) {  // the text of each cell of a grid, and its colour
  const [canvas] = find(`.${name}`).children, rows = [];
  const [column, top, width, height] = ["column", "top", "width", "height"]
    .map(name => Number(canvas.attributes[`data-${name}`]));
  for (let t = 0; t < T; t++) for (let u = 0; u < columns; u++) {
    canvas.fire("mousemove", { offsetX: column + width * (u + 0.5),
      offsetY: top + height * (t + 0.5) });
    const [x, y, colour] = canvas.cells[t * columns + u];
    rows.push([find(`.${name}-value`).text, colour, (x - column) / width, (y - top) / height]);
  }
  legends[name] = find(`.${name}-legend`).children.map(part => part.text);
  axes[name] = find(`.${name}-axes`).text;
  return rows;
}
const attention = {}, lines = {}, pointed = {}, similarity = {}, states = {};
for (const l of layer.choices()) for (const k of head.choices()) {
  layer.value = l; head.value = k; form.value = "grid"; form.fire("change");
  attention[`${l} ${k}`] = hovered("attention", T);
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
  similarity[d] = hovered("similarity", T);
}
const units = JSON.parse(data)[0].activations[0][2][1];
for (const d of state.choices()) {
  state.value = d; state.fire("change");
  const rows = hovered("states", units);
  states[d] = { rows, legend: legends.states };
}
console.log(JSON.stringify({
  title: find("h2").text, what: find(".what").text, saliency: find(".saliency").text,
  predictions: find(".predictions").children.map(bar => bar.children.length
    ? [bar.children[0].text, bar.children[2].text, bar.children[1].children[0].style.width]
    : bar.text),
  tokens: find(".tokens").children.map(chip =>
    [chip.text, chip.attributes.title, chip.children[0].text, chip.style.background]),
  activations: find(".activations").children.map(row => row.children.map(cell => cell.text)),
  attention, lines, pointed, similarity, states, legends, axes,
}));
