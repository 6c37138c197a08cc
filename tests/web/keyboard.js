// What tests/web/keyboard.py asks of a page while it is walked through by Tab. Runs before the page's own scripts.
globalThis.keyboard = (() => {
  const CONTROLS = "a[href], area[href], button, input, select, textarea, summary, iframe, [contenteditable], [tabindex]";
  const POINTER = /^(?:click|dblclick|(?:mouse|pointer)(?:down|up)|touch(?:start|end))$/;
  const RING_PX = 2;
  const CONTRAST = 3;

  // --- before anything else: who listens to a pointer ---

  const listening = new Set();
  const addEventListener = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function (kind, ...rest) {
    if (this instanceof Element && POINTER.test(kind)) listening.add(this);
    return addEventListener.call(this, kind, ...rest);
  };
  // A page that asks for a part of itself anew would take the controls away from under the walk.
  const send = XMLHttpRequest.prototype.send;
  XMLHttpRequest.prototype.send = function (...body) {
    if (!globalThis.keyboard.still) send.apply(this, body);
  };

  // --- what there is to reach ---

  const isShown = (element) => element.checkVisibility({ visibilityProperty: true, contentVisibilityAuto: true });

  function isReached(element) {
    if (element.tabIndex < 0 || element.matches(":disabled, [type=hidden]") || element.closest("[inert]")) return false;
    if (!isShown(element)) return false;
    if (element.type !== "radio") return true;
    const group = [...document.querySelectorAll("input[type=radio]")].filter(
      (other) => other.name === element.name && other.form === element.form,
    );
    return element === (group.find((other) => other.checked) ?? group[0]);
  }

  function nameOf(element) {
    if (!element || element === document.body) return "nothing";
    const said = element.ariaLabel || element.labels?.[0]?.innerText || element.innerText || element.name || element.id || "";
    return `<${element.localName}> ${said.trim().replace(/\s+/g, " ").slice(0, 40)}`;
  }

  const scrolls = (element) => {
    const { overflowX, overflowY } = getComputedStyle(element);
    return (
      (/auto|scroll/.test(overflowX) && element.scrollWidth > element.clientWidth + 1) ||
      (/auto|scroll/.test(overflowY) && element.scrollHeight > element.clientHeight + 1)
    );
  };

  // --- what is seen of the focus ---

  /** The element, and what may be outlined in its place: a label's text beside it, a frame around it. */
  const standIns = (element) =>
    [element, element.nextElementSibling, element.parentElement, element.parentElement?.parentElement].filter(Boolean);

  const isRinged = (style) => style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= RING_PX;

  const channels = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);

  function luminance(colour) {
    const [red, green, blue] = channels(colour).map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }

  function contrast(one, other) {
    const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  }

  /** The colours that lie behind an element's edge: of one ground, or of the stops of a gradient. */
  function grounds(element) {
    for (let behind = element; behind; behind = behind.parentElement) {
      const style = getComputedStyle(behind);
      const stops = style.backgroundImage.match(/rgb\([^)]*\)/g);
      if (stops) return stops;
      const alpha = channels(style.backgroundColor)[3] ?? 1;
      if (style.backgroundColor.startsWith("rgb") && alpha === 1) return [style.backgroundColor];
    }
    return [getComputedStyle(document.body).backgroundColor];
  }

  function ringFaults(element, before) {
    const ringed = standIns(element).filter((one) => isRinged(getComputedStyle(one)) && !before.get(one));
    if (!ringed.length) return ["its focus is not seen"];
    return ringed.map(ringFaultsOf).sort((one, other) => one.length - other.length)[0];
  }

  function ringFaultsOf(ringed) {
    const style = getComputedStyle(ringed);
    const outside = parseFloat(style.outlineOffset);
    const faults = [];
    for (const ground of grounds(outside < 0 ? ringed : ringed.parentElement)) {
      const found = contrast(style.outlineColor, ground);
      if (found < CONTRAST) faults.push(`its ring is faint: ${found.toFixed(1)} on ${ground}`);
    }
    const { left, top, right, bottom } = ringed.getBoundingClientRect();
    for (let frame = ringed.parentElement; outside >= 0 && frame && frame !== document.body; frame = frame.parentElement) {
      const { overflowX, overflowY, position } = getComputedStyle(frame);
      const box = frame.getBoundingClientRect();
      const cutX = overflowX !== "visible" && (left - outside < box.left + 1 || right + outside > box.right - 1);
      const cutY = overflowY !== "visible" && (top - outside < box.top + 1 || bottom + outside > box.bottom - 1);
      if (cutX || cutY) faults.push(`its ring is cut off by .${frame.className}`);
      if (position === "fixed") break;
    }
    return faults;
  }

  function coverFaults(element) {
    const seen = element.matches("input.visually-hidden") && element.nextElementSibling ? element.nextElementSibling : element;
    const box = seen.getClientRects()[0];
    if (!box) return ["it has no place"];
    const x = (Math.max(box.left, 0) + Math.min(box.right, innerWidth)) / 2;
    const y = (Math.max(box.top, 0) + Math.min(box.bottom, innerHeight)) / 2;
    if (x < 0 || y < 0 || x > innerWidth || y > innerHeight) return ["it is out of sight"];
    const top = document.elementFromPoint(x, y);
    const isIts = top && (seen.contains(top) || top.contains(seen) || top.closest("label")?.control === element);
    const isFrame = top && getComputedStyle(top).pointerEvents !== "none" && top.contains(element);
    return isIts || isFrame ? [] : [`it is covered by ${nameOf(top)}.${top?.className}`];
  }

  // --- the walk ---

  let controls = [];
  let before = new Map();
  let stops = [];
  let isWalking = false;

  function stop() {
    const element = document.activeElement;
    if (!element || element === document.body || element === document.documentElement) return null;
    const index = controls.indexOf(element);
    const faults = [...ringFaults(element, before), ...coverFaults(element)];
    if (index < 0 && !scrolls(element)) faults.push("it was not expected");
    return { index, name: nameOf(element), faults };
  }

  addEventListener.call(document, "keydown", (event) => {
    if (isWalking && event.key === "Tab") stops.push(stop());
  }, true);

  return {
    still: false,

    /** Begin: nothing has the focus, and how everything looks without it is remembered. What there is to reach. */
    async begin() {
      // Before a page has been drawn for the first time the browser takes no keys.
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      document.activeElement?.blur?.();
      controls = [...document.querySelectorAll(CONTROLS)].filter(isReached);
      before = new Map();
      for (const one of controls.flatMap(standIns)) before.set(one, isRinged(getComputedStyle(one)));
      return controls.map(nameOf);
    },

    /** Write down from now on where the focus is, beginning with the first control, or the last one for the way back. */
    restart(step) {
      controls.at(step > 0 ? 0 : -1).focus();
      stops = [];
      isWalking = true;
    },

    /** Where the focus was before each Tab and after the last; null where it had left the page. */
    end() {
      isWalking = false;
      return [...stops, stop()];
    },

    /** What no walk shows: what only a pointer can work, what cannot be scrolled, an order that jumps. */
    faults() {
      const found = [];
      const isWorked = (element) => element.closest(`${CONTROLS}, label`) || element.querySelector(CONTROLS);
      for (const element of document.querySelectorAll("body *")) {
        if (!isShown(element) || element.closest("svg")) continue;
        const claims = element.matches("[onclick], [role=button], [role=link], [role=checkbox], [role=switch], [role=tab]");
        const points = getComputedStyle(element).cursor === "pointer";
        if ((claims || points || listening.has(element)) && !isWorked(element)) found.push(`${nameOf(element)}: by pointer only`);
        if (element.matches("[role=button], [role=link]") && element.tabIndex < 0) found.push(`${nameOf(element)}: no stop`);
        if (element.tabIndex > 0) found.push(`${nameOf(element)}: out of order by tabindex`);
        const inside = () => [...element.querySelectorAll(CONTROLS)].some(isReached);
        if (scrolls(element) && element.tabIndex < 0 && !inside()) found.push(`${nameOf(element)}: scrolls by pointer only`);
      }
      for (const form of document.forms) {
        if (!isShown(form) || "choice" in form.dataset) continue; // a choice is sent as it is made
        const buttons = [...form.elements].filter((one) => one.matches("button:not([type=button], [type=reset]), [type=submit]"));
        const fields = [...form.elements].filter((one) => one.matches("input:not([type=radio], [type=checkbox], [type=hidden], [type=file])"));
        if (!buttons.some(isShown) && fields.length !== 1 && !buttons.length) found.push(`the form of ${form.action} cannot be sent`);
      }
      return [...found, ...jumps()];
    },
  };

  /** Controls that come after another one and stand above it, and not in a column of their own beside it. */
  function jumps() {
    const stuck = (element) => {
      for (let one = element; one; one = one.parentElement) {
        if (/sticky|fixed|absolute/.test(getComputedStyle(one).position) && !/relative/.test(getComputedStyle(one).position)) return true;
      }
      return false;
    };
    const placed = [...document.querySelectorAll(CONTROLS)].filter((one) => isReached(one) && !stuck(one));
    const found = [];
    for (const [number, next] of placed.entries()) {
      const last = placed[number - 1];
      if (!last) continue;
      const one = last.getBoundingClientRect();
      const other = next.getBoundingClientRect();
      if (other.bottom <= one.top + 1 && other.left < one.right) found.push(`${nameOf(next)} stands above ${nameOf(last)}, and comes after it`);
    }
    return found;
  }
})();
