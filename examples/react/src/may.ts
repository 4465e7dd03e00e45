/** What one may do, by the clock and by one's role. The server decides; this is for not offering what it would refuse. */
import type { Participant } from "chat-socketserver-client/wire";
import { isNotice, isStored, type Row } from "./Bubble";

/** @param windowS how long after it was sent, in seconds: -1 for ever, 0 never */
export function mayChange(row: Row, me: string, windowS = -1): boolean {
  if (!isStored(row)) return true; // it waits here
  if (row.senderId !== me || isNotice(row) || row.deletedAt !== undefined) return false;
  return windowS < 0 || Date.now() < row.createdAt + windowS * 1_000;
}

type Role = Participant["role"];

/** Whether one runs the group: adds people, and changes its title. Whether its members add people the server does not tell. */
export const mayRun = (role: Role | null) => role === "owner" || role === "admin";

/** Whether one may remove somebody with the role `of`. */
export const mayRemove = (role: Role | null, of: Role) => role === "owner" || (role === "admin" && of === "member");

/** Whether one may give somebody another role: a group keeps an owner. */
export const maySetRole = (role: Role | null, of: Role, owners: number) => role === "owner" && (of !== "owner" || owners > 1);
