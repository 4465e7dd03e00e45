/** The field to write in. It has a state of its own, so that a key pressed does not draw the history again. */
import { useEffect, useRef, useState } from "react";
import { useStatus } from "chat-socketserver-client/react";
import { words } from "../../shared/words.js";
import { draftOf, keepDraft } from "./drafts";
import { Icon } from "./ui";

const MOST_CHARS = 4_000; // until the server has said its own bound
/** A finger has no pointer that is fine: the keyboard would cover half of what one came to read. */
const mayFocus = () => matchMedia("(pointer: fine)").matches;

interface Props {
  conversationId: string;
  onSend: (body: string) => boolean;
  onTyping: (typing: boolean) => void;
}

export function Composer({ conversationId, onSend, onTyping }: Props) {
  const [text, setText] = useState(() => draftOf(conversationId));
  const [notice, setNotice] = useState<string | null>(null);
  const { limits } = useStatus();
  const field = useRef<HTMLTextAreaElement>(null);
  const most = limits?.bodyChars ?? MOST_CHARS;
  const left = most === 0 ? Infinity : most - Array.from(text).length;
  const sendable = text.trim() !== "" && left >= 0;

  useEffect(() => {
    if (mayFocus()) field.current?.focus();
  }, []);

  // A file that is dropped anywhere would be opened in place of the page.
  useEffect(() => {
    const stop = (event: DragEvent) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "none";
      setNotice(words.noFiles);
    };
    window.addEventListener("dragover", stop);
    window.addEventListener("drop", stop);
    return () => {
      window.removeEventListener("dragover", stop);
      window.removeEventListener("drop", stop);
    };
  }, []);

  const send = () => {
    if (!sendable) return;
    onTyping(false);
    const taken = onSend(text.replace(/^(?:[^\S\n]*\n)+/u, "").trimEnd()); // the indent of the first line is a part of it
    setNotice(taken ? null : words.outboxFull);
    if (!taken) return;
    setText("");
    keepDraft(conversationId, "");
  };

  return (
    <form
      className="column composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <p className={notice !== null || left < 0 ? "counter over" : "counter"} role="status" hidden={notice === null && left >= 200}>
        {notice ?? (left < 0 ? words.tooLong(most, -left) : left < 200 && left)}
      </p>
      <textarea
        ref={field}
        aria-label={words.message}
        placeholder={words.write}
        rows={1}
        dir="auto"
        enterKeyHint="send"
        value={text}
        onChange={(event) => {
          setText(event.target.value);
          setNotice(null);
          keepDraft(conversationId, event.target.value);
          onTyping(event.target.value !== "");
        }}
        onPaste={(event) => {
          const { files, types } = event.clipboardData;
          if (files.length > 0 && !types.includes("text/plain")) setNotice(words.noFiles);
        }}
        onBlur={() => onTyping(false)}
        onKeyDown={(event) => {
          // Safari sends the Enter that ends a composition behind its end, and only this code tells.
          // eslint-disable-next-line @typescript-eslint/no-deprecated
          const composing = event.nativeEvent.isComposing || event.keyCode === 229;
          if (event.key !== "Enter" || event.shiftKey || composing) return;
          event.preventDefault();
          send();
        }}
      />
      <button className="send" type="submit" aria-label={words.send} title={words.sendKey} disabled={!sendable}>
        <Icon name="send" />
      </button>
    </form>
  );
}
