// What one may do, by the clock and by one's role. The server decides; this is for not offering what it would refuse.

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

/** @typedef {"owner" | "admin" | "member"} Role */

/**
 * Whether one runs the group: adds people, and changes its title. Whether its members add people the server does not tell.
 *
 * @param {Role | null} role
 */
export const mayRun = (role) => role === "owner" || role === "admin";

/**
 * Whether one may remove somebody with the role `of`.
 *
 * @param {Role | null} role @param {Role} of
 */
export const mayRemove = (role, of) => role === "owner" || (role === "admin" && of === "member");

/**
 * Whether one may give somebody another role: a group keeps an owner.
 *
 * @param {Role | null} role @param {Role} of @param {number} owners  how many there are
 */
export const maySetRole = (role, of, owners) => role === "owner" && (of !== "owner" || owners > 1);
