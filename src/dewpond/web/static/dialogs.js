// Dialogs: what opens as a popover where there is no script is modal where there is one: the focus stays within, Escape
// closes it, and the focus is back where it was. The drawer of a narrow console closes by Escape too, and when the focus
// goes on into the page below it.
//
//   <button type="button" popovertarget="sure">…</button>   <dialog id="sure" popover closedby="any"> … </dialog>
//   <details class="drawer"><summary>…</summary> … </details>

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button[popovertarget]");
  const dialog = button?.popoverTargetElement;
  if (dialog?.localName !== "dialog" || !dialog.showModal) return;
  event.preventDefault();
  if (button.popoverTargetAction === "hide") dialog.close();
  else if (!dialog.open) dialog.showModal();
});

// Safari does not know `closedby` yet: there a press beside the dialog closes it by this. Whoever marks a word and lets
// go beside it has not pressed there.
let pressedBeside = null;

document.addEventListener("pointerdown", ({ target, clientX: x, clientY: y }) => {
  const { left, top, right, bottom } = target.getBoundingClientRect();
  pressedBeside = target.localName === "dialog" && (x < left || x > right || y < top || y > bottom) ? target : null;
});

document.addEventListener("click", (event) => {
  if (event.target !== pressedBeside || "closedBy" in HTMLDialogElement.prototype) return;
  pressedBeside.close();
});

const drawerOf = (place) => place?.closest?.("details.drawer[open]");

document.addEventListener("keydown", (event) => {
  const drawer = drawerOf(event.target);
  if (event.key !== "Escape" || !drawer) return;
  drawer.open = false;
  drawer.querySelector("summary").focus();
});

document.addEventListener("focusout", (event) => {
  const drawer = drawerOf(event.target);
  if (drawer && event.relatedTarget && !drawer.contains(event.relatedTarget)) drawer.open = false;
});
