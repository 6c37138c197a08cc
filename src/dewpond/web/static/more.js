// More: who asks for more of a list hears how much came, and stays where they are: at the next "Show more", or where
// there is nothing more, at the first of what came last.
//
//   <div id="LIST-more"><a id="LIST-more-link" hx-get="…" hx-target="#LIST" …>Show more</a></div>
//   <p id="LIST-more-said" role="status" data-said-more="{count} more"></p>              (macro `more`; htmx brings the rows)
const before = new WeakMap();

/** The list for which an event of htmx brings more; nothing where it is about something else. */
function listOf({ detail }) {
  const { elt, target } = detail.requestConfig ?? {};
  return elt?.id && elt.id === `${target?.id}-more-link` ? target : null;
}

document.addEventListener("htmx:beforeSwap", (event) => {
  const list = listOf(event);
  if (list) before.set(list, list.lastElementChild);
});

document.addEventListener("htmx:afterSettle", (event) => {
  const list = listOf(event);
  if (!list || !before.has(list)) return;
  const came = [...list.children];
  came.splice(0, came.indexOf(before.get(list)) + 1);
  before.delete(list);
  const said = document.getElementById(`${list.id}-more-said`);
  said.textContent = said.dataset.saidMore.replace("{count}", came.reduce((sum, piece) => sum + rowsIn(piece), 0));
  if (!document.getElementById(`${list.id}-more-link`)) goTo(came[0]);
});

function rowsIn(piece) {
  if (piece.matches(".day-name")) return 0;
  return piece.matches("ol, ul") ? piece.children.length : 1;
}

function goTo(row) {
  const place = row?.querySelector("a[href], button, summary") ?? row;
  if (place === row) row?.setAttribute("tabindex", "-1");
  place?.focus();
}
