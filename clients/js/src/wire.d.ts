// The wire of the chat server, as TypeScript. Generated: do not edit, run `chat-socketserver types > events.ts`.
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
  /** The conversation has no message with this seq. */
  | "message_not_found"
  /** The message was deleted: only its tombstone is left. */
  | "message_deleted"
  /** The user takes part in the conversation, but may not do this in it. */
  | "forbidden"
  /** The time in which this may be done is over. */
  | "too_late"
  /** Somebody changed the message since the change that the request was made for. */
  | "version_conflict"
  /** A bound of this server is reached: what one connection may hold open, or how much a message may have. */
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

/** A reaction to a message. */
export interface Reaction {
  /** What it is, mostly an emoji; 1 to 32 characters without white space. */
  reaction: string;
  /** How many users have reacted so. */
  count: number;
  /** The first 20 of them, oldest first. */
  userIds: string[];
}

/** What happened to a conversation, in a message that the server wrote. */
export interface System {
  /** `added`, `removed`, `left`, `role` or `title`. */
  type: "added" | "removed" | "left" | "role" | "title";
  /** Whom it happened to; absent for a title. */
  userIds?: string[];
  /** The role that they have got, where it is what happened, or more than `member`. */
  role?: "owner" | "admin" | "member";
  /** The new title; absent where it was taken away. */
  title?: string;
}

/** One stored message, as it is now. A key of the second half is absent while there is nothing to say. */
export interface Message {
  /** For comparing, nothing more. */
  id: string;
  /** The conversation's id. */
  conversationId: string;
  /** Position in the conversation: 1, 2, 3, … without a hole, the same for everybody. */
  seq: number;
  /** Number of the newest change that touched it, dense from 1 too: the cursor to resume from. */
  change: number;
  /** The sender's user id. */
  senderId: string;
  /** The sender's own name for it: how the sender finds the bubble that was waiting. */
  idempotencyKey: string;
  /** The text, as it was sent, or edited; empty once it is deleted. */
  body: string;
  /** The sender's object, as it was sent, or edited; null for none. */
  metadata: Record<string, unknown> | null;
  /** When the server got it, UTC milliseconds. Sort by `seq`, not by this. */
  createdAt: number;
  /** The `seq` of the message that it answers. */
  replyTo?: number;
  /** The user ids of participants whom it names. */
  mentions?: string[];
  /** The reactions to it, oldest first. */
  reactions?: Reaction[];
  /** When its text was edited last, UTC milliseconds. */
  editedAt?: number;
  /** When it was deleted, UTC milliseconds: then this is its tombstone. */
  deletedAt?: number;
  /** The user id of who deleted it. */
  deletedBy?: string;
  /** `system` where the conversation tells of itself: `senderId` did it, and `body` says it in English. */
  kind?: "system";
  /** What happened; only with that kind. */
  system?: System;
}

/** Why a request was refused. */
export interface ErrorDetails {
  /** Stable, so compare it. */
  code: ErrorCode;
  /** One sentence for developers; not stable. */
  message: string;
  /** Whether the same request can succeed later without a change. */
  retryable: boolean;
  /** How long to wait before that, in milliseconds; absent where it is not known. */
  retryAfterMs?: number;
  /** With `too_large`: how many bytes it may have. */
  limitBytes?: number;
  /** With `version_conflict`: the message as it is. */
  present?: Message;
  /** With `invalid_payload`: lists of sentences by field, nested like the payload; `payload` for the whole. */
  fields?: Record<string, unknown>;
  /** In the body of a refused handshake: what to look at. */
  help?: string;
}

/** The ack of a request that did not work; nothing was stored or changed, unless its outcome is unknown. */
export interface Failure {
  /** Always false. */
  ok: false;
  /** Why. */
  error: ErrorDetails;
}

/** Who somebody is. */
export interface User {
  /** The token's `sub`, in Unicode's normalization form C; 1 to 128 characters. */
  id: string;
  /** For display: the token's `name`, else the id. */
  name: string;
  /** The address of a picture: the token's `picture`; absent if it has none. */
  avatar?: string;
}

/** The client options that the server recommends. */
export interface Reconnection {
  /** For `reconnectionAttempts`. */
  attempts: number;
  /** For `reconnectionDelay`, in milliseconds. */
  delayMs: number;
  /** For `reconnectionDelayMax`, in milliseconds. */
  delayMaxMs: number;
}

