// Every word of the pages, in English and in French: the only file to translate. Which of the two is the browser's to say;
// whoever speaks neither gets English, dates and all, so that no sentence is in two languages.

const wanted = globalThis.navigator?.languages ?? ["en"];
export const language = wanted[0]?.toLowerCase().startsWith("fr") ? "fr" : "en";
/** For dates and numbers: `en-GB` and not `en`, if that is what the browser says. */
export const locale = wanted.find((each) => each.toLowerCase().startsWith(language)) ?? language;

const and = new Intl.ListFormat(locale, { type: "conjunction" });
const numbers = new Intl.NumberFormat(locale);
/** @param {readonly string[]} names */
export const listOf = (names) => and.format(names);
/** @param {number} number */
const n = (number) => numbers.format(number);
/** Of one and of many; in French nothing is one thing. @param {number} count @param {string} one @param {string} many */
const en1 = (count, one, many) => (count === 1 ? one : many);
/** @param {number} count @param {string} one @param {string} many */
const fr1 = (count, one, many) => (count < 2 ? one : many);

const en = {
  // The login
  whoAreYou: "Say who you are",
  anyName: "A development login: any name will do. Open a second tab under another name to talk to yourself.",
  yourName: "Your name",
  typeAName: "Please type a name.",
  start: "Start chatting",
  unreachable: "The server cannot be reached.",

  // The list
  messages: "Messages",
  conversations: "Conversations",
  logOut: "Log out",
  newConversation: "New conversation",
  earlier: "Earlier conversations",
  none: "No conversations yet. Start one with the plus.",
  choose: "Choose a conversation, or start a new one.",
  filter: "Search conversations",
  noneOfThatName: "No conversation of that name.",
  you: "You",
  draft: "Draft",
  noMessages: "No messages yet",
  /** Behind the number. @param {number} _count */
  unread: (_count) => "unread",
  /** @param {string} names @param {number} count */
  andMore: (names, count) => `${names} and ${n(count)} more`,
  deleted: "Message deleted",
  muted: "Muted",
  pinned: "Pinned",
  markedUnread: "Marked as unread",
  mentioned: "You are mentioned",
  /** @param {number} count */
  archived: (count) => `Archived (${n(count)})`,

  // Notifications
  notify: "Notify me of new messages",
  notifying: "Notifications are on",
  notifyRefused: "The browser does not allow notifications from this page. Its settings do.",

  // A new conversation
  close: "Close",
  whoWith: "Who with?",
  whoWithHint: "One name, or several with commas in between.",
  groupTitle: "Title, for a group (optional)",
  cancel: "Cancel",
  create: "Start",

  // The head of a conversation
  back: "Back to the conversations",
  online: "online",
  offline: "offline",
  notConnected: "not connected",
  neverHere: "has never been here",
  /** @param {string} when */
  lastSeen: (when) => `last seen ${when}`,
  /** @param {number} count @param {number} online */
  people: (count, online) => `${n(count)} people${online > 0 ? `, ${n(online)} of the others online` : ""}`,

  conversationOptions: "Conversation options",
  pin: "Pin",
  unpin: "Unpin",
  mute: "Mute",
  unmute: "Unmute",
  markUnread: "Mark as unread",
  archive: "Archive",
  unarchive: "Unarchive",

  // The people of a group
  thePeople: "People",
  title: "Title",
  roles: { owner: "Owner", admin: "Admin", member: "Member" },
  /** @param {string} name */
  roleOf: (name) => `Role of ${name}`,
  addPeople: "Add people",
  theySee: "What they see",
  withHistory: "With the history",
  fromNowOn: "From now on",
  add: "Add",
  /** @param {string} name */
  removePerson: (name) => `Remove ${name}`,
  /** @param {string} name */
  reallyRemove: (name) => `Remove ${name} from the group?`,
  takeOut: "Remove",
  leaveGroup: "Leave the group",
  reallyLeave: "Leave the group for good? You will see nothing of it any more.",
  leave: "Leave",
  /** By reason. @type {Record<"removed" | "left" | "deleted", (title: string) => string>} */
  gone: {
    removed: (title) => `You were removed from “${title}”.`,
    left: (title) => `You left “${title}”.`,
    deleted: (title) => `“${title}” was deleted.`,
  },

  // The history
  history: "Message history",
  beginning: "This is where the conversation begins.",
  loading: "Loading…",
  loadingEarlier: "Loading earlier messages…",
  /** @param {number} count */
  newMessages: (count) => (count > 0 ? `${n(count)} new` : "New messages"),
  /** @param {number} count */
  unreadAbove: (count) => `${n(count)} unread ${en1(count, "message", "messages")} above`,
  /** @param {number} count */
  newBelow: (count) => `${n(count)} new ${en1(count, "message", "messages")}`,
  toNewest: "To the newest messages",
  /** @param {string} names @param {number} count */
  typing: (names, count) => `${names} ${count === 1 ? "is" : "are"} typing`,
  ticks: { waiting: "Sending", failed: "Not sent", sent: "Sent", seen: "Read" },
  notSent: "Not sent.",
  retry: "Try again",
  discard: "Discard",

  // What can be done with a message
  options: "Message options",
  reply: "Reply",
  edit: "Edit",
  remove: "Delete",
  copy: "Copy text",
  undo: "Undo",
  edited: "edited",
  /** @param {string} reaction */
  react: (reaction) => `React with ${reaction}`,
  /** @param {string} reaction @param {string} names */
  reacted: (reaction, names) => `${reaction}: ${names}`,
  notChanged: "Not changed.",
  /** @param {string} name */
  quoteOf: (name) => `In reply to ${name}`,
  notThere: "This message cannot be shown.",

  // Writing
  message: "Message",
  write: "Write a message",
  send: "Send",
  sendKey: "Send (Enter)",
  editing: "Edit message",
  /** @param {string} name */
  replyingTo: (name) => `Reply to ${name}`,
  save: "Save",
  mention: "People to mention",
  outboxFull: "Too many messages wait already. Go online first.",
  /** @param {number} most @param {number} over */
  tooLong: (most, over) => `${n(most)} characters at most; ${n(over)} too many.`,
  noFiles: "Files and pictures cannot be sent here.",

  // The connection
  connecting: "Connecting…",
  /** @param {number | null} ms */
  connected: (ms) => (ms === null ? "Connected" : `Connected · ${n(ms)} ms`),
  /** @param {number} attempt @param {number} of */
  retrying: (attempt, of) => `Retrying, ${attempt} of ${of}`,
  disconnected: "Not connected",
  lost: "The connection was lost.",
  goesOn: "It is tried again from time to time.",
  notKept: "What you write is lost if you close this page.",
  tryAgain: "Try again",
  /** By code: what happened, and what the button says. @type {Record<string, {text: string, button: string} | undefined>} */
  ends: {
    replaced: { text: "This chat was opened in another tab or on another device.", button: "Use it here" },
    token_expired: { text: "Your login has expired.", button: "Log in again" },
    invalid_token: { text: "Your login is no longer valid.", button: "Log in again" },
    no_token: { text: "Your login could not be renewed.", button: "Try again" },
    logged_out: { text: "You were logged out.", button: "Log in again" },
    kicked: { text: "An administrator ended the connection.", button: "Connect again" },
    too_many_connects: { text: "There were too many connections in a short time.", button: "Try again" },
    auth_timeout: { text: "You were not logged in in time.", button: "Try again" },
    restart: { text: "The server restarts.", button: "Try again" },
    unreachable: { text: "The server cannot be reached.", button: "Try again" },
    no_network: { text: "You are offline.", button: "Try again" },
  },
  /** By code; for all else the server has a sentence, in English. @type {Record<string, string | undefined>} */
  errors: {
    disconnected: "There is no connection at the moment.",
    timeout: "The server is slow to answer.",
    internal_error: "The server made a mistake.",
    store_unavailable: "The server cannot store messages at the moment.",
    overloaded: "The server has too much to do at the moment.",
    rate_limited: "A little too fast. Try again in a moment.",
    conversation_not_found: "This conversation does not exist, or you do not take part in it.",
    message_deleted: "The message was deleted.",
    forbidden: "You may not do this.",
    too_late: "It is too late for that.",
    version_conflict: "Somebody else has changed it meanwhile.",
  },
};

