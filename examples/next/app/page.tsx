import { redirect } from "next/navigation";
import { Login } from "@/components/Login";
import { currentUser } from "@/lib/session";

export default async function Page() {
  if (await currentUser()) redirect("/messages");
  return <Login />;
}