/** What the server accepts; 0 means no limit, except in the windows. */
export interface Limits {
  /** Characters (Unicode code points) of a message's body. */
  bodyChars: number;
  /** Bytes of a message's metadata as JSON. */
  metadataBytes: number;
  /** Bytes of one event as it is sent. */
  eventBytes: number;
  /** Participants of a conversation, yourself included. */
  participants: number;
  /** The largest `limit` of a page. */
  page: number;
  /** Conversations that one socket may have joined. */
  joinedConversations: number;
  /** Messages per second that a user may send in the long run. */
  messagesPerSecond: number;
  /** Messages that a user may send at once. */
  messagesBurst: number;
  /** For how long its sender may edit a message, in seconds since its `createdAt` by the server's clock; -1 for ever, 0 never. */
  editWindowS: number;
  /** For how long its sender may delete a message, as `editWindowS`. */
  deleteWindowS: number;
  /** Users whom a message may mention. */
  mentions: number;
  /** Different reactions to one message. */
  reactions: number;
  /** Reactions of one user to one message. */
  reactionsPerUser: number;
  /** Reactions of all users to one message, together. */
  reactionsInAll: number;
  /** Characters (Unicode code points) of a reaction. */
  reactionChars: number;
}

/** What a socket is told when it has got its user. */
export interface Welcome {
  /** Who you are. */
  user: User;
  /** This connection; it appears in the server's log. */
  connectionId: string;
  /** The server's clock, UTC milliseconds. */
  serverTime: number;
  /** The recommended client options. */
  reconnection: Reconnection;
  /** What the server accepts. */
  limits: Limits;
}

/** How somebody is shown. */
export interface Profile {
  /** Whose profile it is. */
  userId: string;
  /** For display; absent while none is known: show the id. */
  name?: string;
  /** The address of a picture; absent while none is known. */
  avatar?: string;
  /** False: nobody has logged in with this id so far; absent for all others. */
  known?: boolean;
}

/** A message was stored. */
export interface MessageCreated {
  /** The message; drop a `seq` that you know. */
  message: Message;
  /** How the sender is shown; only in conversations with more participants than a join tells. */
  sender?: Profile;
}

/** A message was edited or deleted, or somebody reacted to it. */
export interface MessageUpdated {
  /** The message as it is now; drop it if you have it with this `change`, or a greater one. */
  message: Message;
}

/** A message was stored in a conversation that the socket has not joined. */
export interface Activity {
  /** The conversation's id. */
  conversationId: string;
  /** The message's; with your read mark it gives the unread count. */
  seq: number;
  /** The sender's user id: yourself, if you sent it from another socket. */
  senderId: string;
  /** The first 120 characters of the body. */
  preview: string;
  /** The message's time, UTC milliseconds. */
  createdAt: number;
  /** The user ids of participants whom it names; absent if it names nobody. */
  mentions?: string[];
  /** How the sender is shown; only in conversations with more participants than `participantIds` has. */
  sender?: Profile;
}

/** A conversation as it is now. */
export interface Conversation {
  /** For comparing, nothing more; 1 to 64 characters. */
  id: string;
  /** `direct` for two people without a title, who have only one for ever; else `group`. */
  kind: "direct" | "group";
  /** 1 to 200 characters; null for none. */
  title: string | null;
  /** The first of the participants, in the order of ids; both of a direct conversation. */
  participantIds: string[];
  /** How many take part, you included. */
  participantCount: number;
  /** The user id of who created it. */
  createdBy: string;
  /** When it was created, UTC milliseconds. */
  createdAt: number;
  /** An object that the server keeps and hands on; null for none. */
  metadata: Record<string, unknown> | null;
}

/** A conversation was created. */
export interface ConversationCreated {
  /** The conversation. */
  conversation: Conversation;
  /** How the users under its `participantIds` are shown. */
  profiles: Profile[];
}

/** Who has which role. */
export interface ParticipantRole {
  /** Who it is. */
  userId: string;
  /** `owner`, `admin` or `member`. */
  role: "owner" | "admin" | "member";
}

/** People have come or gone, or have another role. */
export interface ParticipantsChanged {
  /** The conversation's id. */
  conversationId: string;
  /** The number of the message that says so, which comes right before. */
  change: number;
  /** Who takes part from now on. */
  added: ParticipantRole[];
  /** The user ids of those who do not any more. */
  removed: string[];
  /** Who has another role. */
  roles: ParticipantRole[];
  /** How those under `added` are shown. */
  profiles: Profile[];
}

