// The wire of the chat server, as TypeScript. Generated: do not edit, run `python -m socketserver types > events.ts`.
// Times are UTC in milliseconds. docs/protocol.md says what the events mean.

export type ErrorCode =
  /** The payload does not have the shape that docs/protocol.md gives for the event. */
  | "invalid_payload"
  /** What the client sent is larger than this server takes. It was read past, and nothing of it was kept. */
  | "too_large"
  /** The server has no event of that name. */
  | "unknown_event"
  /** The socket has no user yet. */
  | "auth_required"
  /** The token is malformed, not signed by the configured key, or not meant for this server. */
  | "invalid_token"
  /** The token was valid once. */
  | "token_expired"
  /** The socket belongs to another user already. */
  | "user_mismatch"
  /** The keys to check a token with cannot be fetched at present. */
  | "auth_unavailable"
  /** The page that asks was not served from an allowed origin. */
  | "origin_not_allowed"
  /** There is no such conversation, or the user does not take part in it; nobody can tell which. */
  | "conversation_not_found"
  /** The request is about a conversation that this socket has open, and it has not. */
  | "not_joined"
  /** The idempotency key was used before, by the same sender in the same place, for other content. */
  | "idempotency_conflict"
  /** A bound on what one connection may hold open is reached. */
  | "limit_exceeded"
  /** More requests than the user's rate allows. */
  | "rate_limited"
  /** A user or an address connects again and again. */
  | "too_many_connects"
  /** An address, or the pages of an origin, have as many connections open as they may. */
  | "too_many_connections"
  /** The database does not answer, is locked, full or read-only. Nothing was half-written. */
  | "store_unavailable"
  /** More writes are waiting than the server wants to hold. */
  | "overloaded"
  /** The server is stopping and lets nobody in any more; the next one takes its place. */
  | "draining"
  /** A bug in the server. The log has the traceback. */
  | "internal_error";

export type EndCode =
  /** The user connected elsewhere, and only the newest socket of a user stays. */
  | "replaced"
  /** The socket did not authenticate in time. */
  | "auth_timeout"
  /** The token with which the socket authenticated has expired. */
  | "token_expired"
  /** The login with which the socket was opened has ended. */
  | "logged_out"
  /** An administrator ended the connection. */
  | "kicked"
  /** The user connects again and again. */
  | "too_many_connects"
  /** The client went on sending more than it may. */
  | "flooding"
  /** The server restarts. */
  | "restart"
  /** The client did not read what it was sent. */
  | "slow_consumer"
  /** The client sent what is no valid Socket.IO packet. */
  | "malformed"
  /** The client sent more at once than the server takes, and it could not be answered. */
  | "too_large"
  /** The socket had no user yet, and others needed its place. */
  | "crowded_out"
  /** The client connected a second time over the same connection. */
  | "connected_twice"
  /** The connection was found dead or unknown by the regular sweep. */
  | "stale";

export interface ErrorDetails {
  code: ErrorCode;
  message: string;
  retryable: boolean;
  retryAfterMs?: number;
  limitBytes?: number;
  fields?: Record<string, unknown>;
  help?: string;
}

export interface Failure {
  ok: false;
  error: ErrorDetails;
}

export interface User {
  id: string;
  name: string;
}

export interface Reconnection {
  attempts: number;
  delayMs: number;
  delayMaxMs: number;
}

export interface Limits {
  bodyChars: number;
  metadataBytes: number;
  eventBytes: number;
  participants: number;
  page: number;
  joinedConversations: number;
  messagesPerSecond: number;
  messagesBurst: number;
}

export interface Welcome {
  user: User;
  connectionId: string;
  serverTime: number;
  reconnection: Reconnection;
  limits: Limits;
}

export interface Message {
  id: string;
  conversationId: string;
  seq: number;
  change: number;
  senderId: string;
  idempotencyKey: string;
  body: string;
  metadata: Record<string, unknown> | null;
  createdAt: number;
}

export interface MessageCreated {
  message: Message;
}

export interface Activity {
  conversationId: string;
  seq: number;
  senderId: string;
  preview: string;
  createdAt: number;
}

export interface Conversation {
  id: string;
  kind: "direct" | "group";
  title: string | null;
  participantIds: string[];
  participantCount: number;
  createdBy: string;
  createdAt: number;
}

export interface ConversationCreated {
  conversation: Conversation;
}

export interface MessagesRead {
  conversationId: string;
  userId: string;
  readSeq: number;
  readAt: number | null;
}

export interface UserTyping {
  conversationId: string;
  userId: string;
  typing: boolean;
}

export interface Presence {
  userId: string;
  online: boolean;
  lastSeenAt: number | null;
}

export interface SessionEnded {
  code: EndCode;
  message: string;
  reconnect: boolean;
  retryAfterMs?: number;
  limitBytes?: number;
}

export interface AuthenticateAck {
  user: User;
}

export interface CreateConversationAck {
  conversation: Conversation;
  duplicate: boolean;
}

