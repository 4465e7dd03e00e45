// Which rows of a long history stand in the page: those on the screen and some beyond, at most 150 or so of thousands.
//
// The scroller is laid out from its bottom (`column-reverse`): its scrollTop is 0 there, and negative above. So all places here
// are distances from the end of the list, and what loads above moves nothing. What comes or grows below is made up for: the
// first row on the screen stays where it is, unless one is at the end and follows the newest. No framework: whoever draws hands
// over the keys of all rows and which of them stand in the page, after drawing, and is told which ones should.

/** Drawn beyond the screen, above and below, in px; drawn anew when half of it is used up. */
const BEYOND_PX = 900;
/** Who is nearer to the end follows the newest. */
export const NEAR_END_PX = 60;
/** Of rows that were never drawn, until there is a mean. */
const ROW_PX = 46;
/** A selection, or the focus, keeps its rows in the page as long as there are no more in between. */
const MOST_KEPT = 400;
/** Frames in a row in which a place that cannot be reached is tried again. */
const MOST_TRIES = 30;

/**
 * @typedef {object} Elements
 * @property {HTMLElement} scroller
 * @property {HTMLElement} list  its children are the drawn rows
 * @property {HTMLElement} above  stands before the list, for the rows before the first drawn one
 * @property {HTMLElement} below  stands behind it
 *
 * @typedef {{start: number, end: number}} Range  rows as numbers from the end: the last 60 are `{start: 60, end: 0}`
 * @typedef {{key: string, px: number}} Anchor  a row, and how far its upper edge is above the lower edge of the screen
 */

/** What to draw first, when nothing is measured. @type {Range} */
export const NEWEST = Object.freeze({ start: 50, end: 0 });

export class VirtualList {
  #elements;
  #onRange;
  #observer;
  /** @type {readonly string[]} */
  #keys = [];
  /** The first row that is drawn. */
  #from = 0;
  /** By key, measured. @type {Map<string, number>} */
  #heights = new Map();
  #sum = 0;
  /** From the end of the list up to the upper edge of each row, and a 0 for the end itself. */
  #edges = new Float64Array(1);
  /** The row that does not move; null: the end is followed. @type {Anchor | null} */
  #anchor = null;
  #width = 0;
  #tries = 0;
  /** Where this side has scrolled to: what is rounded there must not add up. */
  #scrolledTo = NaN;

  /** @param {Elements & {onRange: (range: Range) => void}} init  `onRange`: draw these, then call `drawn` */
  constructor({ onRange, ...elements }) {
    this.#elements = elements;
    this.#onRange = onRange;
    this.#observer = new ResizeObserver(() => this.drawn(this.#keys, this.#from));
    this.#observer.observe(elements.list);
    this.#observer.observe(elements.scroller);
  }

  close() {
    this.#observer.disconnect();
  }

  /** Whether one is at the end, and new rows move the others up. */
  get following() {
    return this.#anchor === null;
  }

  /** Where one is, to come back to with `restore`; null at the end. @returns {Anchor | null} */
  get place() {
    return this.#anchor;
  }

  /** How much of the list is above the screen, in px. */
  get before() {
    return this.#edge(0) - this.#end() - this.#elements.scroller.clientHeight;
  }

