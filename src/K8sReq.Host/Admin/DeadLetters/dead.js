// The buttons of the dead letters. Without this the page shows the same, and says which commands there are instead.
(() => {
  "use strict";

  const actions = {
    replay: { verb: "Send", after: " again", past: "sent again", changed: "replayed", consequence: "" },
    drop: { verb: "Remove", after: "", past: "removed", changed: "dropped", consequence: "What is removed cannot be brought back." },
  };

  const told = document.getElementById("told");
  const dialog = document.getElementById("ask");
  const question = document.getElementById("question");
  const which = document.getElementById("which");
  const consequence = document.getElementById("consequence");
  const confirm = document.getElementById("confirm");

  let isBusy = false;

  const letters = () => document.getElementById("letters");

  const many = (count) => count.toLocaleString("en") + (count === 1 ? " dead letter" : " dead letters");

  const say = (words, tone) => {
    told.textContent = words;
    told.className = tone;
  };

  const post = async (action, fields) => {
    const answer = await fetch("api/dead/" + action + "?" + fields, { method: "POST" });
    const body = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(body.error ?? "answered " + answer.status);
    return body;
  };

  // Of those that match and were left: why. When they are removed none is left but what came to match meanwhile.
  const leftOf = (name, left) =>
    name === "replay" && left > 0
      ? many(left) + " cannot be sent now: the RequestClone is not routed, or the journal has no room."
      : "";

  const confirmed = (name, ofWhich, count, left) => {
    const action = actions[name];
    question.textContent = action.verb + " " + many(count) + action.after + "?";
    which.textContent = ofWhich;
    consequence.textContent = [action.consequence, leftOf(name, left)].join(" ").trim();
    confirm.textContent = action.verb + action.after;
    confirm.className = name;
    dialog.returnValue = "";
    dialog.showModal();
    return new Promise((resolve) =>
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
  };

  const reload = async () => {
    const answer = await fetch(location.href);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.getElementById("letters");
    if (!next) throw new Error("the page could not be loaded again: " + answer.status);
    letters().replaceWith(next);
    // The button that was pressed is not there any more.
    document.getElementById("letters-title").focus();
  };

  const cellOf = (row, label) => row.querySelector('[data-label="' + label + '"]').firstChild.textContent;

  const run = async (button) => {
    const name = button.dataset.action;
    const id = button.dataset.id;
    const row = button.closest("tr");
    const ofWhich = row
      ? cellOf(row, "Request") + ", for " + cellOf(row, "RequestClone")
      : "All that match, as of page load.";
    const fields = id === undefined ? letters().dataset.filter : new URLSearchParams({ id }).toString();
    const would = await post(name, fields + "&dryRun=true");
    const count = would[actions[name].changed];

    if (count === 0) {
      say(leftOf(name, would.left) || "No such dead letter is left.", "bad");
    } else if (await confirmed(name, ofWhich, count, would.left)) {
      const done = await post(name, fields);
      say((many(done[actions[name].changed]) + " " + actions[name].past + ". " + leftOf(name, done.left)).trim(), "");
      await reload();
    }
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-action]");
    if (!button || isBusy) return;
    isBusy = true;
    say("", "");
    letters().setAttribute("aria-busy", "true");

    try {
      await run(button);
    } catch (error) {
      // What was done before is told, too.
      say((told.textContent + " Failed: " + error.message).trim(), "bad");
    } finally {
      isBusy = false;
      letters().removeAttribute("aria-busy");
    }
  });

  document.getElementById("cancel").addEventListener("click", () => dialog.close());
  confirm.addEventListener("click", () => dialog.close("yes"));
  document.documentElement.classList.add("scripted");
})();
