"use client";

import { useEffect, useState } from "react";
import { io } from "socket.io-client";

/** Connects with the options and the token of its address, and says what comes of it. */
export default function Page() {
  const [state, setState] = useState({ status: "connecting" });
  const [messages, setMessages] = useState([]);
  useEffect(() => {
    const { token, transports, slash } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
    const socket = io({
      addTrailingSlash: slash !== "no",
      auth: { token },
      transports: transports.split("-"),
      reconnectionDelay: 100,
    });
    const transport = () => socket.io.engine.transport.name;
    socket.on("welcome", async () => {
      setState({ status: "welcome", transport: transport() });
      const { conversation } = await socket.emitWithAck("create_conversation", { participantIds: ["ben"] });
      await socket.emitWithAck("join_conversation", { conversationId: conversation.id });
      setState({ status: "joined", transport: transport(), conversationId: conversation.id });
      await socket.emitWithAck("send_message", {
        ...{ conversationId: conversation.id, body: "from Next.js", idempotencyKey: crypto.randomUUID() },
      });
    });
    socket.io.on("open", () => {
      socket.io.engine.on("upgrade", () => setState((old) => ({ ...old, transport: transport() })));
    });
    socket.on("message_created", ({ message }) => setMessages((old) => [...old, message.body]));
    socket.on("connect_error", (error) => setState({ status: `connect_error: ${error.message}` }));
    return () => void socket.disconnect();
  }, []);
  return (
    <main data-status={state.status} data-transport={state.transport} data-conversation={state.conversationId}>
      <ul>
        {messages.map((body, at) => (
          <li key={at}>{body}</li>
        ))}
      </ul>
    </main>
  );
}
