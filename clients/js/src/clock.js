// Time, as far as a test may set it.

/**
 * @typedef {object} Clock
 * @property {() => number} now  milliseconds that only grow
 * @property {() => number} wall  milliseconds since 1970
 * @property {(act: () => void, ms: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {() => number} random  from 0 to 1
 */

/** @type {Clock} */
export const CLOCK = {
  now: () => performance.now(),
  wall: () => Date.now(),
  setTimeout: (act, ms) => setTimeout(act, ms),
  clearTimeout: (timer) => clearTimeout(timer),
  random: Math.random,
};
