// Keypad: keys on the page for an amount or a PIN; a device's own keyboard would cover what is being paid.
//
//   <div data-keypad="amount" hidden> <button type="button" data-key="1">…</button> … <button data-key="back">…</button> </div>
//
// data-keypad names the field by its id. The field stays an ordinary one: it is typed into as before, and hears `input`
// for each key. A key that would make an amount no amount does nothing.

function bind(pad) {
  const field = document.getElementById(pad.dataset.keypad);
  if (!field) return;
  field.inputMode = "none";
  pad.hidden = false;
  pad.addEventListener("click", (event) => {
    const key = event.target.closest("[data-key]")?.dataset.key;
    if (key) press(field, key);
  });
}

function press(field, key) {
  const text = key === "back" ? field.value.slice(0, -1) : field.value + key;
  if (key !== "back" && !isOnItsWay(field, text)) return;
  field.value = text;
  field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Whether a text may still become what the field takes: a part of a PIN, or an amount as far as it goes. */
function isOnItsWay(field, text) {
  if (field.maxLength >= 0 && text.length > field.maxLength) return false;
  if (field.minLength > text.length) return true;
  const pattern = new RegExp(`^(?:${field.pattern || ".*"})$`);
  return pattern.test(text) || pattern.test(`${text}0`);
}

document.querySelectorAll("[data-keypad]").forEach(bind);
