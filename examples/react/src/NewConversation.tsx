import { useEffect, useId, useRef, useState } from "react";
import { ChatError, newKey } from "chat-socketserver-client";
import { useChat } from "chat-socketserver-client/react";
import type { Conversation } from "chat-socketserver-client/wire";
import { sentenceOf, words } from "../../shared/words.js";
import { Icon } from "./ui";

interface Props {
  onClose: () => void;
  onCreated: (conversation: Conversation) => void;
}

/** A dialog: one name starts a direct conversation, several or a title a group. */
export function NewConversation({ onClose, onCreated }: Props) {
  const chat = useChat();
  const dialog = useRef<HTMLDialogElement>(null);
  const input = useRef<HTMLInputElement>(null);
  const id = useId();
  // One key for as long as the dialog is open: pressing the button twice makes one group.
  const [key] = useState(newKey);
  const [people, setPeople] = useState("");
  const [title, setTitle] = useState("");
  const [error, setError] = useState<string | null>(null);

  useEffect(() => {
    dialog.current?.showModal();
    input.current?.focus(); // React's autoFocus would come before the dialog is open
  }, []);

  const close = () => dialog.current?.close();

  const create = async () => {
    const participantIds = people
      .split(",")
      .map((name) => name.trim())
      .filter(Boolean);
    if (participantIds.length === 0) {
      setError(words.typeAName);
      return;
    }
    try {
      const wish = { participantIds, idempotencyKey: key, ...(title.trim() && { title: title.trim() }) };
      const conversation = await chat.createConversation(wish);
      close(); // gives the focus back, before the new conversation takes it
      onCreated(conversation);
    } catch (failure) {
      setError(failure instanceof ChatError ? sentenceOf(failure) : String(failure));
    }
  };

  return (
    <dialog ref={dialog} className="dialog" aria-labelledby={`${id}-title`} onClose={onClose}>
      <form
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          void create();
        }}
      >
        <header>
          <h2 id={`${id}-title`}>{words.newConversation}</h2>
          <button className="icon-button" type="button" aria-label={words.close} onClick={close}>
            <Icon name="close" />
          </button>
        </header>
        <div>
          <label htmlFor={`${id}-people`}>{words.whoWith}</label>
          <input
            id={`${id}-people`}
            value={people}
            onChange={(event) => setPeople(event.target.value)}
            autoCapitalize="none"
            autoComplete="off"
            spellCheck={false}
            dir="auto"
            ref={input}
            aria-describedby={`${id}-hint ${id}-error`}
          />
          <p id={`${id}-hint`} className="hint">
            {words.whoWithHint}
          </p>
          <p id={`${id}-error`} className="field-error" role="alert">
            {error}
          </p>
        </div>
        <div>
          <label htmlFor={`${id}-name`}>{words.groupTitle}</label>
          <input
            id={`${id}-name`}
            value={title}
            onChange={(event) => setTitle(event.target.value)}
            maxLength={200}
            autoComplete="off"
            dir="auto"
          />
        </div>
        <footer>
          <button type="button" onClick={close}>
            {words.cancel}
          </button>
          <button className="primary" type="submit">
            {words.create}
          </button>
        </footer>
      </form>
    </dialog>
  );
}
