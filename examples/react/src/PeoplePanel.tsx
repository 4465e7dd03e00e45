/** Who takes part in a group: with which role, whether they are there, and what one's own role allows to do about it. */
import { useEffect, useId, useRef, useState, type SubmitEvent } from "react";
import { ChatError } from "chat-socketserver-client";
import { useProfiles, type useConversation } from "chat-socketserver-client/react";
import type { Participant } from "chat-socketserver-client/wire";
import { nameOf, type Profiles } from "../../shared/names.js";
import { clockTime, dayInWords } from "../../shared/times.js";
import { sentenceOf, words } from "../../shared/words.js";
import { mayRemove, mayRun, maySetRole } from "../../shared/may.js";
import { Avatar, Icon } from "./ui";

const ROLES = ["owner", "admin", "member"] as const;

interface Props {
  room: ReturnType<typeof useConversation>;
  me: string;
  onClose: () => void;
}

/** A dialog. What is refused it says in words, and loses nothing of what was typed. */
export function PeoplePanel({ room, me, onClose }: Props) {
  const { conversation, participants, role } = room;
  const profiles = useProfiles();
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const id = useId();
  const [trouble, setTrouble] = useState("");
  /** Whom to remove, if that is confirmed; oneself: to leave. */
  const [leaving, setLeaving] = useState<string | null>(null);

  useEffect(() => {
    dialog.current?.showModal();
    heading.current?.focus();
  }, []);

  /** Whether it was done. Done twice, each of these is done once. */
  const attempt = async (act: () => Promise<void>) => {
    try {
      await act();
      setTrouble("");
      return true;
    } catch (error) {
      setTrouble(error instanceof ChatError ? sentenceOf(error) : String(error));
      return false;
    }
  };
  const remove = async (userId: string) => {
    setLeaving(null);
    const done = await attempt(() => (userId === me ? room.leave() : room.removeParticipant(userId)));
    if (done) heading.current?.focus(); // the row that had the focus is gone
  };

  const owners = participants.filter((each) => each.role === "owner").length;
  const sorted = [...participants].sort(
    (a, b) => ROLES.indexOf(a.role) - ROLES.indexOf(b.role) || nameOf(profiles, a.userId).localeCompare(nameOf(profiles, b.userId)),
  );
  return (
    <dialog
      ref={dialog}
      className="dialog panel"
      aria-labelledby={`${id}-title`}
      onClose={onClose}
      onKeyDown={(event) => {
        if (event.key === "Escape") event.stopPropagation(); // it closes the panel, and not the conversation
      }}
    >
      <div>
        <header>
          <h2 id={`${id}-title`} ref={heading} tabIndex={-1}>
            {words.thePeople}
          </h2>
          <button className="icon-button" type="button" aria-label={words.close} onClick={() => dialog.current?.close()}>
            <Icon name="close" />
          </button>
        </header>
        <p className="field-error" role="alert">
          {trouble}
        </p>
        {mayRun(role) && (
          <>
            <TitleForm title={conversation?.title ?? ""} onSave={(title) => attempt(() => room.update({ title }))} />
            <AddForm onAdd={(userIds, history) => attempt(() => room.addParticipants(userIds, { history }))} onWrong={setTrouble} />
          </>
        )}
        <ul>
          {sorted.map((person) => {
            const { userId } = person;
            const name = nameOf(profiles, userId);
            return (
              <li key={userId} data-user={userId}>
                <div className="person">
                  <Avatar id={userId} name={name} picture={profiles.get(userId)?.avatar} online={person.online} />
                  <span className="person-text">
                    <strong dir="auto">{userId === me ? `${name} (${words.you})` : name}</strong>
                    <small>{whereabouts(person, profiles)}</small>
                  </span>
                  {maySetRole(role, person.role, owners) ? (
                    <select
                      aria-label={words.roleOf(name)}
                      value={person.role}
                      onChange={(event) => void attempt(() => room.setRole(userId, event.target.value as Participant["role"]))}
                    >
                      {ROLES.map((each) => (
                        <option key={each} value={each}>
                          {words.roles[each]}
                        </option>
                      ))}
                    </select>
                  ) : (
                    <span className="role">{words.roles[person.role]}</span>
                  )}
                  {userId !== me && mayRemove(role, person.role) && (
                    <button className="icon-button" type="button" aria-label={words.removePerson(name)} onClick={() => setLeaving(userId)}>
                      <Icon name="remove" />
                    </button>
                  )}
                </div>
                {leaving === userId && userId !== me && (
                  <Confirm question={words.reallyRemove(name)} yes={words.takeOut} onNo={() => setLeaving(null)} onYes={() => void remove(userId)} />
                )}
              </li>
            );
          })}
        </ul>
        <button className="leave" type="button" onClick={() => setLeaving(me)}>
          {words.leaveGroup}
        </button>
        {leaving === me && (
          <Confirm question={words.reallyLeave} yes={words.leave} onNo={() => setLeaving(null)} onYes={() => void remove(me)} />
        )}
      </div>
    </dialog>
  );
}

