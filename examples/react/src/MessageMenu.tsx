/** What can be done with one message. */
import { words } from "../../shared/words.js";
import { Menu } from "./Menu";
import { Icon } from "./ui";

const REACTIONS = ["👍", "❤️", "😂", "😮", "😢", "🎉"];

interface Props {
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
  return (
    <Menu opener={opener} label={words.options} onClose={onClose}>
      {(done) => (
        <>
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
        </>
      )}
    </Menu>
  );
}
