// The page of samples only: lets drops fall on request.

import { drop } from "./pool.js";

for (const button of document.querySelectorAll("[data-drop]")) {
  button.addEventListener("click", () => drop(document.getElementById(button.dataset.drop)));
}