/** @type {typeof en} */
const fr = {
  whoAreYou: "Dites qui vous êtes",
  anyName: "Connexion de développement : n’importe quel nom convient. Ouvrez un second onglet sous un autre nom pour vous parler à vous-même.",
  yourName: "Votre nom",
  typeAName: "Veuillez saisir un nom.",
  start: "Commencer",
  unreachable: "Le serveur est injoignable.",

  messages: "Messages",
  conversations: "Conversations",
  logOut: "Se déconnecter",
  newConversation: "Nouvelle conversation",
  earlier: "Conversations plus anciennes",
  none: "Aucune conversation. Le signe plus en commence une.",
  choose: "Choisissez une conversation, ou commencez-en une.",
  filter: "Rechercher une conversation",
  noneOfThatName: "Aucune conversation de ce nom.",
  you: "Vous",
  draft: "Brouillon",
  noMessages: "Aucun message",
  unread: (count) => fr1(count, "non lu", "non lus"),
  andMore: (names, count) => `${names} et ${n(count)} ${fr1(count, "autre", "autres")}`,
  deleted: "Message supprimé",
  muted: "En sourdine",
  pinned: "Épinglée",
  markedUnread: "Marquée comme non lue",
  mentioned: "On vous mentionne",
  archived: (count) => `Archivées (${n(count)})`,

  notify: "M’avertir des nouveaux messages",
  notifying: "Les notifications sont activées",
  notifyRefused: "Le navigateur n’autorise pas les notifications de cette page ; ses paramètres le permettent.",

  close: "Fermer",
  whoWith: "Avec qui ?",
  whoWithHint: "Un nom, ou plusieurs séparés par des virgules.",
  groupTitle: "Titre, pour un groupe (facultatif)",
  cancel: "Annuler",
  create: "Commencer",

  back: "Retour aux conversations",
  online: "en ligne",
  offline: "hors ligne",
  notConnected: "non connecté",
  neverHere: "n’est jamais venu ici",
  lastSeen: (when) => `vu ${when}`,
  people: (count, online) => `${n(count)} personnes${online > 0 ? `, dont ${n(online)} en ligne` : ""}`,

  conversationOptions: "Options de la conversation",
  pin: "Épingler",
  unpin: "Désépingler",
  mute: "Mettre en sourdine",
  unmute: "Rétablir le son",
  markUnread: "Marquer comme non lue",
  archive: "Archiver",
  unarchive: "Désarchiver",

  thePeople: "Participants",
  title: "Titre",
  roles: { owner: "Propriétaire", admin: "Administrateur", member: "Membre" },
  roleOf: (name) => `Rôle de ${name}`,
  addPeople: "Ajouter des personnes",
  theySee: "Ce qu’elles voient",
  withHistory: "Avec l’historique",
  fromNowOn: "À partir de maintenant",
  add: "Ajouter",
  removePerson: (name) => `Retirer ${name}`,
  reallyRemove: (name) => `Retirer ${name} du groupe ?`,
  takeOut: "Retirer",
  leaveGroup: "Quitter le groupe",
  reallyLeave: "Quitter le groupe pour de bon ? Vous n’en verrez plus rien.",
  leave: "Quitter",
  gone: {
    removed: (title) => `Vous avez été retiré de « ${title} ».`,
    left: (title) => `Vous avez quitté « ${title} ».`,
    deleted: (title) => `« ${title} » a été supprimé.`,
  },

  history: "Historique des messages",
  beginning: "La conversation commence ici.",
  loading: "Chargement…",
  loadingEarlier: "Chargement des messages plus anciens…",
  newMessages: (count) => (count > 0 ? `${n(count)} ${fr1(count, "nouveau", "nouveaux")}` : "Nouveaux messages"),
  unreadAbove: (count) => `${n(count)} ${fr1(count, "message non lu", "messages non lus")} plus haut`,
  newBelow: (count) => `${n(count)} ${fr1(count, "nouveau message", "nouveaux messages")}`,
  toNewest: "Vers les messages les plus récents",
  typing: (names, count) => `${names} ${count === 1 ? "écrit" : "écrivent"}`,
  ticks: { waiting: "Envoi en cours", failed: "Non envoyé", sent: "Envoyé", seen: "Lu" },
  notSent: "Non envoyé.",
  retry: "Réessayer",
  discard: "Abandonner",

  options: "Options du message",
  reply: "Répondre",
  edit: "Modifier",
  remove: "Supprimer",
  copy: "Copier le texte",
  undo: "Annuler",
  edited: "modifié",
  react: (reaction) => `Réagir avec ${reaction}`,
  reacted: (reaction, names) => `${reaction} : ${names}`,
  notChanged: "Non modifié.",
  quoteOf: (name) => `En réponse à ${name}`,
  notThere: "Ce message ne peut pas être affiché.",

  message: "Message",
  write: "Écrivez un message",
  send: "Envoyer",
  sendKey: "Envoyer (Entrée)",
  editing: "Modifier le message",
  replyingTo: (name) => `Répondre à ${name}`,
  save: "Enregistrer",
  mention: "Personnes à mentionner",
  outboxFull: "Trop de messages attendent déjà. Rétablissez d’abord la connexion.",
  tooLong: (most, over) => `${n(most)} caractères au plus ; ${n(over)} de trop.`,
  noFiles: "Les fichiers et les images ne peuvent pas être envoyés ici.",

  connecting: "Connexion…",
  connected: (ms) => (ms === null ? "Connecté" : `Connecté · ${n(ms)} ms`),
  retrying: (attempt, of) => `Nouvel essai, ${attempt} sur ${of}`,
  disconnected: "Non connecté",
  lost: "La connexion est perdue.",
  goesOn: "De nouveaux essais ont lieu de temps en temps.",
  notKept: "Ce que vous écrivez sera perdu si vous fermez cette page.",
  tryAgain: "Réessayer",
  ends: {
    replaced: { text: "Cette discussion a été ouverte dans un autre onglet ou sur un autre appareil.", button: "L’utiliser ici" },
    token_expired: { text: "Votre session a expiré.", button: "Se reconnecter" },
    invalid_token: { text: "Votre session n’est plus valable.", button: "Se reconnecter" },
    no_token: { text: "Votre session n’a pas pu être renouvelée.", button: "Réessayer" },
    logged_out: { text: "Vous avez été déconnecté.", button: "Se reconnecter" },
    kicked: { text: "Un administrateur a mis fin à la connexion.", button: "Se reconnecter" },
    too_many_connects: { text: "Trop de connexions en peu de temps.", button: "Réessayer" },
    auth_timeout: { text: "La connexion n’a pas abouti à temps.", button: "Réessayer" },
    restart: { text: "Le serveur redémarre.", button: "Réessayer" },
    unreachable: { text: "Le serveur est injoignable.", button: "Réessayer" },
    no_network: { text: "Vous êtes hors ligne.", button: "Réessayer" },
  },
  errors: {
    disconnected: "Il n’y a pas de connexion en ce moment.",
    timeout: "Le serveur tarde à répondre.",
    internal_error: "Le serveur a fait une erreur.",
    store_unavailable: "Le serveur ne peut pas enregistrer de messages en ce moment.",
    overloaded: "Le serveur est surchargé en ce moment.",
    rate_limited: "Un peu trop vite. Réessayez dans un instant.",
    conversation_not_found: "Cette conversation n’existe pas, ou vous n’y participez pas.",
    message_deleted: "Le message a été supprimé.",
    forbidden: "Cela ne vous est pas permis.",
    too_late: "Il est trop tard pour cela.",
    version_conflict: "Quelqu’un d’autre l’a modifié entre-temps.",
  },
};

export const words = language === "fr" ? fr : en;

/** What to say of an error. @param {{code: string, message: string}} error */
export const sentenceOf = ({ code, message }) => words.errors[code] ?? message;
