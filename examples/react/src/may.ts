/** What one may still do with one's own messages. The server decides; this is for not offering what it would refuse. */
import { isNotice, isStored, type Row } from "./Bubble";

/** @param windowS how long after it was sent, in seconds: -1 for ever, 0 never */
export function mayChange(row: Row, me: string, windowS = -1): boolean {
  if (!isStored(row)) return true; // it waits here
  if (row.senderId !== me || isNotice(row) || row.deletedAt !== undefined) return false;
  return windowS < 0 || Date.now() < row.createdAt + windowS * 1_000;
}
