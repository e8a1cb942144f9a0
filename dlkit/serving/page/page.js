// The page of dlkit serve. No library, no address but this server's own.

import { cleaner } from "./clean.js";
import { $, make } from "./dom.js";
import { maker } from "./make.js";
import { showModels } from "./models.js";
import { recognizer } from "./recognize.js";
import { KEY } from "./server.js";
import { chooser } from "./tool.js";

const KINDS = { "image image": ["Clean", cleaner], "image json": ["Recognize", recognizer], "none image": ["Make", maker] };

function openTools(rows) {
  const tools = new Map(); // the models behind each kind
  for (const row of rows) {
    if (!row.door) continue;
    const gives = row.door.gives.startsWith("image/") ? "image" : "json";
    const kind = `${row.door.takes || "none"} ${gives}`;
    if (KINDS[kind]) tools.set(kind, [...(tools.get(kind) ?? []), row]);
  }
  for (const behind of tools.values()) for (const row of behind) row.several = behind.length > 1;
  const kinds = Object.keys(KINDS).filter((kind) => tools.has(kind));
  const tabs = kinds.map((kind, at) => {
    const section = $(`[data-door="${kind}"]`);
    section.id = `tool-${at}`;
    const tab = make("button", "", KINDS[kind][0]);
    Object.assign(tab, { type: "button", id: `tab-${at}` });
    tab.setAttribute("role", "tab");
    tab.setAttribute("aria-controls", section.id);
    section.setAttribute("aria-labelledby", tab.id);
    tab.addEventListener("click", () => select(at));
    KINDS[kind][1](section, chooser(section, tools.get(kind)));
    return tab;
  });
  const select = (at, focus = false) => {
    tabs.forEach((tab, place) => {
      tab.setAttribute("aria-selected", String(place === at));
      tab.tabIndex = place === at ? 0 : -1;
      $(`#tool-${place}`).hidden = place !== at;
    });
    if (focus) tabs[at].focus();
  };
  $("#tabs").replaceChildren(...tabs);
  $("#tabs").hidden = tabs.length < 2;
  $("#tabs").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) select((tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length, true);
  });
  if (tabs.length) select(0);
}

let open = false;

async function refresh() {
  const rows = await showModels();
  if (!open && rows.length) {
    open = true;
    openTools(rows);
  }
}

$("#key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("#key").value.trim());
  $("#key-form").hidden = true;
  refresh();
});

// a file that misses its place must not take the page's
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
refresh();
setInterval(() => { if (!document.hidden) refresh(); }, 5000);
