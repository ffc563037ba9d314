// Keeps the page up to date while it is open. Without this the page is whole, and loads itself anew now and then.
(() => {
  "use strict";

  const live = document.getElementById("live");
  const pause = document.getElementById("pause");
  const form = document.getElementById("filter");
  const text = document.getElementById("q");
  const state = document.getElementById("state");

  let source = null;
  let again = 0;
  let isPaused = false;

  const say = (words, tone) => {
    if (live.textContent !== words) live.textContent = words;
    live.className = tone;
  };

  // A part takes the place of the one with its id. Where the keyboard was in it, there it stays.
  const put = (markup) => {
    const template = document.createElement("template");
    template.innerHTML = markup;
    const part = template.content.firstElementChild;
    const before = part && document.getElementById(part.id);
    if (!before) return;

    const focused = before.contains(document.activeElement) ? document.activeElement : null;
    before.replaceWith(part);
    if (focused === null) return;
    // Of "Next" the address changes, of a figure the text.
    const links = [...part.querySelectorAll("a")];
    const next =
      links.find((link) => link.href === focused.href) ??
      links.find((link) => link.textContent === focused.textContent);
    if (next) next.focus();
  };

  const close = () => {
    clearTimeout(again);
    if (source) source.close();
    source = null;
  };

  const open = () => {
    close();
    if (isPaused || document.hidden) return;
    const mine = new EventSource("events" + location.search);
    source = mine;
    mine.addEventListener("open", () => say("live", "good"));
    mine.addEventListener("part", (event) => put(event.data));
    mine.addEventListener("error", () => {
      say("not connected, trying again", "bad");
      // A refusal is final for an EventSource; anything else it tries again by itself.
      if (mine === source && mine.readyState === EventSource.CLOSED) again = setTimeout(open, 5000);
    });
  };

  const search = () => {
    const fields = new URLSearchParams();
    if (text.value.trim() !== "") fields.set("q", text.value.trim());
    if (state.value !== "all") fields.set("state", state.value);
    for (const hidden of form.querySelectorAll("input[type=hidden]")) fields.set(hidden.name, hidden.value);
    const query = fields.toString();
    history.replaceState(null, "", query === "" ? location.pathname : "?" + query);
    // What was asked for is shown even while nothing else is.
    if (isPaused) toggle();
    else open();
  };

  const toggle = () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    if (isPaused) {
      close();
      say("paused", "warn");
    } else {
      open();
    }
  };

  let typing = 0;
  text.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(search, 200);
  });
  state.addEventListener("change", search);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    search();
  });

  document.addEventListener("keydown", (event) => {
    const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      text.focus();
      text.select();
    } else if (event.key === "Escape" && event.target === text && text.value !== "") {
      text.value = "";
      search();
    }
  });

  pause.hidden = false;
  pause.addEventListener("click", toggle);
  // A page that nobody sees costs nothing.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  open();
})();
