// Keys: makes a merchant's API key in the browser. The private key goes into a file of the merchant's own and nowhere
// else; the server is sent a certificate signing request (PKCS #10), which proves it without holding it.
//
//   <form method="post" action="/m/1900000109/certificates" data-key data-common-name="1900000109"
//         data-file-name="apiclient_key.pem" data-said-unsupported data-said-failed
//         data-said-making data-said-made data-said-saved>
//     <button type="button" data-key-make>…</button>
//     <a data-key-download hidden>…</a>                    shown, and at hand, once the key is made
//     <button data-key-send aria-disabled="true">…</button>     works once the file was taken
//     <p data-key-said role="status"></p>                  how far it is
//     <p data-problem role="alert" hidden></p>
//   </form>
//
// data-key-state on the form says none, making, made or saved. The request is put into the hidden field csr. A button
// that does nothing yet can still be reached: a disabled one would take the focus from whoever has just pressed it.
import { Difficulty, sentence, tell } from "./said.js";

const ALGORITHM = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
const KEY = { ...ALGORITHM, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };

/** A new key and what asks for its certificate: {privateKey, request}, both as PEM. */
export async function make(commonName) {
  if (!globalThis.crypto?.subtle) throw new Difficulty("unsupported"); // http by address: no secure context
  const { privateKey, publicKey } = await crypto.subtle.generateKey(KEY, true, ["sign", "verify"]);
  const about = information(commonName, await crypto.subtle.exportKey("spki", publicKey));
  const signature = await crypto.subtle.sign(ALGORITHM, privateKey, about);
  const request = sequence(about, sequence(SHA256_WITH_RSA, der(NULL)), der(BIT_STRING, [0], signature));
  return {
    privateKey: pem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", privateKey)),
    request: pem("CERTIFICATE REQUEST", request),
  };
}

// --- the request, in DER ---------------------------------------------------------------------------------------------
// One fixed shape (RFC 2986: version 0, a common name, the public key, no attributes), written and never read: so no
// library shares the page on which a private key is made.

const [INTEGER, BIT_STRING, NULL, UTF8_STRING, SEQUENCE, SET, ATTRIBUTES] = [0x02, 0x03, 0x05, 0x0c, 0x30, 0x31, 0xa0];
const COMMON_NAME = Uint8Array.of(0x06, 3, 0x55, 0x04, 0x03); // 2.5.4.3
// 1.2.840.113549.1.1.11
const SHA256_WITH_RSA = Uint8Array.of(0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b);

function information(commonName, publicKey) {
  const name = sequence(COMMON_NAME, der(UTF8_STRING, new TextEncoder().encode(commonName)));
  return sequence(der(INTEGER, [0]), sequence(der(SET, name)), publicKey, der(ATTRIBUTES));
}

function sequence(...parts) {
  return der(SEQUENCE, ...parts);
}

function der(tag, ...parts) {
  const content = parts.flatMap((part) => Array.from(new Uint8Array(part)));
  return Uint8Array.from([tag, ...lengthOf(content.length), ...content]);
}

function lengthOf(length) {
  if (length < 0x80) return [length];
  return length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
}

function pem(label, buffer) {
  const letters = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  const lines = btoa(letters).match(/.{1,64}/g);
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
}

// --- the form --------------------------------------------------------------------------------------------------------

function bind(form) {
  const parts = ["make", "download", "send", "said"].map((part) => form.querySelector(`[data-key-${part}]`));
  const [maker, link, sender, said] = parts;
  const show = (state) => {
    form.dataset.keyState = state;
    maker.ariaDisabled = String(state === "making");
    link.hidden = !["made", "saved"].includes(state);
    sender.ariaDisabled = String(state !== "saved");
    said.textContent = form.getAttribute(`data-said-${state}`) ?? "";
  };

  maker.addEventListener("click", async () => {
    if (form.dataset.keyState === "making") return;
    tell(form, "");
    show("making");
    try {
      const { privateKey, request } = await make(form.dataset.commonName);
      URL.revokeObjectURL(link.href);
      link.href = URL.createObjectURL(new Blob([privateKey], { type: "application/x-pem-file" }));
      link.download = form.dataset.fileName ?? "apiclient_key.pem";
      fill(form, request);
      show("made");
      link.focus();
    } catch (error) {
      show("none");
      tell(form, sentence(form, error.said ?? "failed"));
    }
  });
  link.addEventListener("click", () => show("saved"));
  // A key without its file would be lost with the page: nothing is asked for it before.
  form.addEventListener("submit", (event) => form.dataset.keyState === "saved" || event.preventDefault());
  show("none");
}

function fill(form, request) {
  let field = form.elements.namedItem("csr");
  if (!field) {
    field = Object.assign(document.createElement("input"), { type: "hidden", name: "csr" });
    form.append(field);
  }
  field.value = request;
}

document.querySelectorAll("form[data-key]").forEach(bind);