/** A conversation is not yours any more. */
export interface ConversationRemoved {
  /** The conversation's id. */
  conversationId: string;
  /** `removed` by somebody, `left` by yourself, or `deleted`. */
  reason: "removed" | "left" | "deleted";
}

/** Whom a message mentions since it was edited, or deleted; not both are empty. */
export interface MentionsChanged {
  /** The message's. It concerns an unread count only above your read mark. */
  seq: number;
  /** The user ids of whom it mentions now and did not before. */
  added: string[];
  /** The user ids of whom it mentions no longer. */
  removed: string[];
}

/** What lists show of a conversation has changed, other than by a new message. */
export interface ConversationUpdated {
  /** The conversation. */
  conversation: Conversation;
  /** The number of the change of a message by which it is so. A list whose summary has this `change` or a greater one has counted it already; absent where people, title or metadata have changed. */
  change?: number;
  /** The message to show, as it is now, if it is another one or has another text; null if none is left. */
  lastMessage?: Message | null;
  /** The `seq` of a message that counts no more: if you have read less than that, you have one unread less. Told once. */
  uncountedSeq?: number;
  /** Whom a message mentions anew, and whom no longer. Told once. */
  mentions?: MentionsChanged;
  /** The conversation's new place in lists, UTC milliseconds, if people or title have changed. */
  activityAt?: number;
  /** How the sender of `lastMessage` is shown; only in conversations with more participants than `participantIds` has. */
  sender?: Profile;
}

/** A read mark moved. */
export interface MessagesRead {
  /** The conversation's id. */
  conversationId: string;
  /** Who has read. */
  userId: string;
  /** Up to which seq. */
  readSeq: number;
  /** When, UTC milliseconds; null if it is not known. */
  readAt: number | null;
}

/** What you have settled for yourself in a conversation; nobody else sees it. All false until you do. */
export interface OwnSettings {
  /** Do not notify of it. */
  muted: boolean;
  /** Show it at the top. */
  pinned: boolean;
  /** Show it elsewhere. A new message does not bring it back. */
  archived: boolean;
  /** Show it as unread, whatever `unreadCount` says. Reading ends it, sending too. */
  markedUnread: boolean;
}

/** What you have settled for yourself, on any of your sockets. */
export interface SettingsChanged {
  /** The conversation's id. */
  conversationId: string;
  /** All of it, as it is now. */
  settings: OwnSettings;
}

/** Somebody types, or has stopped. */
export interface UserTyping {
  /** The conversation's id. */
  conversationId: string;
  /** Who types. */
  userId: string;
  /** Whether the user types. */
  typing: boolean;
}

/** Whether somebody is there. */
export interface Presence {
  /** Whose presence it is. */
  userId: string;
  /** Whether the user has a connection. */
  online: boolean;
  /** When a user who is offline was last seen, UTC milliseconds; null as with a participant. */
  lastSeenAt: number | null;
}

/** Why the server is about to end the connection. */
export interface SessionEnded {
  /** Stable, so compare it. */
  code: EndCode;
  /** One sentence for developers; not stable. */
  message: string;
  /** True: the connection is cut and the client reconnects by itself. False: stay away until the user asks. */
  reconnect: boolean;
  /** When to come back, in milliseconds from now; absent where it does not matter. */
  retryAfterMs?: number;
  /** With `too_large`: how many bytes it may have. */
  limitBytes?: number;
}

/** The socket has its user. */
export interface AuthenticateAck {
  /** Who the token says you are. */
  user: User;
}

/** The conversation exists. */
export interface CreateConversationAck {
  /** The new one, or the one that this request repeats. */
  conversation: Conversation;
  /** Whether it existed before. */
  duplicate: boolean;
  /** How the users under its `participantIds` are shown. */
  profiles: Profile[];
}

/** A conversation as a user's list shows it. */
export interface ConversationSummary extends Conversation {
  /** The newest message that is not deleted; null while there is none. */
  lastMessage: Message | null;
  /** The newest message's seq; 0 while there is none. */
  lastSeq: number;
  /** The newest change; a place to resume from only for a client that has everything before it. */
  change: number;
  /** Your read mark: up to which seq you have read; 0 for nothing. */
  readSeq: number;
  /** `lastSeq` minus `readSeq`, without deleted messages; 0 or more. */
  unreadCount: number;
  /** How many of those mention you; 0 or more. */
  unreadMentions: number;
  /** What you have settled for yourself. */
  settings: OwnSettings;
  /** When the last message came, or the conversation was created, UTC milliseconds; the list's order. It never goes back. */
  activityAt: number;
}

