// Theme: light, dark and language are kept by the server in cookies and written into <html data-theme lang>, so a page
// never flashes (no data-theme: as the device has it). This only makes choosing instant; forms work without it.
//
//   <form method="post" action="/settings" data-choice="theme"> <select name="theme">… <button>…</button> </form>
//   <form method="post" action="/settings" data-choice="lang"> <select name="lang">… <button>…</button> </form>
//   <meta name="theme-color" data-theme="light" media="(prefers-color-scheme: light)" content="…"> and one for dark
//
// A changed theme is shown at once and told to the server behind the page; a changed language loads the page anew.
document.addEventListener("change", (event) => {
  const form = event.target.form;
  const choice = form?.dataset.choice;
  if (choice === "theme") wear(form, new FormData(form).get("theme"));
  else if (choice === "lang") form.requestSubmit();
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
