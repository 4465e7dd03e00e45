import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Port 3000 on this machine: the origin that the server allows by default. strictPort, because another port is another
// origin, which the server would refuse.
const address = { host: "127.0.0.1", port: 3000, strictPort: true };

export default defineConfig({
  plugins: [react()],
  envPrefix: ["VITE_", "NEXT_PUBLIC_"],
  // The client is a link into this repository, and must not bring a second React along; installed from npm it does not.
  resolve: { dedupe: ["react", "react-dom", "socket.io-client"] },
  server: address,
  preview: address,
});
