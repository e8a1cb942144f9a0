// The table of models.

import { $, make, wrap } from "./dom.js";
import { ask, milliseconds } from "./server.js";

export async function showModels() {
  let rows;
  try {
    rows = await (await ask("/models")).json();
  } catch (error) {
    tellState("away", error.message);
    return [];
  }
  const ready = rows.filter((row) => row.state === "READY").length;
  tellState(ready === rows.length ? "ready" : "away",
    ready === rows.length ? `Ready, ${ready} ${ready === 1 ? "model" : "models"}` : `${ready} of ${rows.length} models ready`);
  $("#rows").replaceChildren(...rows.map(modelRow));
  return rows;
}

function tellState(kind, text) {
  $("#state").className = `state ${kind}`;
  if ($("#state-text").textContent !== text) $("#state-text").textContent = text;
}

function modelRow(row) {
  const about = row.properties ?? {};
  const good = about.certificate === "certified";
  const certificate = about.certificate
    ? [make("span", `badge ${good ? "good" : ""}`, good ? "✓ certified" : about.certificate),
       good ? make("small", "", `${about.certificate_inputs}, ${about.certificate_date.slice(0, 10)}`) : ""]
    : [make("span", "badge bad", row.reason || row.state.toLowerCase())];
  const hash = make("span", "hash", (about.sha256 ?? "").slice(0, 12));
  hash.title = `SHA-256 ${about.sha256 ?? ""}`;
  const cells = [
    ["", make("strong", "", row.name), make("small", "", row.about || about.task || ""), hash],
    ["Certificate", wrap(...certificate)],
    ["Precision", about.precision ?? "–"],
    ["Runs on", about.backend ? `${about.backend}, ${about.device}` : "–"],
    ["Requests", (row.requests ?? 0).toLocaleString("en")],
    ["Median", milliseconds(row.p50)],
    ["99 %", milliseconds(row.p99)],
  ];
  const line = document.createElement("tr");
  cells.forEach(([name, ...content], at) => {
    const cell = make("td", at > 3 ? "number" : "");
    if (name) cell.dataset.name = name;
    cell.append(...content);
    line.append(cell);
  });
  return line;
}
