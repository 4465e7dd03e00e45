"use client";

import { ChatError } from "chat-socketserver-client";
import { useState, type KeyboardEvent } from "react";
import { useWords } from "./Language";

/** The field to write in, and its button. `onSend` throws if too much waits already; then the text stays. */
export function Composer({ onSend, onTyping }: { onSend: (body: string) => void; onTyping: (typing: boolean) => void }) {
  const words = useWords();
  const [text, setText] = useState("");
  const [full, setFull] = useState(false);

  const send = () => {
    if (text.trim() === "") return;
    try {
      onSend(text.trim());
      setText("");
      setFull(false);
    } catch (error) {
      if (!(error instanceof ChatError)) throw error;
      setFull(true);
    }
  };
  const sendOnEnter = (event: KeyboardEvent) => {
    // Safari sends the Enter that ends a composition behind its end: then only the key code tells.
    const composing = event.nativeEvent.isComposing || event.keyCode === 229;
    if (event.key !== "Enter" || event.shiftKey || composing) return;
    event.preventDefault();
    send();
  };

  return (
    <form className="composer" action={send}>
      {full && <p role="alert">{words.full}</p>}
      <textarea
        aria-label={words.write}
        placeholder={words.write}
        rows={1}
        dir="auto"
        enterKeyHint="send"
        value={text}
        onChange={({ target }) => {
          setText(target.value);
          onTyping(target.value !== "");
        }}
        onKeyDown={sendOnEnter}
      />
      <button className="primary" disabled={text.trim() === ""}>
        {words.send}
      </button>
    </form>
  );
}