export interface ConversationSummary extends Conversation {
  lastMessage: Message | null;
  lastSeq: number;
  change: number;
  readSeq: number;
  unreadCount: number;
  activityAt: number;
}

export interface ListConversationsAck {
  conversations: ConversationSummary[];
  presence: Presence[];
  hasMore: boolean;
  nextBefore: string | null;
}

export interface Participant {
  userId: string;
  readSeq: number;
  readAt: number | null;
  online: boolean;
  lastSeenAt: number | null;
}

export interface Gap {
  fromSeq: number;
  toSeq: number;
}

export interface JoinConversationAck {
  conversation: Conversation;
  participants: Participant[];
  messages: Message[];
  change: number;
  lastSeq: number;
  readSeq: number;
  unreadCount: number;
  typing: string[];
  gap?: Gap;
}

export type LeaveConversationAck = object;

export interface SendMessageAck {
  message: Message;
  duplicate: boolean;
}

export interface MarkReadAck {
  readSeq: number;
  unreadCount: number;
}

export interface FetchHistoryAck {
  messages: Message[];
  hasMore: boolean;
}

export interface ListParticipantsAck {
  participants: Participant[];
  hasMore: boolean;
  nextAfter: string | null;
}

export type SetTypingAck = object;

export type SetVisibilityAck = object;

export interface Authenticate {
  token: string;
}

export interface CreateConversation {
  participantIds: string[];
  title?: string | null;
  idempotencyKey?: string;
}

export interface ListConversations {
  limit?: number;
  before?: string;
}

export interface JoinConversation {
  conversationId: string;
  after?: number;
  limit?: number;
  visible?: boolean;
}

export interface LeaveConversation {
  conversationId: string;
}

export interface SendMessage {
  conversationId: string;
  idempotencyKey: string;
  body: string;
  metadata?: Record<string, unknown> | null;
}

export interface MarkRead {
  conversationId: string;
  seq: number;
}

export interface FetchHistory {
  conversationId: string;
  beforeSeq?: number;
  afterSeq?: number;
  limit?: number;
}

export interface ListParticipants {
  conversationId: string;
  after?: string;
  limit?: number;
}

export interface SetTyping {
  conversationId: string;
  typing: boolean;
}

export interface SetVisibility {
  conversationId: string;
  visible: boolean;
}

export interface ClientToServerEvents {
  authenticate: (payload: Authenticate, ack: (answer: Answer<AuthenticateAck>) => void) => void;
  create_conversation: (payload: CreateConversation, ack: (answer: Answer<CreateConversationAck>) => void) => void;
  list_conversations: (payload: ListConversations, ack: (answer: Answer<ListConversationsAck>) => void) => void;
  join_conversation: (payload: JoinConversation, ack: (answer: Answer<JoinConversationAck>) => void) => void;
  leave_conversation: (payload: LeaveConversation, ack: (answer: Answer<LeaveConversationAck>) => void) => void;
  send_message: (payload: SendMessage, ack: (answer: Answer<SendMessageAck>) => void) => void;
  mark_read: (payload: MarkRead, ack: (answer: Answer<MarkReadAck>) => void) => void;
  fetch_history: (payload: FetchHistory, ack: (answer: Answer<FetchHistoryAck>) => void) => void;
  list_participants: (payload: ListParticipants, ack: (answer: Answer<ListParticipantsAck>) => void) => void;
  set_typing: (payload: SetTyping, ack: (answer: Answer<SetTypingAck>) => void) => void;
  set_visibility: (payload: SetVisibility, ack: (answer: Answer<SetVisibilityAck>) => void) => void;
}

export interface ServerToClientEvents {
  welcome: (payload: Welcome) => void;
  message_created: (payload: MessageCreated) => void;
  conversation_activity: (payload: Activity) => void;
  conversation_created: (payload: ConversationCreated) => void;
  messages_read: (payload: MessagesRead) => void;
  user_typing: (payload: UserTyping) => void;
  presence_changed: (payload: Presence) => void;
  session_ended: (payload: SessionEnded) => void;
}

/** The same by name, for a function that sends any request. */
export interface Requests {
  authenticate: { payload: Authenticate; ack: AuthenticateAck };
  create_conversation: { payload: CreateConversation; ack: CreateConversationAck };
  list_conversations: { payload: ListConversations; ack: ListConversationsAck };
  join_conversation: { payload: JoinConversation; ack: JoinConversationAck };
  leave_conversation: { payload: LeaveConversation; ack: LeaveConversationAck };
  send_message: { payload: SendMessage; ack: SendMessageAck };
  mark_read: { payload: MarkRead; ack: MarkReadAck };
  fetch_history: { payload: FetchHistory; ack: FetchHistoryAck };
  list_participants: { payload: ListParticipants; ack: ListParticipantsAck };
  set_typing: { payload: SetTyping; ack: SetTypingAck };
  set_visibility: { payload: SetVisibility; ack: SetVisibilityAck };
}

/** What every request is answered with. */
export type Answer<Ack> = ({ ok: true } & Ack) | Failure;

/** What `auth` sends at the handshake; without a token the login cookie counts. */
export interface Auth {
  token?: string;
}
