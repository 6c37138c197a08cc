// Theme: light and dark are kept by the server in a cookie and written into <html data-theme>, so a page never flashes (no
// data-theme: as the device has it). This only makes choosing instant; the form works without it.
//
//   <form method="post" action="/settings" data-choice="theme"> <select name="theme">… <button>…</button> </form>
//   <meta name="theme-color" data-theme="light" media="(prefers-color-scheme: light)" content="…"> and one for dark
//
// What is chosen is shown at once and told to the server behind the page.
document.addEventListener("change", (event) => {
  const { form } = event.target;
  if (form?.dataset.choice === "theme") wear(form, new FormData(form).get("theme"));
});

let told = Promise.resolve();

function wear(form, theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  for (const colour of document.querySelectorAll("meta[name=theme-color][data-theme]")) {
    const own = colour.dataset.theme;
    colour.media = theme === "auto" ? `(prefers-color-scheme: ${own})` : theme === own ? "all" : "not all";
  }
  const body = new URLSearchParams(new FormData(form));
  // One after the other, so that the last choice is the one that is kept. The answer leads back to this page, which is
  // here already; a choice that is not heard holds for this page alone.
  const tell = () => fetch(form.action, { method: "POST", body, redirect: "manual", keepalive: true });
  told = told.then(tell).catch(() => {});
}
