// What can be listened to. Each listener is told; one that throws keeps none of the others from it.

export class Listenable {
  /** @type {Set<() => void>} */
  #all = new Set();

  /** Hear that it changed. @param {() => void} listener @returns {() => void} takes it away; again is fine */
  subscribe = (listener) => {
    const own = () => listener(); // the same function twice is two listeners
    this.#all.add(own);
    return () => void this.#all.delete(own);
  };

  /** For the package. */
  notify() {
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
