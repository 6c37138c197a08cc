// Print: <button type="button" data-print>Print</button> opens the browser's own way of printing the page.
document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-print]")) print();
});
