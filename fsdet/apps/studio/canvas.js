// The studio's canvas: one photograph with its boxes, drawn, changed and answered by pointer and keys.
// Coordinates are pixels of the photograph. A box with a score is a detection that waits for an answer;
// accepted or changed, it has none. Every change is sent at once; the server answers actions with new values.
const SVG = "http://www.w3.org/2000/svg";
const LEAST = 4, HANDLE = 7, LETTER = 14; // pixels of the screen
const WAIT = 30000; // ms after which an answer is no longer waited for
const root = element.querySelector(".studio"), svg = element.querySelector("svg");
const chips = element.querySelector(".chips"), input = element.querySelector(".category");
let shown = null; // the photograph, its boxes and categories; null: none
let selected = -1, category = "", frame = null, drag = null, busy = 0;
const waiting = []; // keys pressed before the answer

function make(parent, tag, attributes, text) {
  const node = parent.appendChild(document.createElementNS(SVG, tag));
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function colour(name) {
  const known = shown.categories.find((one) => one.name === name);
  return known ? known.colour : "rgb(150, 150, 150)";
}

// Pixels of the photograph per pixel of the screen.
const unit = () => 1 / (svg.getScreenCTM()?.a || 1);

function point(event) {
  const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  return [Math.min(Math.max(at.x, 0), shown.width), Math.min(Math.max(at.y, 0), shown.height)];
}

function rectangle([x1, y1, x2, y2]) {
  return { x: Math.min(x1, x2), y: Math.min(y1, y2), width: Math.abs(x2 - x1), height: Math.abs(y2 - y1) };
}

function draw() {
  root.classList.toggle("none", !shown);
  if (!shown) return;
  svg.setAttribute("viewBox", frame.join(" "));
  if (svg.dataset.key !== shown.key) {
    svg.replaceChildren();
    make(svg, "image", { href: shown.image.url, width: shown.width, height: shown.height, preserveAspectRatio: "none" });
    svg.dataset.key = shown.key;
  }
  while (svg.childNodes.length > 1) svg.lastChild.remove();
  for (const corners of shown.rejected) make(svg, "rect", { class: "rejected", ...rectangle(corners) });
  shown.boxes.forEach(drawBox);
  if (drag?.corners) make(svg, "rect", { class: "box", stroke: colour(category), ...rectangle(drag.corners) });
  drawWords();
}

function drawBox(box, index) {
  const kind = (box.score === null ? "" : " found") + (index === selected ? " selected" : "");
  const at = rectangle(box.corners), stroke = colour(box.category), u = unit();
  make(svg, "rect", { class: "box under", ...at });
  make(svg, "rect", { class: "edge", "data-index": index, ...at });
  make(svg, "rect", { class: "box" + kind, stroke, style: `color: ${stroke}`, ...at });
  const words = (box.category || "?") + (box.score === null ? "" : ` ${box.score.toFixed(2)}`);
  const y = at.y > LETTER * 1.3 * u ? at.y - 5 * u : at.y + LETTER * 1.2 * u;
  make(svg, "text", { x: at.x + 2 * u, y, "font-size": LETTER * u }, words);
  if (index !== selected) return;
  for (const [name, h, v] of [["nw", 0, 1], ["ne", 2, 1], ["sw", 0, 3], ["se", 2, 3]]) {
    make(svg, "circle", { class: `handle ${name}`, "data-ends": `${h},${v}`, cx: box.corners[h], cy: box.corners[v], r: HANDLE * u });
  }
}

function drawWords() {
  chips.replaceChildren(...shown.categories.map(({ name, colour }, index) => {
    const chip = document.createElement("button");
    chip.className = "chip" + (name === category ? " chosen" : "");
    chip.style.setProperty("--box", colour);
    chip.textContent = index < 9 ? `${index + 1} ${name}` : name;
    chip.onclick = () => { choose(name); chip.blur(); };
    return chip;
  }));
  const found = shown.boxes.filter((box) => box.score !== null).length;
  const drawn = shown.boxes.length - found;
  const state = shown.complete ? (shown.boxes.length ? ", complete" : ", complete: nothing here") : "";
  element.querySelector(".status").textContent =
    `${shown.name} (${shown.place}): ${drawn} ${drawn === 1 ? "box" : "boxes"}, ${found} found${state}`;
  element.querySelector("[data-key=c]").setAttribute("aria-pressed", shown.complete);
}

function send(action) {
  const boxes = shown.boxes.filter((box) => box.score === null).map(({ category, corners }) => ({ category, corners }));
  props.value = { key: shown.key, boxes, rejected: shown.rejected, complete: shown.complete, action };
  if (action !== "keep") busy = Date.now();
  root.classList.toggle("busy", busy > 0);
  trigger("act");
}

function keep() { draw(); send("keep"); }

function receive() {
  const value = props.value;
  if (value && value.action !== undefined) return; // sent from here
  busy = 0;
  root.classList.remove("busy");
  const before = shown?.key;
  shown = value ? JSON.parse(JSON.stringify(value)) : null;
  drag = null;
  if (shown) {
    if (shown.key !== before) frame = [0, 0, shown.width, shown.height];
    const names = shown.categories.map((one) => one.name);
    if (!names.includes(category)) category = names[0] || "";
    selected = shown.boxes.findIndex((box) => box.score !== null);
    // The pressed thumbnail or button would take the next key.
    if (!document.activeElement?.closest("input, textarea")) svg.focus({ preventScroll: true });
  }
  draw();
  while (waiting.length && !busy) press(waiting.shift());
}

function overlap(a, b) {
  const side = (low, high) => Math.max(Math.min(a[high], b[high]) - Math.max(a[low], b[low]), 0);
  const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1), both = side(0, 2) * side(1, 3);
  return both / (area(a) + area(b) - both);
}

