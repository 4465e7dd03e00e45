"use client";

import { ChatError, newKey } from "chat-socketserver-client";
import { useChat } from "chat-socketserver-client/react";
import { useRouter } from "next/navigation";
import { useState } from "react";
import { useWords } from "./Language";

/** One name makes a conversation of two, of which there is only one; several make a group. */
export function NewConversation() {
  const words = useWords();
  const chat = useChat();
  const router = useRouter();
  const [key, setKey] = useState(newKey); // the same until it has worked: trying again makes no second group
  const [problem, setProblem] = useState<string | null>(null);

  const create = async (form: FormData) => {
    // Your application has ids to choose from; here they are the names in lower case.
    const participantIds = String(form.get("people")).toLowerCase().split(",").map((id) => id.trim()).filter(Boolean);
    if (participantIds.length === 0) return;
    try {
      const { id } = await chat.createConversation({ participantIds, idempotencyKey: key });
      setKey(newKey());
      setProblem(null);
      router.push(`/messages/${id}`);
    } catch (error) {
      if (!(error instanceof ChatError)) throw error;
      setProblem(error.code === "disconnected" ? words.notConnected : error.message);
    }
  };

  return (
    <form action={create} className="new">
      <label htmlFor="people">{words.newWith}</label>
      <div>
        <input id="people" name="people" required autoCapitalize="none" autoComplete="off" spellCheck={false} dir="auto" aria-describedby="several problem" />
        <button className="primary">{words.start}</button>
      </div>
      <small id="several">{words.several}</small>
      <p id="problem" role="alert">
        {problem}
      </p>
    </form>
  );
}
