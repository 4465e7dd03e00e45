/** The field to write in. It has a state of its own, so that a key pressed does not draw the history again. */
import { useEffect, useId, useRef, useState } from "react";
import { useStatus } from "chat-socketserver-client/react";
import { draftOf, keepDraft } from "../../shared/drafts.js";
import { candidates, mentionAt, mentioned, type Person } from "../../shared/mentions.js";
import { words } from "../../shared/words.js";
import { Avatar, Icon } from "./ui";

const MOST_CHARS = 4_000; // until the server has said its own bound
/** A finger has no pointer that is fine: the keyboard would cover half of what one came to read. */
const mayFocus = () => matchMedia("(pointer: fine)").matches;

/** What is written is an edit of a message, or the answer to one. */
export interface Task {
  kind: "edit" | "reply";
  title: string;
  /** Of the message. */
  text: string;
}

interface Props {
  conversationId: string;
  task: Task | null;
  /** Those who can be mentioned. */
  people: readonly Person[];
  /** Returns whether it was taken. */
  onSend: (body: string, mentions: string[]) => boolean;
  onTyping: (typing: boolean) => void;
  onEditLast: () => void;
  /** The task is given up. */
  onCancel: () => void;
}

export function Composer({ conversationId, task, people, onSend, onTyping, onEditLast, onCancel }: Props) {
  const [text, setText] = useState(() => (task?.kind === "edit" ? task.text : draftOf(conversationId)));
  const [notice, setNotice] = useState<string | null>(null);
  const [caret, setCaret] = useState(0);
  const [chosen, setChosen] = useState(0);
  const { limits } = useStatus();
  const field = useRef<HTMLTextAreaElement>(null);
  const id = useId();
  const editing = task?.kind === "edit";
  const most = limits?.bodyChars ?? MOST_CHARS;
  const left = most === 0 ? Infinity : most - Array.from(text).length;
  const sendable = text.trim() !== "" && left >= 0;
  const naming = mentionAt(text, caret);
  const offered = naming ? candidates(naming.query, people) : [];

  useEffect(() => {
    if (task || mayFocus()) field.current?.focus();
  }, [task]);

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

  const write = (next: string, at: number) => {
    setText(next);
    setCaret(at);
    setChosen(0);
    setNotice(null);
    if (!editing) keepDraft(conversationId, next);
    onTyping(next !== "" && !editing);
  };
  const send = () => {
    if (!sendable) return;
    onTyping(false);
    const body = text.replace(/^(?:[^\S\n]*\n)+/u, "").trimEnd(); // the indent of the first line is a part of it
    const taken = onSend(body, mentioned(body, people).map(({ userId }) => userId));
    setNotice(taken ? null : words.outboxFull);
    if (!taken) return;
    setText("");
    setCaret(0);
    if (!editing) keepDraft(conversationId, "");
  };
  const name = (person: Person | undefined) => {
    if (!person || !naming) return;
    const before = `${text.slice(0, naming.start)}@${person.name} `;
    write(before + text.slice(caret), before.length);
    requestAnimationFrame(() => field.current?.setSelectionRange(before.length, before.length));
  };

  return (
    <form
      className="column composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      {task && (
        <div className="task">
          <Icon name={task.kind === "edit" ? "edit" : "reply"} />
          <p>
            <strong dir="auto">{task.title}</strong>
            <span dir="auto">{task.text}</span>
          </p>
          <button className="icon-button" type="button" aria-label={words.cancel} onClick={onCancel}>
            <Icon name="close" />
          </button>
        </div>
      )}
      {offered.length > 0 && (
        <ul className="people" id={id} role="listbox" aria-label={words.mention}>
          {offered.map((person, i) => (
            <li
              key={person.userId}
              id={`${id}-${i}`}
              role="option"
              aria-selected={i === chosen}
              onPointerDown={(event) => {
                event.preventDefault(); // the field keeps the focus
                name(person);
              }}
            >
              <Avatar id={person.userId} name={person.name} />
              <span dir="auto">{person.name}</span>
            </li>
          ))}
        </ul>
      )}
      <p className={notice !== null || left < 0 ? "counter over" : "counter"} role="status" hidden={notice === null && left >= 200}>
        {notice ?? (left < 0 ? words.tooLong(most, -left) : left < 200 && left)}
      </p>
      <textarea
        ref={field}
        aria-label={words.message}
        aria-autocomplete="list"
        aria-controls={offered.length > 0 ? id : undefined}
        aria-activedescendant={offered.length > 0 ? `${id}-${chosen}` : undefined}
        placeholder={words.write}
        rows={1}
        dir="auto"
        enterKeyHint="send"
        value={text}
        onChange={(event) => write(event.target.value, event.target.selectionStart)}
        onSelect={(event) => setCaret(event.currentTarget.selectionStart)}
        onPaste={(event) => {
          const { files, types } = event.clipboardData;
          if (files.length > 0 && !types.includes("text/plain")) setNotice(words.noFiles);
        }}
        onBlur={() => {
          onTyping(false);
          setCaret(0);
        }}
        onKeyDown={(event) => {
          // Safari sends the Enter that ends a composition behind its end, and only this code tells.
          // eslint-disable-next-line @typescript-eslint/no-deprecated
          if (event.nativeEvent.isComposing || event.keyCode === 229) return;
          if (offered.length > 0 && ["ArrowDown", "ArrowUp", "Enter", "Tab", "Escape"].includes(event.key)) {
            if (event.key === "Escape") setCaret(0);
            else if (event.key === "ArrowDown") setChosen((chosen + 1) % offered.length);
            else if (event.key === "ArrowUp") setChosen((chosen + offered.length - 1) % offered.length);
            else name(offered[chosen]);
            event.stopPropagation();
          } else if (event.key === "Enter" && !event.shiftKey) {
            send();
          } else if (event.key === "Escape" && task) {
            onCancel();
            event.stopPropagation();
          } else if (event.key === "ArrowUp" && text === "" && !task) {
            onEditLast();
          } else return;
          event.preventDefault();
        }}
      />
      <button
        className="send"
        type="submit"
        aria-label={editing ? words.save : words.send}
        title={editing ? words.save : words.sendKey}
        disabled={!sendable}
      >
        <Icon name={editing ? "check" : "send"} />
      </button>
    </form>
  );
}
