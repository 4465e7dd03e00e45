// The browser's page, if there is one: what is listened to, and whether somebody looks at it.

/**
 * Listen to events of the page. In Node and React Native there are none.
 *
 * @param {any} page  `window`, or what stands for it
 * @param {Record<string, () => void>} acts  by the event's type
 * @returns {() => void} ends it
 */
export function listenTo(page, acts) {
  const each = (/** @type {"addEventListener" | "removeEventListener"} */ how) => {
    for (const [type, act] of Object.entries(acts)) (type === "visibilitychange" ? page.document : page)?.[how]?.(type, act);
  };
  each("addEventListener");
  return () => each("removeEventListener");
}

/** Whether somebody looks at the page: it is on the screen and has the focus. Where there is no page, yes. */
export function isLookedAt() {
  const { document } = globalThis;
  return !document || (document.visibilityState === "visible" && document.hasFocus());
}
