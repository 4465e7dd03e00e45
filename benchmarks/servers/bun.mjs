// socket.io on Bun's own server, with its defaults.
import { Server as Engine } from "@socket.io/bun-engine";
import { Server } from "socket.io";
import { origin, port, register } from "./chat.mjs";

const io = new Server();
const engine = new Engine({ path: "/socket.io/", cors: { origin } });
io.bind(engine);
register(io);
Bun.serve({ ...engine.handler(), hostname: "127.0.0.1", port });
