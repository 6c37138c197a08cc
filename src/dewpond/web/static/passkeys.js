// Passkeys: lets the device's authenticator answer a form.
//
//   <form method="post" action="/sign-in/passkey" data-passkey="get" data-options-url="/sign-in/passkey/challenge"
//         data-said-cancelled data-said-unsupported data-said-insecure data-said-known data-said-offline
//         data-said-failed>
//     <p data-problem role="alert" hidden></p>
//     <button>Sign in</button>
//   </form>
//
// On submit the form's fields go to data-options-url by POST, which answers {"challenge_id", "options"}. What the
// authenticator says to that is put into the hidden fields challenge_id and response, and the form is submitted.
// <html data-passkeys="yes|no"> tells the style sheet whether there is any use in showing such a form.
import { Difficulty, sentence, tell } from "./said.js";

const OURS = ["challenge_id", "response"];

const isSupported = Boolean(globalThis.isSecureContext && globalThis.PublicKeyCredential);

/** Make a passkey by options as a server writes them; what it answers, ready for JSON. */
export async function create(options) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON?.(options) ?? {
    ...options,
    challenge: bytes(options.challenge),
    user: { ...options.user, id: bytes(options.user.id) },
    excludeCredentials: (options.excludeCredentials ?? []).map(described),
  };
  return written(await navigator.credentials.create({ publicKey }));
}

/** Let a passkey sign by options as a server writes them; what it answers, ready for JSON. */
export async function get(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON?.(options) ?? {
    ...options,
    challenge: bytes(options.challenge),
    allowCredentials: (options.allowCredentials ?? []).map(described),
  };
  return written(await navigator.credentials.get({ publicKey }));
}

// --- for browsers, and password managers, without JSON of their own -------------------------------------------------

function bytes(text) {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
}

function text(buffer) {
  const letters = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(letters).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

function described(credential) {
  return { ...credential, id: bytes(credential.id) };
}

function written(credential) {
  if (credential.toJSON) return credential.toJSON();
  const { id, rawId, type, authenticatorAttachment, response: said } = credential;
  const response = { clientDataJSON: text(said.clientDataJSON) };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (said[name]) response[name] = text(said[name]);
  }
  if (said.getTransports) response.transports = said.getTransports();
  const clientExtensionResults = credential.getClientExtensionResults();
  return { id, rawId: text(rawId), type, authenticatorAttachment, clientExtensionResults, response };
}

// --- forms -----------------------------------------------------------------------------------------------------------

const answered = new WeakSet();

// Capturing, so that nobody else takes the form for sent before the authenticator has answered.
document.addEventListener("submit", onSubmit, true);
addEventListener("pageshow", () => document.querySelectorAll("form[data-passkey]").forEach(rest));
document.documentElement.dataset.passkeys = isSupported ? "yes" : "no";

function onSubmit(event) {
  const form = event.target;
  if (!form.matches("form[data-passkey]") || answered.delete(form)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (form.getAttribute("aria-busy") !== "true") answer(form, event.submitter);
}

async function answer(form, submitter) {
  form.setAttribute("aria-busy", "true");
  tell(form, "");
  try {
    if (!isSupported) throw new Difficulty("unsupported");
    const { challenge_id, options } = await begin(form);
    const asked = typeof options === "string" ? JSON.parse(options) : options;
    const response = await (form.dataset.passkey === "create" ? create : get)(asked);
    fill(form, "challenge_id", challenge_id);
    fill(form, "response", JSON.stringify(response));
    answered.add(form);
    form.requestSubmit(submitter); // and busy it stays, until another page is there
  } catch (error) {
    rest(form);
    tell(form, error.sentence || sentence(form, named(error)));
  }
}

async function begin(form) {
  const body = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (typeof value === "string" && !OURS.includes(name)) body.append(name, value);
  }
  const headers = { accept: "application/json" };
  const reply = await fetch(form.dataset.optionsUrl, { method: "POST", body, headers }).catch(() => {
    throw new Difficulty("offline");
  });
  if (reply.status === 401) location.reload(); // the session has ended: this page leads to the sign-in and back
  const told = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Difficulty("failed", told.title);
  return told;
}

function fill(form, name, value) {
  let field = form.elements.namedItem(name);
  if (!field) {
    field = Object.assign(document.createElement("input"), { type: "hidden", name });
    form.append(field);
  }
  field.value = value;
}

function rest(form) {
  form.removeAttribute("aria-busy");
}

function named(error) {
  const names = {
    Difficulty: error.said,
    NotAllowedError: "cancelled", // the person said no, or the time was up: browsers do not tell which
    AbortError: "cancelled",
    InvalidStateError: "known", // this device holds a passkey of this account already
    NotSupportedError: "unsupported",
    ConstraintError: "unsupported",
    SecurityError: "insecure", // this address is not the one passkeys are bound to
  };
  return names[error.name] ?? "failed";
}
