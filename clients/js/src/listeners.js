// Listeners of one thing. Each is told; one that throws keeps none of the others from it.

export class Listeners {
  /** @type {Set<() => void>} */
  #all = new Set();

  /** @param {() => void} listener @returns {() => void} takes it away; again is fine */
  add = (listener) => {
    const own = () => listener(); // the same function twice is two listeners
    this.#all.add(own);
    return () => void this.#all.delete(own);
  };

  tell() {
    for (const listener of [...this.#all]) {
      try {
        listener();
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