/** A page of your conversations. */
export interface ListConversationsAck {
  /** At most `limit`, the one with the most recent activity first. */
  conversations: ConversationSummary[];
  /** The other side of each direct conversation on this page. */
  presence: Presence[];
  /** How the users are shown whom this page names: `participantIds`, and who wrote a `lastMessage`. */
  profiles: Profile[];
  /** Whether there are older ones. */
  hasMore: boolean;
  /** The `before` of the next page; null on the last. Its form may change. */
  nextBefore: string | null;
  /** In how many of all your conversations there is something unread; without `before` only. */
  unreadConversations?: number;
}

/** Somebody who takes part in a conversation. */
export interface Participant {
  /** The participant's user id. */
  userId: string;
  /** `owner`, `admin` or `member`; in a direct conversation always `member`. */
  role: "owner" | "admin" | "member";
  /** Up to which seq this user has read; 0 for nothing. */
  readSeq: number;
  /** When, UTC milliseconds; null if never. */
  readAt: number | null;
  /** Whether the user has a connection; false too for one who has not taken part so far. */
  online: boolean;
  /** When a user who is offline was last seen, UTC milliseconds; null if online, not seen since the server started, or without a part so far. */
  lastSeenAt: number | null;
  /** For display; absent while none is known: show the id. */
  name?: string;
  /** The address of a picture; absent while none is known. */
  avatar?: string;
  /** False: nobody has logged in with this id so far; absent for all others. */
  known?: boolean;
}

/** What a join left out, both ends included; `fetch_history` has it. */
export interface Gap {
  /** The first message that is missing. */
  fromSeq: number;
  /** The last message that is missing. */
  toSeq: number;
}

/** The conversation as it is now, and what you missed. */
export interface JoinConversationAck {
  /** The conversation. */
  conversation: Conversation;
  /** The first of them in the order of ids, and you; `list_participants` has the others. */
  participants: Participant[];
  /** In `seq` order: the newest `limit`, or with `after` those created after that change. */
  messages: Message[];
  /** Older messages that changed after `after`, as they are now, in the order of `change`. */
  updates: Message[];
  /** Only if `updates` did not all fit: the change up to which it has them; `fetch_changes` goes on. */
  updatesThrough?: number;
  /** The newest change at this moment: your next `after`; 0 while there is none. */
  change: number;
  /** The newest seq at this moment; 0 while there is no message. */
  lastSeq: number;
  /** Your read mark: up to which seq you have read; 0 for nothing. */
  readSeq: number;
  /** `lastSeq` minus `readSeq`, without deleted messages; 0 or more. */
  unreadCount: number;
  /** How many of those mention you; 0 or more. */
  unreadMentions: number;
  /** What you have settled for yourself. */
  settings: OwnSettings;
  /** Yours: `owner`, `admin` or `member`; in a direct conversation always `member`. */
  role: "owner" | "admin" | "member";
  /** The first message that you may see; 1 for all. */
  firstSeq: number;
  /** The user ids of who types at this moment, without yourself. */
  typing: string[];
  /** What `messages` left out; only if you gave `after` and missed more than fits. */
  gap?: Gap;
  /** How those are shown who wrote `messages` or `updates` and are not among `participants`; only if there are any. */
  profiles?: Profile[];
}

/** The socket hears no more of the conversation. */
export type LeaveConversationAck = object;

/** They take part. */
export interface AddParticipantsAck {
  /** As it is now. */
  conversation: Conversation;
  /** The message that says so; absent if all of them took part already. */
  message?: Message;
  /** Whether it was so before. */
  duplicate: boolean;
}

/** Somebody does not take part any more. */
export interface RemoveParticipantAck {
  /** The message that says so; absent if it was so already, and not by this request. */
  message?: Message;
  /** Whether it was so before. */
  duplicate: boolean;
}

/** Somebody has the role. */
export interface SetRoleAck {
  /** As it is now. */
  conversation: Conversation;
  /** The message that says so; absent if it was so already. */
  message?: Message;
  /** Whether it was so before. */
  duplicate: boolean;
}

