// What moves when somebody comes.
//
// On a page that is kept live, `dewpond:drop` lets as many drops fall as there are in its message.

const MOST_AT_ONCE = 12;
const APART_MS = 280;

const stillness = matchMedia("(prefers-reduced-motion: reduce)");

/** Let a drop fall into the pool (the `<svg data-pool>` or anything around it); it stays there as a glint. */
export function drop(pool) {
  const picture = pool.matches("[data-pool]") ? pool : pool.querySelector("[data-pool]");
  const places = [...picture.querySelectorAll(".pool__glint")];
  const free = places.find((place) => place.classList.contains("pool__glint--free"));
  const place = free ?? places[Math.floor(Math.random() * places.length)];
  place.classList.remove("pool__glint--free");
  if (stillness.matches) return;

  const fall = picture.querySelector("[data-fall]").cloneNode(true);
  fall.removeAttribute("data-fall");
  fall.setAttribute("transform", `translate(${place.getAttribute("cx")} ${place.getAttribute("cy")})`);
  fall.classList.add("is-falling");
  fall.addEventListener("animationend", (ended) => {
    if (ended.target.matches(".fall__ring--3")) fall.remove();
  });
  picture.append(fall);
}

document.addEventListener("dewpond:drop", ({ detail }) => {
  const drops = detail.drops ?? detail.drop;
  const count = Math.min(Array.isArray(drops) ? drops.length : Number(drops) || 1, MOST_AT_ONCE);
  for (const pool of document.querySelectorAll("[data-pool]")) {
    for (let one = 0; one < count; one += 1) setTimeout(() => drop(pool), one * APART_MS);
  }
});
