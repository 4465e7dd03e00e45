// socket.io on Node's http server, with its defaults.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { origin, port, register } from "./chat.mjs";

const httpServer = createServer();
register(new Server(httpServer, { cors: { origin } }));
httpServer.listen(port, "127.0.0.1");
