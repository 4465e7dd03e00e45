/** What can be done with one message: in the top layer, beside the button that opened it. */
import { useEffect, useRef, type CSSProperties } from "react";
import { words } from "../../shared/words.js";
import { Icon } from "./ui";

const REACTIONS = ["👍", "❤️", "😂", "😮", "😢", "🎉"];

interface Props {
  /** The button: the menu stands beside it, and gives it the focus back. */
  opener: HTMLElement;
  stored: boolean;
  mayEdit: boolean;
  mayRemove: boolean;
  onReact: (reaction: string) => void;
  onReply: () => void;
  onEdit: () => void;
  onRemove: () => void;
  onCopy: () => void;
  onClose: () => void;
}

export function MessageMenu({ opener, stored, mayEdit, mayRemove, onReact, onReply, onEdit, onRemove, onCopy, onClose }: Props) {
  const menu = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const node = menu.current;
    if (!node) return;
    node.showPopover();
    node.querySelector("button")?.focus();
  }, []);

  const done = (act: () => void) => () => {
    menu.current?.hidePopover(); // gives the focus back first: what follows may take it
    act();
  };
  return (
    <div
      className="menu"
      ref={menu}
      popover="auto"
      role="group"
      aria-label={words.options}
      style={placeBeside(opener)}
      onToggle={(event) => {
        if (event.newState === "closed") onClose();
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") event.stopPropagation(); // it closes the menu, and not the conversation
        const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
        if (step === undefined) return;
        const buttons = [...event.currentTarget.querySelectorAll("button")];
        buttons.at((buttons.indexOf(event.target as HTMLButtonElement) + step) % buttons.length)?.focus();
        event.preventDefault();
      }}
    >
      {stored && (
        <div className="picker">
          {REACTIONS.map((reaction) => (
            <button key={reaction} type="button" aria-label={words.react(reaction)} onClick={done(() => onReact(reaction))}>
              {reaction}
            </button>
          ))}
        </div>
      )}
      {stored && (
        <button type="button" onClick={done(onReply)}>
          <Icon name="reply" /> {words.reply}
        </button>
      )}
      <button type="button" onClick={done(onCopy)}>
        <Icon name="copy" /> {words.copy}
      </button>
      {mayEdit && (
        <button type="button" onClick={done(onEdit)}>
          <Icon name="edit" /> {words.edit}
        </button>
      )}
      {mayRemove && (
        <button type="button" className="danger" onClick={done(onRemove)}>
          <Icon name="remove" /> {words.remove}
        </button>
      )}
    </div>
  );
}

/** Above or below the button, wherever there is more room, and wholly on the screen. */
function placeBeside(opener: HTMLElement): CSSProperties {
  const box = opener.getBoundingClientRect();
  const { innerWidth, innerHeight } = window;
  const left = Math.max(8, Math.min(box.left, innerWidth - 268));
  return box.top > innerHeight / 2 ? { left, bottom: innerHeight - box.top + 4 } : { left, top: box.bottom + 4 };
}
