// What one may still do with one's own messages. The server decides; this is for not offering what it would refuse.

/**
 * @param {{seq?: number, senderId?: string, createdAt: number, deletedAt?: number, kind?: string}} row  a message; without `seq` it waits here
 * @param {string} me
 * @param {number} [windowS]  how long after it was sent, in seconds: -1 for ever, 0 never
 */
export function mayChange(row, me, windowS = -1) {
  if (row.seq === undefined) return true;
  if (row.senderId !== me || row.deletedAt !== undefined || row.kind === "system") return false;
  return windowS < 0 || Date.now() < row.createdAt + windowS * 1_000;
}
