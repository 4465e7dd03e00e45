/** What one settles for oneself about a conversation, on all one's devices; and, of a group, its people. */
import { useState } from "react";
import { ChatError } from "chat-socketserver-client";
import type { useConversation } from "chat-socketserver-client/react";
import { sentenceOf, words } from "../../shared/words.js";
import { Menu } from "./Menu";
import { PeoplePanel } from "./PeoplePanel";
import { Icon } from "./ui";

interface Props {
  room: ReturnType<typeof useConversation>;
  me: string;
  group: boolean;
  /** It is out of sight from now on: archived, or to be read later. */
  onAway: () => void;
}

export function ConversationMenu({ room, me, group, onAway }: Props) {
  const [opener, setOpener] = useState<HTMLElement | null>(null);
  const [people, setPeople] = useState(false);
  const [trouble, setTrouble] = useState("");
  const { muted, pinned, archived } = room.settings;

  const settle = async (settings: Parameters<typeof room.updateSettings>[0], away = false) => {
    try {
      await room.updateSettings(settings);
      setTrouble("");
      if (away) onAway();
    } catch (error) {
      setTrouble(error instanceof ChatError ? sentenceOf(error) : String(error));
    }
  };
  return (
    <>
      <span className="field-error" role="alert">
        {trouble}
      </span>
      <button
        className="icon-button"
        type="button"
        aria-label={words.conversationOptions}
        aria-haspopup="true"
        onClick={(event) => setOpener(event.currentTarget)}
      >
        <Icon name="more" />
      </button>
      {opener && (
        <Menu opener={opener} label={words.conversationOptions} onClose={() => setOpener(null)}>
          {(done) => (
            <>
              {group && (
                <button type="button" onClick={done(() => setPeople(true))}>
                  <Icon name="people" /> {words.thePeople}
                </button>
              )}
              <button type="button" onClick={done(() => void settle({ pinned: !pinned }))}>
                <Icon name="pin" /> {pinned ? words.unpin : words.pin}
              </button>
              <button type="button" onClick={done(() => void settle({ muted: !muted }))}>
                <Icon name="muted" /> {muted ? words.unmute : words.mute}
              </button>
              <button type="button" onClick={done(() => void settle({ markedUnread: true }, true))}>
                <Icon name="unread" /> {words.markUnread}
              </button>
              <button type="button" onClick={done(() => void settle({ archived: !archived }, !archived))}>
                <Icon name="archive" /> {archived ? words.unarchive : words.archive}
              </button>
            </>
          )}
        </Menu>
      )}
      {people && <PeoplePanel room={room} me={me} onClose={() => setPeople(false)} />}
    </>
  );
}