/** The conversation is like that. */
export interface UpdateConversationAck {
  /** As it is now. */
  conversation: Conversation;
  /** The message that tells of a new title; absent if the title is the old one. */
  message?: Message;
  /** Whether it was so before. */
  duplicate: boolean;
}

/** The message is stored. */
export interface SendMessageAck {
  /** As it is stored, with its `seq`. */
  message: Message;
  /** Whether it had been stored before; `message` is the first one then, as it is now. */
  duplicate: boolean;
}

/** The message is edited or deleted, or has the reaction. */
export interface MessageChangeAck {
  /** As it is now; a tombstone if it is deleted. */
  message: Message;
  /** Whether it was so before. */
  duplicate: boolean;
}

/** Your read mark is there, or further. */
export interface MarkReadAck {
  /** Your read mark now; 0 while there is no message. */
  readSeq: number;
  /** The newest seq minus `readSeq`, without deleted messages; 0 or more. */
  unreadCount: number;
}

/** It is settled. */
export interface UpdateSettingsAck {
  /** All that you have settled for yourself, as it is now. */
  settings: OwnSettings;
}

/** A page of messages. */
export interface FetchHistoryAck {
  /** In `seq` order: the newest below `beforeSeq`, the oldest above `afterSeq`, or the newest of all. */
  messages: Message[];
  /** Whether there are more in that direction. */
  hasMore: boolean;
  /** How those are shown who wrote `messages`; only in conversations with more participants than a join tells. */
  profiles?: Profile[];
}

/** A page of what was created and changed. */
export interface FetchChangesAck {
  /** As they are now, in the order of `change`. */
  messages: Message[];
  /** The `after` of the next page: up to here you know everything. */
  change: number;
  /** Whether there may be more. A page with more behind it can be short, or empty. */
  hasMore: boolean;
  /** How those are shown who wrote `messages`; only in conversations with more participants than a join tells. */
  profiles?: Profile[];
}

/** Some messages. */
export interface FetchMessagesAck {
  /** Those that exist, in `seq` order. */
  messages: Message[];
  /** Whether not all of them fitted: ask for the others again. */
  hasMore: boolean;
  /** How those are shown who wrote `messages`; only in conversations with more participants than a join tells. */
  profiles?: Profile[];
}

/** A page of participants. */
export interface ListParticipantsAck {
  /** At most `limit`, those after `after` in the order of ids. */
  participants: Participant[];
  /** Whether there are more. */
  hasMore: boolean;
  /** The `after` of the next page; null on the last. */
  nextAfter: string | null;
}

/** It is noted. */
export type SetTypingAck = object;

/** It is noted. */
export type SetVisibilityAck = object;

/** Give the socket its user, if the handshake did not. */
export interface Authenticate {
  token: string;
}

/** Create a conversation between yourself and others, or find the one that this request repeats. */
export interface CreateConversation {
  participantIds: string[];
  title?: string | null;
  idempotencyKey?: string;
}

/** Get your conversations, the one with the most recent activity first. */
export interface ListConversations {
  limit?: number;
  before?: string;
}

/** Open a conversation on this socket: get what you missed, and from now on its events. */
export interface JoinConversation {
  conversationId: string;
  after?: number;
  limit?: number;
  visible?: boolean;
}

/** Get no more of the conversation's events on this socket. */
export interface LeaveConversation {
  conversationId: string;
}

/** Add people to a group. */
export interface AddParticipants {
  conversationId: string;
  userIds: string[];
  role?: "owner" | "admin" | "member";
  history: "all" | "none";
  idempotencyKey: string;
}

/** Remove somebody from a group, or leave it for good yourself. */
export interface RemoveParticipant {
  conversationId: string;
  userId: string;
  idempotencyKey?: string;
}

/** Give a participant of a group a role. */
export interface SetRole {
  conversationId: string;
  userId: string;
  role: "owner" | "admin" | "member";
}

/** Change a group's title, or a conversation's metadata. */
export interface UpdateConversation {
  conversationId: string;
  title?: string | null;
  metadata?: Record<string, unknown> | null;
  idempotencyKey?: string;
}

/** Store a message, and tell everybody in the conversation. */
export interface SendMessage {
  conversationId: string;
  idempotencyKey: string;
  body: string;
  metadata?: Record<string, unknown> | null;
  replyTo?: number;
  mentions?: string[];
}

