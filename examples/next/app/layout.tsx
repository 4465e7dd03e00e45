import type { Viewport } from "next";
import type { ReactNode } from "react";
import { Language } from "@/components/Language";
import { language } from "@/lib/language";
import "./style.css";

export const viewport: Viewport = { colorScheme: "light dark", interactiveWidget: "resizes-content" };

export default async function RootLayout({ children }: { children: ReactNode }) {
  const lang = await language();
  return (
    <html lang={lang}>
      <body>
        <Language lang={lang}>{children}</Language>
      </body>
    </html>
  );
}
