// The web addresses in a text.

const ADDRESS = /(?:https?:\/\/|www\.(?=[^\s.]+\.[^\s.]))[^\s<>"]+/giu;
const TRAILING = /[.,;:!?'’”»…]$/u;
const PAIRS = { ")": "(", "]": "[", "}": "{" };

/**
 * A text in pieces, those that are addresses with what they lead to. A bracket or a full stop behind an address is the
 * sentence's, and not the address's, unless the address has opened the bracket.
 *
 * @param {string} text
 * @returns {{text: string, href?: string}[]}
 */
export function linked(text) {
  const pieces = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(ADDRESS)) {
    if (index > 0 && /[\p{L}\p{N}_/@]/u.test(text[index - 1] ?? "")) continue; // the middle of a word
    const address = bare(found);
    if (!/^(?:https?:\/\/|www\.)[^/?#]*[\p{L}\p{N}\]]/iu.test(address)) continue; // no host
    if (index > end) pieces.push({ text: text.slice(end, index) });
    end = index + address.length;
    pieces.push({ text: address, href: /^www/iu.test(address) ? `https://${address}` : address });
  }
  if (end < text.length) pieces.push({ text: text.slice(end) });
  return pieces;
}

/** @param {string} address */
function bare(address) {
  const counts = new Map();
  for (const character of address) counts.set(character, (counts.get(character) ?? 0) + 1);
  let end = address.length;
  for (; end > 0; end -= 1) {
    const last = address.charAt(end - 1);
    const opening = PAIRS[/** @type {keyof typeof PAIRS} */ (last)];
    if (opening === undefined ? !TRAILING.test(last) : counts.get(last) <= (counts.get(opening) ?? 0)) break;
    counts.set(last, counts.get(last) - 1);
  }
  return address.slice(0, end);
}
