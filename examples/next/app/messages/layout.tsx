import { redirect } from "next/navigation";
import type { ReactNode } from "react";
import { Messages } from "@/components/Messages";
import { currentUser } from "@/lib/session";

/** Stays while one goes from conversation to conversation, and so does the connection. */
export default async function MessagesLayout({ children }: { children: ReactNode }) {
  const me = await currentUser();
  if (me === null) redirect("/");
  return <Messages me={me}>{children}</Messages>;
}
