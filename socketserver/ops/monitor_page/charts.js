// Charts of the last minutes, drawn as SVG: lines with gaps where nothing is known, and stacked bars.
//
// A chart is told what to draw (`draw`) and which moment to point at (`point`); which moment that is the page decides,
// so that all charts point at the same one. Times are milliseconds of the server's clock.

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 148;
const TOP = 16; // room for the label of the highest line
const BOTTOM = 22;
const MINUTE = 60_000;

/** Of numbers and times: the language of the page's words, whatever the browser's is. */
export const LANGUAGE = "en-GB";

const clock = new Intl.DateTimeFormat(LANGUAGE, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const clockWithSeconds = new Intl.DateTimeFormat(LANGUAGE, {
  hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

export const time = (at) => clock.format(at);
export const timeWithSeconds = (at) => clockWithSeconds.format(at);

/** An element with attributes, or with the properties that have no attribute. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function shape(name, attributes = {}) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

function label(text, attributes) {
  const element = shape("text", attributes);
  element.textContent = text;
  return element;
}

/** Round values from 0 on, of which the last is at least `most`: [0, 5, 10]. Two or three steps. */
export function ticks(most, base = 10) {
  if (!(most > 0)) return [0, 1];
  const unit = base ** Math.floor(Math.log(most) / Math.log(base));
  const steps = base === 10 ? [0.5, 1, 2, 2.5, 5, 10] : [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
  const step = steps.map((each) => each * unit).find((each) => each * 3 >= most) ?? most / 2;
  const count = Math.max(1, Math.ceil(most / step - 1e-9));
  return Array.from({ length: count + 1 }, (_, index) => index * step);
}

/** Where the points have holes, as [from, to]; before the first point is one too. */
function holes(points, from, to, step) {
  const found = [];
  let last = null;
  for (const { at, run } of points) {
    if (last === null ? at - from > 2.5 * step : at - last.at > 2.5 * step || run !== last.run) {
      found.push([Math.max(from, last?.at ?? from), Math.max(from, at)]);
    }
    last = { at, run };
  }
  if (last === null || to - last.at > 3.5 * step) found.push([last?.at ?? from, to]);
  return found.filter(([begin, end]) => end > from && end > begin);
}

class Chart {
  /**
   * @param {{title: string, unit?: string, format?: (value: number) => string, base?: number, least?: number}} options
   *   format: a value as text; base: 10, or 2 for bytes; least: the scale goes up to that at least; ago: where nothing
   *   is known of now, the last that was known is shown, with this text of its age in milliseconds
   * @param {(at: number | null) => void} onPoint told where the pointer or the arrow keys are
   */
  constructor(parent, options, onPoint) {
    this.options = { format: String, base: 10, least: 1, unit: "", ...options };
    this.onPoint = onPoint;
    this.view = { points: [], from: 0, to: 1, step: 5000 };
    this.at = null;
    this.width = 0;
    this.values = make("ul", { class: "values" });
    const title = make("h3", {}, this.options.title);
    if (this.options.unit) title.append(" ", make("small", {}, this.options.unit));
    this.svg = shape("svg", { "aria-hidden": "true", focusable: "false", height: HEIGHT });
    this.plot = make("div", { class: "plot", role: "slider", tabindex: "0", "aria-label": `${this.options.title} over time` });
    this.plot.append(this.svg);
    parent.append(make("article", { class: "card" }, make("header", {}, title, this.values), this.plot));
    this.drawn = shape("g");
    this.pointer = shape("g", { class: "pointer" });
    this.svg.append(this.drawn, this.pointer);

    const follow = (event) => {
      const box = this.svg.getBoundingClientRect();
      this.onPoint(this.view.from + ((event.clientX - box.left) / box.width) * (this.view.to - this.view.from));
    };
    this.plot.addEventListener("pointermove", follow);
    this.plot.addEventListener("pointerdown", follow);
    this.plot.addEventListener("pointerleave", () => this.onPoint(null));
    this.plot.addEventListener("blur", () => this.onPoint(null));
    this.plot.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(([entry]) => {
      const width = Math.round(entry.contentRect.width);
      if (width === this.width) return;
      this.width = width;
      this.svg.setAttribute("width", width);
      this.svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      this.redraw();
    }).observe(this.plot);
  }

  /**
   * @param view {points, from, to, step, starts, away}: points by time, the shown span, when the server started in it,
   *   and whether it does not answer now
   */
  draw(view) {
    this.view = view;
    this.redraw();
  }

  /** Point at the moment, or at nothing. */
  point(at) {
    this.at = at;
    this.drawPointer();
  }

  key(event) {
    const places = this.places();
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -12, PageUp: 12 };
    const here = this.at === null ? places.length : places.indexOf(this.nearest(this.at));
    let next = here + (moves[event.key] ?? NaN);
    if (event.key === "Home") next = 0;
    if (event.key === "End") next = places.length - 1;
    if (event.key === "Escape") this.onPoint(null);
    else if (Number.isNaN(next) || places.length === 0) return;
    else this.onPoint(places[Math.min(places.length - 1, Math.max(0, next))]);
    event.preventDefault();
  }

  /** The shown place nearest to a moment; null where there is none within a step. */
  nearest(at) {
    let best = null;
    for (const place of this.places()) if (best === null || Math.abs(place - at) < Math.abs(best - at)) best = place;
    return best !== null && Math.abs(best - at) <= 1.5 * this.pitch() ? best : null;
  }

  x(at) {
    return ((at - this.view.from) / (this.view.to - this.view.from)) * this.width;
  }

  y(value) {
    return HEIGHT - BOTTOM - (value / this.top) * (HEIGHT - TOP - BOTTOM);
  }

  redraw() {
    if (this.width === 0) return;
    const { from, to, step, points, starts = [] } = this.view;
    const lines = ticks(Math.max(this.options.least, this.most()), this.options.base);
    this.top = lines.at(-1);
    const floor = HEIGHT - BOTTOM;
    const parts = [];
    for (const value of lines) {
      const y = Math.round(this.y(value)) + 0.5;
      parts.push(shape("line", { class: value === 0 ? "floor" : "grid", x1: 0, x2: this.width, y1: y, y2: y }));
    }
    for (const [begin, end] of holes(points, from, to, step)) {
      // Over the lines of the grid, which would strike its words through.
      const [left, right] = [this.x(begin), this.x(Math.min(end, to))];
      parts.push(shape("rect", { class: "hole", x: left, width: Math.max(0, right - left), y: TOP, height: floor - TOP }));
      if (right - left > 90) {
        parts.push(label("no data", { class: "axis", x: (left + right) / 2, y: (TOP + floor) / 2 + 4, "text-anchor": "middle" }));
      }
    }
    const pitch = to - from > 30 * MINUTE ? 15 * MINUTE : to - from > 10 * MINUTE ? 5 * MINUTE : 2 * MINUTE;
    for (let at = Math.ceil(from / pitch) * pitch; at <= to; at += pitch) {
      const x = this.x(at);
      if (x < 18 || x > this.width - 18) continue;
      parts.push(shape("line", { class: "floor", x1: x, x2: x, y1: floor, y2: floor + 4 }));
      parts.push(label(time(at), { class: "axis", x, y: HEIGHT - 5, "text-anchor": "middle" }));
    }
    parts.push(...this.marks());
    for (const at of starts.filter((start) => start > from)) {
      parts.push(shape("line", { class: "start", x1: this.x(at), x2: this.x(at), y1: TOP, y2: floor }));
      if (this.x(at) < 46) continue; // there stand the labels of the lines
      const left = this.x(at) > this.width - 60;
      parts.push(label("started", {
        class: "axis halo", x: this.x(at) + (left ? -4 : 4), y: TOP + 9, "text-anchor": left ? "end" : "start",
      }));
    }
    for (const value of lines.slice(1)) {
      parts.push(label(this.options.format(value), { class: "axis halo", x: 0, y: Math.round(this.y(value)) - 4 }));
    }
    this.drawn.replaceChildren(...parts);
    this.drawPointer();
  }

  drawPointer() {
    if (this.width === 0) return;
    const at = this.at === null ? null : this.nearest(this.at);
    this.describe(at);
    const places = this.places();
    this.plot.setAttribute("aria-valuemin", "0");
    this.plot.setAttribute("aria-valuemax", String(Math.max(0, places.length - 1)));
    this.plot.setAttribute("aria-valuenow", String(Math.max(0, at === null ? places.length - 1 : places.indexOf(at))));
    if (at === null) {
      this.pointer.replaceChildren();
      return;
    }
    const x = Math.round(this.x(this.middle(at))) + 0.5;
    const text = label(this.moment(at), { class: "moment", x: Math.min(this.width - 28, Math.max(28, x)), y: HEIGHT - 5, "text-anchor": "middle" });
    this.pointer.replaceChildren(
      shape("line", { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
      ...this.dots(at),
      shape("rect", { class: "under", x: x - 50, y: HEIGHT - BOTTOM + 5, width: 100, height: BOTTOM }),
      shape("rect", { class: "chip", x: Math.min(this.width - 56, Math.max(0, x - 28)), y: HEIGHT - BOTTOM + 2, width: 56, height: BOTTOM - 2, rx: 4 }),
      text,
    );
  }

  /** Show the values, and say them to who cannot see the chart. @param items [{label, text, className}] */
  show(at, items) {
    this.values.replaceChildren(
      ...items.map(({ label: name, text, className }) =>
        make("li", { class: className }, make("i", { class: "key" }), make("b", {}, text), " ", make("span", {}, name)),
      ),
    );
    const said = items.map(({ label: name, text }) => `${name} ${text}`.trim()).join(", ") || "nothing";
    const now = this.view.away ? "Last known" : "Now";
    this.plot.setAttribute("aria-valuetext", `${at === null ? now : this.moment(at)}: ${said}`);
  }
}

/** Values over time as lines. `series`: [{key, label, className, value?: (point) => number | null, area?: boolean}]. */
export class Lines extends Chart {
  constructor(parent, options, onPoint) {
    super(parent, options, onPoint);
    this.series = options.series.map((series) => ({ value: (point) => point[series.key], ...series }));
  }

  places() {
    return this.view.points.map((point) => point.at);
  }

  pitch() {
    return this.view.step;
  }

  middle(at) {
    return at;
  }

  moment(at) {
    return timeWithSeconds(at);
  }

  most() {
    let most = 0;
    for (const { value } of this.series) for (const point of this.view.points) most = Math.max(most, value(point) ?? 0);
    return most;
  }

  marks() {
    const floor = HEIGHT - BOTTOM;
    return this.series.flatMap(({ value, className, area }) => {
      const runs = [];
      let last = null;
      for (const point of this.view.points) {
        const known = value(point);
        if (known === null || known === undefined) {
          last = null;
          continue;
        }
        const joined = last !== null && point.at - last.at <= 2.5 * this.view.step && point.run === last.run;
        if (!joined) runs.push([]);
        runs.at(-1).push([this.x(point.at).toFixed(1), this.y(known).toFixed(1)]);
        last = point;
      }
      const line = runs.map((run) => `M${run.map((place) => place.join(" ")).join("L")}${run.length === 1 ? "h.01" : ""}`);
      const under = runs.map((run) => `M${run[0][0]} ${floor}L${run.map((place) => place.join(" ")).join("L")}V${floor}Z`);
      return [
        ...(area ? [shape("path", { class: `area ${className}`, d: under.join("") })] : []),
        shape("path", { class: `line ${className}`, d: line.join("") }),
      ];
    }).reverse(); // the first series on top
  }

  dots(at) {
    const point = this.view.points.find((each) => each.at === at);
    return this.series
      .map(({ value, className }) => [value(point), className])
      .filter(([value]) => value !== null && value !== undefined)
      .map(([value, className]) => shape("circle", { class: className, cx: this.x(at), cy: this.y(value), r: 3.5 }));
  }

  describe(at) {
    const { points, to } = this.view;
    const known = (point) => this.series.some(({ value }) => (value(point) ?? null) !== null);
    let point = at === null ? points.at(-1) : points.find((each) => each.at === at);
    let age = null;
    if (at === null && this.options.ago && point && !known(point)) {
      point = points.findLast(known);
      if (point) age = to - point.at;
    }
    const items = this.series.map(({ label: name, className, value }) => {
      const text = point ? (value(point) ?? null) : null;
      return { label: name, className, text: text === null ? "–" : this.options.format(text) };
    });
    if (age !== null) items.push({ label: this.options.ago(age), className: "none", text: "" });
    this.show(at, items);
  }
}

/** Counts by code as stacked bars. `colours`: code → class name, from the bottom up; whatever is not in it is on top. */
export class Bars extends Chart {
  constructor(parent, options, onPoint) {
    super(parent, options, onPoint);
    this.buckets = new Map();
  }

  draw(view) {
    const span = view.to - view.from;
    const pitch = span > 30 * MINUTE ? MINUTE : span > 10 * MINUTE ? MINUTE / 2 : MINUTE / 6;
    this.width_ms = pitch;
    this.buckets = new Map();
    for (const point of view.points) {
      // A point tells of the step before it.
      const begin = Math.floor((point.at - view.step / 2) / pitch) * pitch;
      const counts = this.buckets.get(begin) ?? new Map();
      this.buckets.set(begin, counts);
      for (const [code, count] of Object.entries(point[this.options.key])) {
        counts.set(code, (counts.get(code) ?? 0) + count);
      }
    }
    super.draw(view);
  }

  places() {
    return [...this.buckets.keys()];
  }

  pitch() {
    return this.width_ms;
  }

  nearest(at) {
    const begin = Math.floor(at / this.width_ms) * this.width_ms;
    return this.buckets.has(begin) ? begin : null;
  }

  middle(at) {
    return at + this.width_ms / 2;
  }

  moment(at) {
    return this.width_ms < MINUTE ? timeWithSeconds(at) : time(at);
  }

  className(code) {
    return this.options.colours[code] ?? "other";
  }

  order(codes) {
    const known = Object.keys(this.options.colours);
    const rank = (code) => (known.includes(code) ? known.indexOf(code) : known.length);
    return [...codes].sort((a, b) => rank(a) - rank(b) || a.localeCompare(b));
  }

  most() {
    let most = 0;
    for (const counts of this.buckets.values()) most = Math.max(most, [...counts.values()].reduce((sum, each) => sum + each, 0));
    return most;
  }

  marks() {
    const bars = [];
    for (const [begin, counts] of this.buckets) {
      const left = Math.max(0, this.x(begin));
      const width = Math.max(1, Math.min(this.width, this.x(begin + this.width_ms)) - left - 1);
      let below = 0;
      for (const code of this.order(counts.keys())) {
        const [low, high] = [this.y(below), this.y(below + counts.get(code))];
        below += counts.get(code);
        // A hairline between the parts, so that they are told apart without their colours.
        const height = low - high > 3 ? low - high - 1 : low - high;
        bars.push(shape("rect", { class: `bar ${this.className(code)}`, x: left, width, y: high, height }));
      }
    }
    return bars;
  }

  dots() {
    return [];
  }

  describe(at) {
    // The codes stay the same while one points, so that nothing moves; the counts are those of the bar.
    const all = new Map();
    for (const each of this.buckets.values()) for (const [code, count] of each) all.set(code, (all.get(code) ?? 0) + count);
    const counts = at === null ? all : this.buckets.get(at);
    const codes = [...all.keys()].sort((a, b) => all.get(b) - all.get(a) || a.localeCompare(b));
    const items = codes.map((code) => ({
      label: code, className: this.className(code), text: this.options.format(counts.get(code) ?? 0),
    }));
    this.show(at, items.length ? items : [{ label: "nobody", className: "none", text: "" }]);
  }
}
