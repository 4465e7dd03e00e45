import { useEffect, useState } from "react";
import { createChat } from "chat-socketserver-client";
import { ChatProvider } from "chat-socketserver-client/react";
import type { User } from "chat-socketserver-client/wire";
import { forgetDrafts } from "../../shared/drafts.js";
import { forgetPlaces } from "../../shared/places.js";
import { words } from "../../shared/words.js";
import { MessagesPage } from "./MessagesPage";
import { currentUser, getToken, logIn, logOut, SERVER_URL } from "./session";
import { Mark } from "./ui";

/** /?user=alice proposes a name. It logs nobody in: a link that somebody else made could. */
const asked = new URLSearchParams(location.search).get("user");

export function App() {
  const [user, setUser] = useState<User | null>(() => {
    const known = currentUser();
    return asked === null || known?.id === asked ? known : null;
  });

  if (user === null) return <Login onLogin={setUser} />;
  return (
    <Messages
      key={user.id}
      user={user}
      onLogOut={() => {
        logOut();
        forgetDrafts();
        forgetPlaces();
        history.replaceState(null, "", "/");
        setUser(null);
      }}
    />
  );
}

/** One chat per user, made here and connected by the provider. */
function Messages({ user, onLogOut }: { user: User; onLogOut: () => void }) {
  const [chat] = useState(() => createChat({ url: SERVER_URL, user, getToken: ({ renew }) => getToken(renew) }));
  return (
    <ChatProvider chat={chat}>
      <MessagesPage
        me={user}
        onLogOut={() => {
          void chat.logOut().then(onLogOut);
        }}
      />
    </ChatProvider>
  );
}

function Login({ onLogin }: { onLogin: (user: User) => void }) {
  const [name, setName] = useState(asked ?? "");
  const [wanted, setWanted] = useState(false);
  const [error, setError] = useState<string | null>(null);

  useEffect(() => {
    if (!wanted) return undefined;
    let mounted = true;
    logIn(name).then(
      (user) => {
        if (mounted) onLogin(user);
      },
      (failure: unknown) => {
        if (!mounted) return;
        setWanted(false);
        setError(failure instanceof Error ? failure.message : String(failure));
      },
    );
    return () => {
      mounted = false;
    };
  }, [wanted, name, onLogin]);

  return (
    <main className="login">
      <form
        className="card"
        noValidate
        onSubmit={(event) => {
          event.preventDefault();
          setError(name.trim() === "" ? words.typeAName : null);
          setWanted(name.trim() !== "");
        }}
      >
        <Mark />
        <h1>{words.whoAreYou}</h1>
        <p className="lead">{words.anyName}</p>
        <label htmlFor="name">{words.yourName}</label>
        <input
          id="name"
          value={name}
          onChange={(event) => {
            setWanted(false);
            setName(event.target.value);
          }}
          autoComplete="username"
          autoCapitalize="none"
          spellCheck={false}
          maxLength={128}
          dir="auto"
          autoFocus
          aria-describedby="name-error"
        />
        <p id="name-error" className="field-error" role="alert">
          {error}
        </p>
        <button className="primary" type="submit" disabled={wanted}>
          {words.start}
        </button>
      </form>
      <p className="footnote">socketserver · React example</p>
    </main>
  );
}
