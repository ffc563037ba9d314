// Keeps the page up to date while it is open. Without this the page is whole, and loads itself again now and then.
(() => {
  "use strict";

  const main = document.getElementById("content");
  const live = document.getElementById("live");
  const pause = document.getElementById("pause");
  const form = document.getElementById("filter");

  let source = null;
  let again = 0;
  let isPaused = false;

  const say = (words, tone) => {
    if (live.textContent !== words) live.textContent = words;
    live.className = tone;
  };

  // A part takes the place of the one with its id. Where the keyboard was in it, there it stays, and what was opened is open.
  const put = (markup) => {
    const template = document.createElement("template");
    template.innerHTML = markup;
    const part = template.content.firstElementChild;
    const before = part && document.getElementById(part.id);
    if (!before) return;

    for (const opened of before.querySelectorAll("details[open]")) {
      const same = [...part.querySelectorAll("details")].find((one) => one.id === opened.id);
      if (same) same.open = true;
    }

    const focused = before.contains(document.activeElement) ? document.activeElement : null;
    before.replaceWith(part);
    if (focused === null) return;
    // Of "Next" the address changes, of a figure the text.
    const others = [...part.querySelectorAll("a, summary")];
    const next =
      others.find((other) => other.href !== undefined && other.href === focused.href) ??
      others.find((other) => other.textContent === focused.textContent);
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
    const mine = new EventSource(main.dataset.events + location.search);
    source = mine;
    mine.addEventListener("open", () => say("live", "good"));
    mine.addEventListener("part", (event) => put(event.data));
    mine.addEventListener("error", () => {
      say("not connected, trying again", "bad");
      // A refusal is final for an EventSource; anything else it tries again by itself.
      if (mine === source && mine.readyState === EventSource.CLOSED) again = setTimeout(open, 5000);
    });
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

  const filter = () => {
    const text = document.getElementById("q");
    // What is shown if nothing is asked for.
    const usual = { state: "all", sort: "trouble" };

    const search = () => {
      const fields = new URLSearchParams();
      if (text.value.trim() !== "") fields.set("q", text.value.trim());
      for (const select of form.querySelectorAll("select"))
        if (select.value !== usual[select.name]) fields.set(select.name, select.value);
      for (const hidden of form.querySelectorAll("input[type=hidden]")) fields.set(hidden.name, hidden.value);
      const query = fields.toString();
      history.replaceState(null, "", query === "" ? location.pathname : "?" + query);
      // What was asked for is shown even while nothing else is.
      if (isPaused) toggle();
      else open();
    };

    let typing = 0;
    text.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(search, 200);
    });
    form.addEventListener("change", (event) => {
      if (event.target instanceof HTMLSelectElement) search();
    });
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
  };

  const copying = (button) => {
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(button.dataset.copy);
        button.textContent = "Copied";
      } catch {
        // Where there is no clipboard the line can be selected.
        getSelection().selectAllChildren(button.parentElement.querySelector("code"));
        button.textContent = "Selected";
      }
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
  };

  if (form) filter();
  for (const button of document.querySelectorAll("button[data-copy]")) copying(button);
  if (main.dataset.events === "") return;
  pause.hidden = false;
  pause.addEventListener("click", toggle);
  // A page that nobody sees costs nothing.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  open();
})();
