"use server";

import { redirect } from "next/navigation";
import { forget, idOf, remember } from "@/lib/session";

export async function logIn(form: FormData): Promise<void> {
  const name = String(form.get("name")).trim().slice(0, 100);
  if (idOf(name) === "") return;
  await remember(name);
  redirect("/messages");
}

export async function logOut(): Promise<void> {
  await forget();
  redirect("/");
}