interface TitleProps {
  title: string;
  onSave: (title: string | null) => Promise<boolean>;
}

function TitleForm({ title, onSave }: TitleProps) {
  const id = useId();
  const [draft, setDraft] = useState<string | null>(null); // until something is typed it follows what others do
  const save = async (event: SubmitEvent) => {
    event.preventDefault();
    if (draft !== null && (await onSave(draft.trim() || null))) setDraft(null);
  };
  return (
    <form onSubmit={(event) => void save(event)}>
      <div>
        <label htmlFor={id}>{words.title}</label>
        <div className="fields">
          <input id={id} value={draft ?? title} onChange={(event) => setDraft(event.target.value)} maxLength={200} autoComplete="off" dir="auto" />
          <button className="primary" type="submit">
            {words.save}
          </button>
        </div>
      </div>
    </form>
  );
}

interface AddProps {
  onAdd: (userIds: string[], history: "all" | "none") => Promise<boolean>;
  onWrong: (sentence: string) => void;
}

function AddForm({ onAdd, onWrong }: AddProps) {
  const id = useId();
  const [names, setNames] = useState("");
  const [history, setHistory] = useState<"all" | "none">("all");
  const add = async (event: SubmitEvent) => {
    event.preventDefault();
    const userIds = names
      .split(",")
      .map((name) => name.trim())
      .filter(Boolean);
    if (userIds.length === 0) onWrong(words.typeAName);
    else if (await onAdd(userIds, history)) setNames("");
  };
  return (
    <form noValidate onSubmit={(event) => void add(event)}>
      <div>
        <label htmlFor={id}>{words.addPeople}</label>
        <input
          id={id}
          value={names}
          onChange={(event) => setNames(event.target.value)}
          autoCapitalize="none"
          autoComplete="off"
          spellCheck={false}
          dir="auto"
          aria-describedby={`${id}-hint`}
        />
        <p id={`${id}-hint`} className="hint">
          {words.whoWithHint}
        </p>
      </div>
      <div className="fields">
        <select aria-label={words.theySee} value={history} onChange={(event) => setHistory(event.target.value === "none" ? "none" : "all")}>
          <option value="all">{words.withHistory}</option>
          <option value="none">{words.fromNowOn}</option>
        </select>
        <button className="primary" type="submit">
          {words.add}
        </button>
      </div>
    </form>
  );
}

interface ConfirmProps {
  question: string;
  yes: string;
  onNo: () => void;
  onYes: () => void;
}

/** A question under what was pressed, which gets the focus back. */
function Confirm({ question, yes, onNo, onYes }: ConfirmProps) {
  const id = useId();
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    button.current?.focus();
    return () => {
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <div className="confirm" role="group" aria-labelledby={id}>
      <p id={id}>{question}</p>
      <div>
        <button type="button" ref={button} aria-describedby={id} onClick={onYes}>
          {yes}
        </button>
        <button type="button" onClick={onNo}>
          {words.cancel}
        </button>
      </div>
    </div>
  );
}

/** Whether somebody is there, or when they were. */
export function whereabouts({ userId, online, lastSeenAt }: Participant, profiles: Profiles): string {
  if (online) return words.online;
  if (profiles.get(userId)?.known === false) return words.neverHere;
  if (lastSeenAt === null) return words.offline;
  return words.lastSeen(`${dayInWords(lastSeenAt)}, ${clockTime(lastSeenAt)}`);
}