/** Give a message that you sent new content, for some time after you sent it. */
export interface EditMessage {
  conversationId: string;
  seq: number;
  idempotencyKey: string;
  body: string;
  metadata?: Record<string, unknown> | null;
  mentions?: string[];
  ifChange?: number;
}

/** Delete a message that you sent, for everybody; owners and admins of a group delete others' too. */
export interface DeleteMessage {
  conversationId: string;
  seq: number;
}

/** React to a message, or take a reaction back. */
export interface SetReaction {
  conversationId: string;
  seq: number;
  reaction: string;
  on: boolean;
}

/** Move your read mark forward; it never moves back. */
export interface MarkRead {
  conversationId: string;
  seq: number;
}

/** Settle something for yourself in a conversation: mute, pin, archive it, or mark it as unread. */
export interface UpdateSettings {
  conversationId: string;
  muted?: boolean;
  pinned?: boolean;
  archived?: boolean;
  markedUnread?: boolean;
}

/** Read older messages, or fill a gap. */
export interface FetchHistory {
  conversationId: string;
  beforeSeq?: number;
  afterSeq?: number;
  limit?: number;
}

/** Read what was created and changed after a change, page by page. */
export interface FetchChanges {
  conversationId: string;
  after: number;
  limit?: number;
}

/** Get some messages by their places, for a quote of one that is not on a page. */
export interface FetchMessages {
  conversationId: string;
  seqs: number[];
}

/** Get who takes part, page by page in the order of ids. */
export interface ListParticipants {
  conversationId: string;
  after?: string;
  limit?: number;
}

/** Say that the user types, or has stopped; repeat true every three seconds while it lasts. */
export interface SetTyping {
  conversationId: string;
  typing: boolean;
}

/** Say whether the user is looking at the conversation on this socket; true marks everything as read. */
export interface SetVisibility {
  conversationId: string;
  visible: boolean;
}

export interface ClientToServerEvents {
  /** Give the socket its user, if the handshake did not. */
  authenticate: (payload: Authenticate, ack: (answer: Answer<AuthenticateAck>) => void) => void;
  /** Create a conversation between yourself and others, or find the one that this request repeats. */
  create_conversation: (payload: CreateConversation, ack: (answer: Answer<CreateConversationAck>) => void) => void;
  /** Get your conversations, the one with the most recent activity first. */
  list_conversations: (payload: ListConversations, ack: (answer: Answer<ListConversationsAck>) => void) => void;
  /** Open a conversation on this socket: get what you missed, and from now on its events. */
  join_conversation: (payload: JoinConversation, ack: (answer: Answer<JoinConversationAck>) => void) => void;
  /** Get no more of the conversation's events on this socket. */
  leave_conversation: (payload: LeaveConversation, ack: (answer: Answer<LeaveConversationAck>) => void) => void;
  /** Add people to a group. */
  add_participants: (payload: AddParticipants, ack: (answer: Answer<AddParticipantsAck>) => void) => void;
  /** Remove somebody from a group, or leave it for good yourself. */
  remove_participant: (payload: RemoveParticipant, ack: (answer: Answer<RemoveParticipantAck>) => void) => void;
  /** Give a participant of a group a role. */
  set_role: (payload: SetRole, ack: (answer: Answer<SetRoleAck>) => void) => void;
  /** Change a group's title, or a conversation's metadata. */
  update_conversation: (payload: UpdateConversation, ack: (answer: Answer<UpdateConversationAck>) => void) => void;
  /** Store a message, and tell everybody in the conversation. */
  send_message: (payload: SendMessage, ack: (answer: Answer<SendMessageAck>) => void) => void;
  /** Give a message that you sent new content, for some time after you sent it. */
  edit_message: (payload: EditMessage, ack: (answer: Answer<MessageChangeAck>) => void) => void;
  /** Delete a message that you sent, for everybody; owners and admins of a group delete others' too. */
  delete_message: (payload: DeleteMessage, ack: (answer: Answer<MessageChangeAck>) => void) => void;
  /** React to a message, or take a reaction back. */
  set_reaction: (payload: SetReaction, ack: (answer: Answer<MessageChangeAck>) => void) => void;
  /** Move your read mark forward; it never moves back. */
  mark_read: (payload: MarkRead, ack: (answer: Answer<MarkReadAck>) => void) => void;
  /** Settle something for yourself in a conversation: mute, pin, archive it, or mark it as unread. */
  update_settings: (payload: UpdateSettings, ack: (answer: Answer<UpdateSettingsAck>) => void) => void;
  /** Read older messages, or fill a gap. */
  fetch_history: (payload: FetchHistory, ack: (answer: Answer<FetchHistoryAck>) => void) => void;
  /** Read what was created and changed after a change, page by page. */
  fetch_changes: (payload: FetchChanges, ack: (answer: Answer<FetchChangesAck>) => void) => void;
  /** Get some messages by their places, for a quote of one that is not on a page. */
  fetch_messages: (payload: FetchMessages, ack: (answer: Answer<FetchMessagesAck>) => void) => void;
  /** Get who takes part, page by page in the order of ids. */
  list_participants: (payload: ListParticipants, ack: (answer: Answer<ListParticipantsAck>) => void) => void;
  /** Say that the user types, or has stopped; repeat true every three seconds while it lasts. */
  set_typing: (payload: SetTyping, ack: (answer: Answer<SetTypingAck>) => void) => void;
  /** Say whether the user is looking at the conversation on this socket; true marks everything as read. */
  set_visibility: (payload: SetVisibility, ack: (answer: Answer<SetVisibilityAck>) => void) => void;
}

