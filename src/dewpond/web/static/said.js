// Said: modules know no language. A page brings the sentences along as attributes, and a module picks one by name:
//
//   <form data-said-cancelled="…" data-said-failed="…">  <p data-problem role="alert" hidden></p>  </form>
//
// A sentence that was not brought is replaced by data-said-failed.

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
