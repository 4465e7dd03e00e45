import { headers } from "next/headers";

/** French for a browser that asks for French first, English for all others. */
export async function language(): Promise<"en" | "fr"> {
  const wanted = (await headers()).get("accept-language") ?? "";
  return /^fr\b/iu.test(wanted) ? "fr" : "en";
}
