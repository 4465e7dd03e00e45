// What only this page says; all other words are shared with the other pages (shared/words.js).

import { language, words as shared } from "./shared/words.js";

const en = {
  login: "socketserver demo",
  scripts: "The chat's script cannot be loaded",
  startOne: "Start one",
  keys: "↑ ↓ to choose · Enter to open · Esc to go back",
  kind: "Kind",
  direct: "Direct",
  group: "Group",
  title: "Title",
  whoIsInIt: "Who is in it?",
  nameOfOne: "The name that the other person logs in with.",
  namesOfMany: "Names, with commas between.",
  nameSomebody: "Please name somebody.",
  groupOfTwo: "A group of two needs a title.",
  onlineIn: (names, count) => `${names} · ${count} online`,
  readBy: (names) => `Read by ${names}`,
  readByAll: "Read by all",
  waiting: "Waiting for the connection",
  paused: "Paused",
};

const fr = {
  login: "socketserver : démonstration",
  scripts: "Le script de la messagerie ne peut pas être chargé",
  startOne: "En commencer une",
  keys: "↑ ↓ pour choisir · Entrée pour ouvrir · Échap pour revenir",
  kind: "Type",
  direct: "À deux",
  group: "Groupe",
  title: "Titre",
  whoIsInIt: "Qui en fait partie ?",
  nameOfOne: "Le nom sous lequel cette personne se connecte.",
  namesOfMany: "Des noms, séparés par des virgules.",
  nameSomebody: "Veuillez nommer quelqu’un.",
  groupOfTwo: "Un groupe de deux a besoin d’un titre.",
  onlineIn: (names, count) => `${names} · ${count} en ligne`,
  readBy: (names) => `Lu par ${names}`,
  readByAll: "Lu par tous",
  waiting: "En attente de la connexion",
  paused: "En pause",
};

export const words = { ...shared, ...(language === "fr" ? fr : en) };

/** Put the words where the page's HTML names them: as text, as a name for readers, as a placeholder. */
export function translate() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-word]")) node.textContent = words[node.dataset.word];
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", words[node.dataset.label]);
  for (const node of document.querySelectorAll("[data-title]")) node.title = words[node.dataset.title];
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = words[node.dataset.placeholder];
}

export { listOf } from "./shared/words.js";
