// Every route of the server, from its own OpenAPI description.

const key = sessionStorage.getItem("dlkit-key");
const response = await fetch("/openapi.json", { headers: key ? { Authorization: `Bearer ${key}` } : {} });
const place = document.querySelector("#routes");

const make = (tag, kind, text = "") => Object.assign(document.createElement(tag), { className: kind, textContent: text });
const TITLES = { doors: "A file in, an answer out", inference: "Open Inference Protocol", repository: "Repository", people: "For people", operations: "Operations" };

function article(path, verb, call) {
  const made = make("article", "card");
  const head = make("p", "");
  head.append(make("span", "verb", verb.toUpperCase()), make("span", "path", path));
  made.append(head, make("p", "lead", call.summary));
  const rows = (call.parameters ?? []).filter((one) => one.in === "query");
  const list = document.createElement("dl");
  for (const one of rows) {
    const known = one.schema.enum ? ` (${one.schema.enum.join(", ")})` : "";
    list.append(make("dt", "", one.name), make("dd", "", one.description + known));
  }
  if (call.requestBody?.description) list.append(make("dt", "", "body"), make("dd", "", call.requestBody.description));
  const gives = Object.keys(call.responses["200"].content ?? {}).join(", ");
  list.append(make("dt", "", "gives"), make("dd", "", gives || "nothing but its status"));
  made.append(list);
  return made;
}

if (response.ok) {
  const description = await response.json();
  place.replaceChildren();
  for (const [tag, title] of Object.entries(TITLES)) {
    place.append(make("h2", "", title));
    for (const [path, verbs] of Object.entries(description.paths)) {
      for (const [verb, call] of Object.entries(verbs)) if (call.tags.includes(tag)) place.append(article(path, verb, call));
    }
  }
} else {
  place.textContent = response.status === 401 ? "This server asks for its key: give it on the first page." : `The server says ${response.status}.`;
}
