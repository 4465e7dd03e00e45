/** Buttons in the top layer, beside the one that opened them: arrows move, Escape and a click elsewhere close. */
import { useEffect, useRef, type CSSProperties, type ReactNode } from "react";

interface Props {
  /** The button: the menu stands beside it, and gives it the focus back. */
  opener: HTMLElement;
  label: string;
  onClose: () => void;
  /** Gets what closes the menu first, and then does something: that may take the focus. */
  children: (done: (act: () => void) => () => void) => ReactNode;
}

export function Menu({ opener, label, onClose, children }: Props) {
  const menu = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const node = menu.current;
    if (!node) return;
    node.showPopover();
    node.querySelector("button")?.focus();
  }, []);

  return (
    <div
      className="menu"
      ref={menu}
      popover="auto"
      role="group"
      aria-label={label}
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
      {children((act) => () => {
        menu.current?.hidePopover();
        act();
      })}
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