export interface ServerToClientEvents {
  /** Who you are and what the server accepts: to a socket, right after it got its user. */
  welcome: (payload: Welcome) => void;
  /** A message was stored: to every socket that joined the conversation, the sender's too. It can come twice. */
  message_created: (payload: MessageCreated) => void;
  /** A message was edited, deleted or reacted to: to every socket that joined. It can come twice. */
  message_updated: (payload: MessageUpdated) => void;
  /** A message was stored in a conversation that this socket has not joined. It can come twice. */
  conversation_activity: (payload: Activity) => void;
  /** Somebody created a conversation in which you take part, or added you to one. */
  conversation_created: (payload: ConversationCreated) => void;
  /** People have come or gone, or have another role, in a conversation that this socket joined. */
  participants_changed: (payload: ParticipantsChanged) => void;
  /** You do not take part in a conversation any more: nothing of it comes after this. */
  conversation_removed: (payload: ConversationRemoved) => void;
  /** What your list shows of a conversation has changed, other than by a new message: its title too. */
  conversation_updated: (payload: ConversationUpdated) => void;
  /** Somebody's read mark moved. There is none for the reading that sending implies. */
  messages_read: (payload: MessagesRead) => void;
  /** You have settled something for yourself in a conversation, or read what you had marked as unread. */
  settings_changed: (payload: SettingsChanged) => void;
  /** Somebody began, goes on, or stopped typing in a small conversation that this socket joined. */
  user_typing: (payload: UserTyping) => void;
  /** Somebody whom this socket watches came online or went offline. */
  presence_changed: (payload: Presence) => void;
  /** Somebody whom this socket watches, or you yourself, is shown in another way from now on. */
  profile_changed: (payload: Profile) => void;
  /** The server is about to end this connection, and says why. */
  session_ended: (payload: SessionEnded) => void;
}

/** The same by name, for a function that sends any request. */
export interface Requests {
  authenticate: { payload: Authenticate; ack: AuthenticateAck };
  create_conversation: { payload: CreateConversation; ack: CreateConversationAck };
  list_conversations: { payload: ListConversations; ack: ListConversationsAck };
  join_conversation: { payload: JoinConversation; ack: JoinConversationAck };
  leave_conversation: { payload: LeaveConversation; ack: LeaveConversationAck };
  add_participants: { payload: AddParticipants; ack: AddParticipantsAck };
  remove_participant: { payload: RemoveParticipant; ack: RemoveParticipantAck };
  set_role: { payload: SetRole; ack: SetRoleAck };
  update_conversation: { payload: UpdateConversation; ack: UpdateConversationAck };
  send_message: { payload: SendMessage; ack: SendMessageAck };
  edit_message: { payload: EditMessage; ack: MessageChangeAck };
  delete_message: { payload: DeleteMessage; ack: MessageChangeAck };
  set_reaction: { payload: SetReaction; ack: MessageChangeAck };
  mark_read: { payload: MarkRead; ack: MarkReadAck };
  update_settings: { payload: UpdateSettings; ack: UpdateSettingsAck };
  fetch_history: { payload: FetchHistory; ack: FetchHistoryAck };
  fetch_changes: { payload: FetchChanges; ack: FetchChangesAck };
  fetch_messages: { payload: FetchMessages; ack: FetchMessagesAck };
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
