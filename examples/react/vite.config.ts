import react from "@vitejs/plugin-react";
import { defineConfig, loadEnv } from "vite";

// Port 3000 on this machine: the origin that the server allows by default. strictPort, because another port is another
// origin, which the server would refuse.
const address = { host: "127.0.0.1", port: 3000, strictPort: true };
const prefixes = ["VITE_", "NEXT_PUBLIC_"];

export default defineConfig(({ mode }) => {
  const { VITE_WEBSOCKET_URL, NEXT_PUBLIC_WEBSOCKET_URL } = loadEnv(mode, ".", prefixes);
  const chat = (VITE_WEBSOCKET_URL ?? NEXT_PUBLIC_WEBSOCKET_URL ?? "http://localhost:3001").replace(/^ws/u, "http");
  // The way to the chat server is laid while the script is still on its way here.
  const preconnect = { tag: "link", attrs: { rel: "preconnect", href: new URL(chat).origin, crossorigin: "" } };
  return {
    plugins: [react(), { name: "preconnect", transformIndexHtml: () => [preconnect] }],
    envPrefix: prefixes,
    // The client is a link into this repository, and must not bring a second React along; installed from npm it does not.
    resolve: { dedupe: ["react", "react-dom", "socket.io-client"] },
    server: address,
    preview: address,
  };
});
