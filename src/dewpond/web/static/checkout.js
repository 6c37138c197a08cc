// Checkout: tells the time that is left, second by second, and looks again when it is over.
//
//   <span data-countdown="873" data-address="/q/CODE">14:33</span>        data-stands: this world's clock stands still
//
// A refused form leaves the page under the form's address, where "reload" would send the PIN once more and spend a try:
// so the page takes its own address back.
for (const place of document.querySelectorAll("[data-countdown]")) {
  const { countdown, address, stands } = place.dataset;
  if (location.pathname !== address) history.replaceState(null, "", address);
  if (stands === undefined) tick(place, performance.now() + Number(countdown) * 1_000, address);
}

function tick(place, end, address) {
  const left = Math.max(0, Math.ceil((end - performance.now()) / 1_000));
  const text = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  if (place.textContent !== text) place.textContent = text;
  if (left > 0) setTimeout(tick, 250, place, end, address);
  else location.replace(address);
}
