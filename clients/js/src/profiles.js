// Who is who: how users are shown, from everything in which the server names them. By user id, whatever conversation it was in.
import { Listenable } from "./listeners.js";

/** @import { Profile } from "./wire.js" */

/** So many users at the most; those who were named last stay. */
const MOST = 2_000;

export class Profiles extends Listenable {
  /** By user id; another map when something changes. @type {ReadonlyMap<string, Profile>} */
  state = new Map();

  snapshot = () => this.state;

  /** @param {readonly (Profile | undefined)[]} [news] whole ones, as participants have them too */
  learn(news = []) {
    const changed = news.filter((each) => each !== undefined && !same(each, this.state.get(each.userId)));
    if (changed.length === 0) return;
    const state = new Map(this.state);
    for (const { userId, name, avatar, known } of /** @type {Profile[]} */ (changed)) {
      state.delete(userId);
      state.set(userId, { userId, ...(name && { name }), ...(avatar && { avatar }), ...(known === false && { known }) });
    }
    for (const userId of state.keys()) {
      if (state.size <= MOST) break;
      state.delete(userId);
    }
    this.state = state;
    this.notify();
  }

  forget() {
    this.state = new Map();
    this.notify();
  }
}

/** @param {Profile} a @param {Profile | undefined} b */
const same = (a, b) => b !== undefined && a.name === b.name && a.avatar === b.avatar && a.known === b.known;