  /** The rows are in the page: measure them, and see that nothing has moved. @param {readonly string[]} keys of all rows @param {number} from the first drawn */
  drawn(keys, from) {
    const { list, scroller } = this.#elements;
    this.#keys = keys;
    this.#from = from;
    if (this.#width !== scroller.clientWidth) {
      this.#width = scroller.clientWidth;
      this.#heights.clear(); // they break their lines elsewhere
      this.#sum = 0;
    }
    [...list.children].forEach((row, i) => this.#measured(keys[from + i] ?? "", row.getBoundingClientRect().height));
    this.#add();
    this.#settle();
    this.#choose();
  }

  /** The scroller has been scrolled. */
  scrolled() {
    if (this.#elements.scroller.scrollTop === this.#scrolledTo) return this.#choose();
    this.#scrolledTo = NaN;
    const end = this.#end();
    const [first] = this.visible();
    const key = this.#keys[first];
    this.#anchor = end < NEAR_END_PX || key === undefined ? null : { key, px: this.#edge(first) - end };
    this.#choose();
  }

  /** The first row on the screen, and the last one whose lower edge is. @returns {[number, number]} */
  visible() {
    const end = this.#end();
    const first = this.#below(end + this.#elements.scroller.clientHeight);
    const cut = this.#below(end - 1);
    return [first, Math.max(first, this.#edge(cut + 1) < end - 1 ? cut - 1 : cut)];
  }

  /** To the end, and follow it. */
  toEnd() {
    this.#anchor = null;
    this.#elements.scroller.scrollTop = 0;
    this.#choose();
  }

  /** Bring a row to the upper edge of the screen. @param {string} key @param {number} [px] below the edge @returns {boolean} whether there is such a row */
  show(key, px = 48) {
    return this.restore({ key, px: this.#elements.scroller.clientHeight - px });
  }

  /** Go back to where one was. @param {Anchor} place @returns {boolean} whether its row is there */
  restore(place) {
    if (!this.#keys.includes(place.key)) return false;
    this.#anchor = place;
    this.#settle();
    if (this.#end() < NEAR_END_PX) this.#anchor = null;
    this.#choose();
    return true;
  }

  /** @param {string} key @param {number} height */
  #measured(key, height) {
    this.#sum += height - (this.#heights.get(key) ?? 0);
    this.#heights.set(key, height);
  }

  #add() {
    const count = this.#keys.length;
    const mean = this.#heights.size > 0 ? this.#sum / this.#heights.size : ROW_PX;
    if (this.#edges.length !== count + 1) this.#edges = new Float64Array(count + 1);
    for (let i = count - 1; i >= 0; i -= 1) {
      this.#edges[i] = this.#edge(i + 1) + (this.#heights.get(this.#keys[i] ?? "") ?? mean);
    }
  }

  /** Room for what is not drawn; then the anchor to where it was. */
  #settle() {
    const { above, below, list, scroller } = this.#elements;
    const to = this.#from + list.children.length;
    above.style.height = `${this.#edge(0) - this.#edge(this.#from)}px`;
    below.style.height = `${this.#edge(to)}px`;
    if (this.#anchor === null) return;
    const index = this.#keys.lastIndexOf(this.#anchor.key);
    if (index < 0) return;
    const moved = this.#edge(index) - this.#anchor.px - this.#end();
    if (Math.abs(moved) < 1) return;
    const wanted = scroller.scrollTop - moved;
    scroller.scrollTop = wanted;
    this.#scrolledTo = scroller.scrollTop;
    // Chromium may know of the new heights only some frames later, and stops where the list ended before.
    const short = Math.abs(wanted - this.#scrolledTo) >= 1 && this.#tries < MOST_TRIES;
    this.#tries = short ? this.#tries + 1 : 0;
    if (short) requestAnimationFrame(() => this.drawn(this.#keys, this.#from));
  }

  /** See whether what is drawn is enough for where one is. */
  #choose() {
    const { list, scroller } = this.#elements;
    const count = this.#keys.length;
    const end = this.#end();
    const to = this.#from + list.children.length;
    const reach = (/** @type {number} */ px) => [this.#below(end + scroller.clientHeight + px), this.#below(end - px) + 1];
    const [needFrom = 0, needTo = 0] = reach(BEYOND_PX / 2);
    let [from = 0, until = 0] = reach(BEYOND_PX);
    for (const index of this.#inUse()) {
      if (Math.max(until, index + 1) - Math.min(from, index) > MOST_KEPT) continue;
      from = Math.min(from, index);
      until = Math.max(until, index + 1);
    }
    const enough = this.#from <= needFrom && Math.min(count, needTo) <= to;
    const tooMany = list.children.length > 2 * (until - from) + 20;
    if (enough && !tooMany) return;
    this.#onRange({ start: count - from, end: Math.max(0, count - until) });
  }

  /** The drawn rows in which the selection begins and ends, and the one with the focus. */
  #inUse() {
    const { list } = this.#elements;
    const selection = document.getSelection();
    const ends = selection?.isCollapsed === false ? [selection.anchorNode, selection.focusNode] : [];
    const rows = [...list.children];
    return [...ends, document.activeElement]
      .map((node) => (node && list.contains(node) ? rows.findIndex((row) => row.contains(node)) : -1))
      .filter((index) => index >= 0)
      .map((index) => this.#from + index);
  }

  /** From the end of the list up to the lower edge of the screen; less than 0 where something stands behind the list. */
  #end() {
    const { below, scroller } = this.#elements;
    return below.getBoundingClientRect().bottom - scroller.getBoundingClientRect().bottom;
  }

  /** @param {number} index */
  #edge(index) {
    return this.#edges[Math.min(index, this.#keys.length)] ?? 0;
  }

  /** The first row whose lower edge is below that place; the last one at the most. @param {number} px */
  #below(px) {
    let low = 0;
    let high = Math.max(0, this.#keys.length - 1);
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#edge(middle + 1) < px) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
