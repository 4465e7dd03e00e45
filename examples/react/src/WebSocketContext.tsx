/** One connection and one outbox for all below: `<WebSocketProvider>` once, near the root; the hooks anywhere. */
import { createContext, use, useEffect, useEffectEvent, useState, useSyncExternalStore, type ReactNode } from "react";
import { Connection, type Snapshot } from "./connection";
import type { ServerToClientEvents, User } from "./events";
import { Outbox } from "./outbox";

interface WebSocketValue {
  connection: Connection;
  outbox: Outbox;
  me: User;
}

const WebSocketContext = createContext<WebSocketValue | null>(null);

interface ProviderProps {
  url: string;
  user: User;
  /** A token for the handshake, asked for at every connect; `renew` after the server has refused the last one. */
  getToken: (renew: boolean) => Promise<string>;
  children: ReactNode;
}

export function WebSocketProvider({ url, user, getToken, children }: ProviderProps) {
  // Made once, connected below: rendering has no side effects. For another user give the provider another `key`.
  const [value] = useState((): WebSocketValue => {
    const connection = new Connection(url, getToken);
    return { connection, outbox: new Outbox(connection, user.id), me: user };
  });

  useEffect(() => hold(value), [value]);

  return <WebSocketContext value={value}>{children}</WebSocketContext>;
}

const releases = new WeakMap<WebSocketValue, ReturnType<typeof setTimeout>>();

/**
 * Connect now, and disconnect when let go of; but not if somebody takes hold again in the same turn. That is what
 * StrictMode does in development (mount, unmount, mount), and it must not cost a second connection.
 */
function hold(value: WebSocketValue): () => void {
  clearTimeout(releases.get(value));
  value.connection.connect();
  value.outbox.start();
  // The network is back: worth a try, after giving up.
  const online = () => {
    if (value.connection.snapshot().status.state === "gave_up") value.connection.connect();
  };
  window.addEventListener("online", online);
  return () => {
    window.removeEventListener("online", online);
    releases.set(
      value,
      setTimeout(() => {
        value.outbox.stop();
        value.connection.disconnect();
      }, 0),
    );
  };
}

export function useWebSocket(): WebSocketValue {
  const value = use(WebSocketContext);
  if (value === null) throw new Error("useWebSocket needs a <WebSocketProvider> above it.");
  return value;
}

/** The connection's state; re-renders when it changes. */
export function useConnection(): Snapshot {
  const { connection } = useWebSocket();
  return useSyncExternalStore(connection.subscribe, connection.snapshot, connection.snapshot);
}

/** The id of the present connection, null without one: what to (re)load for when it changes. */
export function useConnectionId(): string | null {
  const { connection } = useWebSocket();
  const read = () => connection.snapshot().connectionId;
  return useSyncExternalStore(connection.subscribe, read, read);
}

/** The types of a generic event are too much for the socket's own `on`; those of the hook hold. */
interface AnyEvents {
  on: (event: string, listener: (payload: unknown) => void) => void;
  off: AnyEvents["on"];
}

/** Call `handler` for a server event while mounted. It sees the newest props and state; no dependencies to list. */
export function useSocketEvent<E extends keyof ServerToClientEvents>(event: E, handler: ServerToClientEvents[E]): void {
  const { connection } = useWebSocket();
  const onEvent = useEffectEvent(handler as (payload: unknown) => void);
  useEffect(() => {
    const socket = connection.socket as unknown as AnyEvents;
    const listener = (payload: unknown) => onEvent(payload);
    socket.on(event, listener);
    return () => {
      socket.off(event, listener);
    };
  }, [connection, event]);
}
