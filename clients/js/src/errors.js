// What a request, or a connection, failed with.

/** @import { EndCode, ErrorCode, ErrorDetails } from "./wire.js" */

/**
 * Codes of this side, beside the server's: `disconnected` and `timeout` (nobody knows whether the server took it),
 * `discarded` (the user gave a message up), `outbox_full`, `closed` (the chat is not connected, and was not asked to be),
 * `unreachable`, `no_network`, `no_token` (`getToken` failed), `user_changed` (a token of another user than before).
 *
 * @typedef {"disconnected" | "timeout" | "discarded" | "outbox_full" | "closed" | "unreachable" | "no_network" | "no_token"
 *   | "user_changed"} OwnCode
 */

export class ChatError extends Error {
  /** @param {Omit<Partial<ErrorDetails>, "code"> & {code: ErrorCode | EndCode | OwnCode}} details */
  constructor({ code, message = code, retryable = false, retryAfterMs, fields }) {
    super(message);
    this.name = "ChatError";
    /** Stable, so compare it. */
    this.code = code;
    /** Whether the same request can succeed later without a change. */
    this.retryable = retryable;
    /** How long to wait before that, in milliseconds; undefined where it is not known. */
    this.retryAfterMs = retryAfterMs;
    /** With `invalid_payload`: lists of sentences by field, nested like the payload. */
    this.fields = fields;
  }
}

/**
 * What a connect failed with: the server's own error, over Socket.IO (`told`) or in the body of an HTTP refusal.
 *
 * @param {Error} error
 * @returns {{told: boolean, details: Partial<ErrorDetails> | undefined}}
 */
export function readRefusal(error) {
  const { data, context } = /** @type {any} */ (error);
  if (data?.code) return { told: true, details: data };
  try {
    return { told: false, details: JSON.parse(context?.responseText ?? "").error };
  } catch {
    return { told: false, details: undefined }; // no answer, or a proxy's page
  }
}
