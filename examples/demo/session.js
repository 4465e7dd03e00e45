// The development login and the client library.

import { sentenceOf } from "./shared/words.js";
import { words } from "./words.js";

const CDN = {
  src: "https://cdn.socket.io/4.8.1/socket.io.min.js",
  integrity: "sha384-mkQ3/7FUtcGyoppY6bz/PORYoGqOl7/aSUMn2ymDOJcapfS6PHqxhRTMh1RR0Q6+",
};

/** The path under which the server's routes are: this file's is demo/session.js there, whatever a proxy puts in front. */
export const ROOT = new URL("../", import.meta.url).pathname;

// The client library: the server's copy, else the public CDN's

function loadScript(attributes) {
  return new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), attributes);
    script.addEventListener("load", () => resolve());
    script.addEventListener("error", () => reject(new Error(`${words.scripts}: ${attributes.src}`)));
    document.head.append(script);
  });
}

let library = null;

/** Once, whoever asks. */
export function loadClientLibrary() {
  library ??= load();
  return library;
}

async function load() {
  if (globalThis.io) return;
  try {
    await loadScript({ src: new URL("socket.io.min.js", import.meta.url).href });
  } catch {
    await loadScript({ ...CDN, crossOrigin: "anonymous" });
  }
}

// Login. The token belongs to this tab, so that two tabs can be two people.

export const session = {
  get user() {
    try {
      return JSON.parse(sessionStorage.getItem("chat.user"));
    } catch {
      return null;
    }
  },
  get token() {
    return sessionStorage.getItem("chat.token");
  },
  set({ user, token }) {
    sessionStorage.setItem("chat.user", JSON.stringify(user));
    sessionStorage.setItem("chat.token", token);
  },
  clear() {
    sessionStorage.removeItem("chat.user");
    sessionStorage.removeItem("chat.token");
  },
};

export async function logIn(name) {
  let answer;
  try {
    const response = await fetch(ROOT + "session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ user: name }),
    });
    answer = await response.json();
  } catch {
    throw new Error(words.unreachable);
  }
  if (!answer.ok) throw new Error(sentenceOf(answer.error));
  session.set(answer);
  return answer;
}
