// socket.io on Node's http server, which keeps every message in MongoDB: one insertOne each, acknowledged as durably and
// under the same unique indexes as in socketserver.
import { createServer } from "node:http";
import { MongoClient } from "mongodb";
import { Server } from "socket.io";
import { origin, port, register } from "./chat.mjs";

const client = await MongoClient.connect(process.env.BENCH_MONGO_URL);
const messages = client.db().collection("messages", { writeConcern: { w: "majority", journal: true } });
await messages.createIndex({ conversationId: 1, senderId: 1, idempotencyKey: 1 }, { unique: true });
await messages.createIndex({ conversationId: 1, seq: 1 }, { unique: true });
await messages.createIndex({ conversationId: 1, change: 1 }, { unique: true });

const httpServer = createServer();
register(new Server(httpServer, { cors: { origin } }), ({ id, ...rest }) => messages.insertOne({ _id: id, ...rest }));
httpServer.listen(port, "127.0.0.1");