// A drawn or changed box stands for the detections of the same object.
function settle(box) {
  box.score = null;
  shown.boxes = shown.boxes.filter((other) => other.score === null || overlap(other.corners, box.corners) < 0.5);
  selected = shown.boxes.indexOf(box);
}

function select(index) { selected = index; draw(); }

// The next detection after a box, or -1.
function nextFound(index) {
  const order = shown.boxes.map((_, n) => (n + index) % shown.boxes.length);
  return order.find((n) => shown.boxes[n].score !== null) ?? -1;
}

function remove(index) {
  const [box] = shown.boxes.splice(index, 1);
  if (box.score !== null) shown.rejected.push(box.corners);
  selected = nextFound(index);
  keep();
}

function choose(name) {
  category = name;
  if (selected < 0) return draw();
  shown.boxes[selected].category = name;
  shown.boxes[selected].score = null;
  keep();
}

function named() {
  const name = input.value.trim();
  input.value = "";
  if (!name || !shown) return;
  if (!shown.categories.some((one) => one.name === name)) shown.categories.push({ name, colour: "rgb(150, 150, 150)" });
  category = name;
  const unnamed = shown.boxes.filter((box) => !box.category);
  for (const box of unnamed) box.category = name;
  if (unnamed.length) keep(); else choose(name);
  svg.focus({ preventScroll: true });
}

function finish(empty) {
  if (empty) shown.rejected.push(...shown.boxes.filter((box) => box.score !== null).map((box) => box.corners));
  if (empty) shown.boxes = [];
  for (const box of shown.boxes) box.score = null;
  shown.complete = true;
  send("done");
}

function zoom(factor, [x, y]) {
  const [left, top, width, height] = frame;
  const scale = Math.min(Math.max(factor * width, shown.width / 20), shown.width) / width;
  const limit = (value, most) => Math.min(Math.max(value, 0), most);
  frame = [limit(x - (x - left) * scale, shown.width - width * scale),
    limit(y - (y - top) * scale, shown.height - height * scale), width * scale, height * scale];
  draw();
}

function middle() {
  const [x1, y1, x2, y2] = selected < 0 ? [frame[0], frame[1], frame[0] + frame[2], frame[1] + frame[3]]
    : shown.boxes[selected].corners;
  return [(x1 + x2) / 2, (y1 + y2) / 2];
}

const keys = {
  Enter: () => finish(false),
  e: () => finish(true),
  c: () => { shown.complete = !shown.complete; keep(); },
  a: () => {
    if (selected < 0) return;
    shown.boxes[selected].score = null;
    selected = nextFound(selected);
    keep();
  },
  x: () => { if (selected >= 0) remove(selected); },
  ArrowRight: () => send("next"),
  ArrowLeft: () => send("previous"),
  d: () => send("doubtful"),
  t: () => send("teach"),
  u: () => send("undo"),
  " ": () => { if (shown.boxes.length) select((selected + 1) % shown.boxes.length); },
  Escape: () => { drag = null; select(-1); },
  "+": () => zoom(0.7, middle()),
  "-": () => zoom(1 / 0.7, middle()),
  0: () => { frame = [0, 0, shown.width, shown.height]; draw(); },
};
Object.assign(keys, { y: keys.a, n: keys.x, Delete: keys.x, Backspace: keys.x, z: keys.u, "=": keys["+"] });

