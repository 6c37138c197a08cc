// PIN: a field of six digits that goes on by itself.
//
//   <form method="post" …>
//     <span data-pin-field><input data-pin name="pin" type="text" inputmode="numeric" maxlength="6"
//           pattern="[0-9]{6}" required autocomplete="off"></span>
//   </form>
//
// The sixth digit moves on to the next empty PIN field of the form, or submits it (not with data-pin-wait on the form);
// the form's hint says so. That it is sent once is for once.js to see to: each wrong PIN costs one of five tries.
// data-filled="0…6" on [data-pin-field] lets the style sheet draw six boxes. Whatever was typed is forgotten when the
// page is left, and nothing keeps it: browsers offer to keep what is typed into password fields, so it is none.
const LENGTH = 6;

document.addEventListener("input", (event) => {
  const field = event.target;
  if (!field.matches?.("input[data-pin]")) return;
  // Pasted "123 456" and the wide digits of Chinese keyboards are the same PIN.
  const digits = field.value.normalize("NFKC").replace(/\D/g, "").slice(0, LENGTH);
  if (field.value !== digits) field.value = digits;
  mark(field);
  if (digits.length === LENGTH) goOn(field);
});

// maxlength would cut "123 456" to "123 45" before anybody saw it.
document.addEventListener("paste", (event) => {
  const field = event.target;
  if (!field.matches?.("input[data-pin]")) return;
  event.preventDefault();
  field.value = (event.clipboardData?.getData("text") ?? "").normalize("NFKC").replace(/\D/g, "").slice(0, LENGTH);
  field.dispatchEvent(new Event("input", { bubbles: true }));
});

addEventListener("pagehide", () => forget(document));
addEventListener("pageshow", () => forget(document));
globalThis.navigation?.addEventListener("navigateerror", () => forget(document)); // the answer was stopped

function goOn(field) {
  const next = [...field.form.querySelectorAll("input[data-pin]")].find((other) => !other.value);
  if (next) next.focus();
  else if (!("pinWait" in field.form.dataset)) field.form.requestSubmit();
}

function mark(field) {
  const place = field.closest("[data-pin-field]");
  if (place) place.dataset.filled = String(field.value.length);
}

function forget(place) {
  for (const field of place.querySelectorAll("input[data-pin]")) {
    field.value = "";
    mark(field);
  }
}
