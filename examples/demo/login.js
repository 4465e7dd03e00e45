// The first screen, for those who have not said who they are.

import { $, setText } from "./dom.js";
import { logIn } from "./session.js";
import { words } from "./words.js";

export function showLogin(message = "") {
  document.title = words.login;
  $("shell").hidden = true;
  $("login").hidden = false;
  setText($("login-error"), message);
  $("login-name").focus();
}

/** @param {() => Promise<void>} start  called when somebody is logged in */
export function listenToLogin(start) {
  $("login-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = $("login-name").value.trim();
    const button = event.submitter ?? $("login-form").querySelector("button");
    if (!name) {
      setText($("login-error"), words.typeAName);
      $("login-name").focus();
      return;
    }
    button.disabled = true;
    try {
      await logIn(name);
      setText($("login-error"), "");
      await start();
    } catch (error) {
      showLogin(error.message);
    } finally {
      button.disabled = false;
    }
  });
}