function press(key) {
  if (!shown) return false;
  if (busy && Date.now() - busy < WAIT) return waiting.length < 20 && Boolean(waiting.push(key));
  const number = key >= "1" && key <= "9" ? shown.categories[key - 1] : null;
  if (number) choose(number.name);
  else if (Object.hasOwn(keys, key)) keys[key]();
  else return false;
  return true;
}

function typed(event) {
  if (!element.isConnected) return document.removeEventListener("keydown", typed);
  const undo = (event.ctrlKey || event.metaKey) && event.key === "z";
  if (event.altKey || ((event.ctrlKey || event.metaKey) && !undo)) return;
  const elsewhere = "input, textarea, select, [contenteditable=true], [role=dialog]";
  if (event.target.closest?.(elsewhere) || drag) return;
  // A button that has the focus keeps its own keys.
  if (event.target.closest?.("button, a, summary") && (event.key === "Enter" || event.key === " ")) return;
  if (press(event.key.length === 1 ? event.key.toLowerCase() : event.key)) event.preventDefault();
}

svg.addEventListener("pointerdown", (event) => {
  if (!shown || (busy && Date.now() - busy < WAIT) || drag) return;
  svg.setPointerCapture(event.pointerId);
  svg.focus({ preventScroll: true });
  event.preventDefault();
  const from = point(event), { ends, index } = event.target.dataset;
  if (event.button === 1 || event.shiftKey) drag = { kind: "pan", client: [event.clientX, event.clientY], start: [...frame] };
  else if (ends !== undefined) drag = { kind: "resize", ends: ends.split(",").map(Number), box: shown.boxes[selected] };
  else if (index !== undefined) {
    selected = Number(index);
    drag = { kind: "move", from, box: shown.boxes[index], start: [...shown.boxes[index].corners] };
  } else drag = { kind: "draw", from };
  draw();
});

svg.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [x, y] = point(event), u = unit();
  const panned = drag.client?.map((start, n) => start - [event.clientX, event.clientY][n]);
  if (drag.kind === "pan") {
    frame = [drag.start[0] + panned[0] * u, drag.start[1] + panned[1] * u, frame[2], frame[3]];
    zoom(1, [x, y]);
  } else if (drag.kind === "draw") drag.corners = [...drag.from, x, y];
  else if (drag.kind === "resize") drag.ends.forEach((end, n) => { drag.box.corners[end] = n ? y : x; drag.changed = true; });
  else {
    const [x1, y1, x2, y2] = drag.start;
    const dx = Math.min(Math.max(x - drag.from[0], -x1), shown.width - x2);
    const dy = Math.min(Math.max(y - drag.from[1], -y1), shown.height - y2);
    if (Math.hypot(dx, dy) > LEAST * u) drag.changed = true;
    if (drag.changed) drag.box.corners = [x1 + dx, y1 + dy, x2 + dx, y2 + dy];
  }
  draw();
});

svg.addEventListener("pointerup", (event) => {
  if (!drag) return;
  const { kind, corners, from, box, changed } = drag, least = LEAST * unit();
  drag = null;
  const at = corners && rectangle(corners);
  if (kind === "draw" && at && at.width >= least && at.height >= least) {
    const drawn = { category, corners: [at.x, at.y, at.x + at.width, at.y + at.height], score: null };
    shown.boxes.push(drawn);
    settle(drawn);
    keep();
    if (!category) input.focus();
  } else if (kind === "draw") select(smallestAround(from));
  else if (changed) {
    const { x, y, width, height } = rectangle(box.corners);
    box.corners = [x, y, x + Math.max(width, 1), y + Math.max(height, 1)];
    settle(box);
    keep();
  } else draw();
});

svg.addEventListener("pointercancel", () => { drag = null; draw(); });

function smallestAround([x, y]) {
  const around = shown.boxes.map(({ corners: [x1, y1, x2, y2] }, index) =>
    ({ index, inside: x >= x1 && x <= x2 && y >= y1 && y <= y2, area: (x2 - x1) * (y2 - y1) }));
  return around.filter((one) => one.inside).sort((a, b) => a.area - b.area)[0]?.index ?? -1;
}

svg.addEventListener("wheel", (event) => {
  if (!shown) return;
  event.preventDefault();
  zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, point(event));
}, { passive: false });

for (const button of element.querySelectorAll("[data-key]")) {
  button.onclick = () => { button.blur(); press(button.dataset.key); };
}
input.addEventListener("change", named);
document.addEventListener("keydown", typed);
new ResizeObserver(() => { if (!drag) draw(); }).observe(svg);
watch("value", receive);
receive();
