// A stock client that answers what it is asked: node acker.cjs URL TRANSPORTS; prints how often when it is told `done`.
"use strict";

const { io } = require("socket.io-client");

const socket = io(process.argv[2], { transports: process.argv[3].split(","), forceNew: true });
let answered = 0;
socket.on("disconnect", (reason) => process.stdout.write(`disconnect ${reason}\n`));
socket.on("ask", (number, ack) => {
  answered += 1;
  ack(number);
});
socket.on("done", () => {
  process.stdout.write(`answered ${answered}\n`);
  socket.close();
});
