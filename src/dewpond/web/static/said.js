// Said: modules know no language. A page brings the sentences along as attributes, and a module picks one by name:
//
//   <form data-said-cancelled="…" data-said-failed="…">  <p data-problem role="alert" hidden></p>  </form>
//
// A sentence that was not brought is replaced by data-said-failed.
//
//   <p data-live-state data-zone="Asia/Shanghai" data-said-live="…" data-said-stale="… {since} …"></p>    (macro `live`)

/** A difficulty with the name of its sentence, or with a sentence that the server said. */
export class Difficulty extends Error {
  constructor(name, sentence = "") {
    super(name);
    this.name = "Difficulty";
    this.said = name;
    this.sentence = sentence;
  }
}

/** The sentence an element brings for a name. */
export function sentence(element, name) {
  return element.getAttribute(`data-said-${name}`) ?? element.getAttribute("data-said-failed") ?? "";
}

/** Show a sentence in the element's [data-problem]; an empty one takes it away, the same one is not said again. */
export function tell(element, text) {
  const place = element.querySelector("[data-problem]");
  if (!place || place.textContent === text) return;
  place.textContent = text;
  place.hidden = !text;
}

/** Say on every [data-live-state] how the page stands to the present. Since when is told by the page's own zone, as every
 * other time on it, whatever the device's is; <html data-live-now> tells the style sheet. */
export function tellState(state, since) {
  const { dataset, lang } = document.documentElement;
  dataset.liveNow = state;
  for (const place of document.querySelectorAll("[data-live-state]")) {
    const shown = since.toLocaleTimeString(lang || "en", { timeStyle: "short", timeZone: place.dataset.zone });
    place.dataset.liveState = state;
    place.textContent = (place.getAttribute(`data-said-${state}`) ?? "").replace("{since}", shown);
  }
}
