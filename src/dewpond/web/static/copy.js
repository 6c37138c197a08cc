// Copy: puts a text into the clipboard and says so on the button.
//
//   <button type="button" data-copy="wxd930ea5d5a258f4f" data-said-copied="Copied">Copy</button>
//   <button type="button" data-copy-from="#certificate" data-said-copied="Copied" data-said-failed="…">Copy</button>
//
// data-copied is on the button as long as it says so. A button with a picture has its words in a [data-copy-label].
// Announce the change with aria-live="polite" on the button. Where a browser lets nobody copy, that is said below the
// button's surroundings, and the text is selected for the hand.
const SHOWN_MS = 2_000;

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy], [data-copy-from]");
  if (!button || "copied" in button.dataset) return;
  const source = button.dataset.copyFrom && document.querySelector(button.dataset.copyFrom);
  const text = source ? (source.value ?? source.textContent.trim()) : button.dataset.copy;
  const isCopied = await write(text);
  button.focus(); // copying by selection takes the focus along
  tellFailure(button, !isCopied);
  if (!isCopied) {
    const shown = source ?? button.parentElement.querySelector("code");
    if (shown) getSelection().selectAllChildren(shown);
    return;
  }
  const place = button.querySelector("[data-copy-label]") ?? button;
  const label = place.textContent;
  button.dataset.copied = "";
  place.textContent = button.dataset.saidCopied ?? label;
  setTimeout(() => {
    delete button.dataset.copied;
    place.textContent = label;
  }, SHOWN_MS);
});

const failures = new WeakMap();

function tellFailure(button, hasFailed) {
  failures.get(button)?.remove();
  if (!hasFailed || !button.dataset.saidFailed) return;
  const place = Object.assign(document.createElement("p"), { className: "field__error", role: "alert" });
  (button.closest(".copyable") ?? button).after(place);
  place.textContent = button.dataset.saidFailed;
  failures.set(button, place);
}

async function write(text) {
  const written = navigator.clipboard?.writeText(text).then(() => true);
  return (await written?.catch(() => false)) || writeBySelection(text);
}

/** Over plain http on a local network browsers have no clipboard to write to, but they still copy what is selected. */
function writeBySelection(text) {
  const field = Object.assign(document.createElement("textarea"), { value: text, readOnly: true });
  Object.assign(field.style, { position: "fixed", opacity: 0 });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  return done;
}
