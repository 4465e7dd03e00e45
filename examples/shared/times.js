// Times and days as people say them, in the language of the words.
import { locale } from "./words.js";

// The hours as the browser's own language counts them, whatever language the words are in.
const { hourCycle } = new Intl.DateTimeFormat(undefined, { hour: "2-digit" }).resolvedOptions();
/** @param {Intl.DateTimeFormatOptions} options */
const format = (options) => new Intl.DateTimeFormat(locale, options);

const clock = format({ hour: "2-digit", minute: "2-digit", ...(hourCycle && { hourCycle }) });
const full = format({ dateStyle: "full" });
const weekday = format({ weekday: "long" });
const date = format({ day: "numeric", month: "long" });
const dateAndYear = format({ day: "numeric", month: "long", year: "numeric" });
const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });

/** The start of the day, as a number to compare and to name days by. @param {number} ms */
export function dayOf(ms) {
  return new Date(ms).setHours(0, 0, 0, 0);
}

/** @param {number} ms */
export const clockTime = (ms) => clock.format(ms);

/** With day and year, for who wants to know exactly. @param {number} ms */
export const fullTime = (ms) => `${full.format(ms)}, ${clock.format(ms)}`;

/** As it stands in a sentence: `today`, `Monday`, `hier`, `3 mars`. @param {number} ms @param {number} [now] */
export function dayInWords(ms, now = Date.now()) {
  const days = Math.round((dayOf(now) - dayOf(ms)) / 86_400_000); // a day may have 23 or 25 hours
  if (days <= 1) return relative.format(-Math.max(0, days), "day");
  if (days < 7) return weekday.format(ms);
  return (new Date(ms).getFullYear() === new Date(now).getFullYear() ? date : dateAndYear).format(ms);
}

/** As it stands alone: with a capital. @param {number} ms @param {number} [now] */
export function dayName(ms, now) {
  const [first = "", ...others] = dayInWords(ms, now);
  return first.toLocaleUpperCase(locale) + others.join("");
}

/** As it stands in a list: today the hour. @param {number} ms */
export function listTime(ms) {
  return dayOf(ms) === dayOf(Date.now()) ? clockTime(ms) : dayName(ms);
}
