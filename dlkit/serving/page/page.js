// The page of dlkit serve. No library, no address but this server's own.

const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const KEY = "dlkit-key";
const tools = new Map(); // a section for each kind of door, and the models behind it

// --- asking the server ---

async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  const key = sessionStorage.getItem(KEY);
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server does not answer.");
  }
  if (response.status === 401) {
    $("#key-form").hidden = false;
    $("#key").focus();
  }
  if (!response.ok) {
    const told = await response.json().catch(() => ({}));
    throw new Error(told.error ? sentence(told.error) : `The server says ${response.status}.`);
  }
  return response;
}

const sentence = (text) => text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

const milliseconds = (seconds) =>
  seconds === null || seconds === undefined ? "–"
    : seconds >= 1 ? `${seconds.toFixed(2)} s`
      : `${(seconds * 1000).toPrecision(seconds < 0.01 ? 2 : 3)} ms`;

const percent = (share) =>
  share > 0.9995 ? "> 99.9 %" : share < 0.0005 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`;

// --- models ---

async function showModels() {
  let rows;
  try {
    rows = await (await ask("/models")).json();
  } catch (error) {
    tellState("away", error.message);
    return;
  }
  const ready = rows.filter((row) => row.state === "READY").length;
  tellState(ready === rows.length ? "ready" : "away",
    ready === rows.length ? `Ready, ${ready} ${ready === 1 ? "model" : "models"}` : `${ready} of ${rows.length} models ready`);
  $("#rows").replaceChildren(...rows.map(modelRow));
  if (!tools.size) openTools(rows);
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

function make(tag, kind, text = "") {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  made.textContent = text;
  return made;
}

function wrap(...parts) {
  const made = document.createElement("div");
  made.append(...parts);
  return made;
}

// --- tools: one for each kind of door ---

const KINDS = { "image image": ["Clean", cleaner], "image json": ["Recognize", recognizer], "none image": ["Make", maker] };

function openTools(rows) {
  for (const row of rows) {
    if (!row.door) continue;
    const gives = row.door.gives.startsWith("image/") ? "image" : "json";
    const kind = `${row.door.takes || "none"} ${gives}`;
    if (KINDS[kind]) tools.set(kind, [...(tools.get(kind) ?? []), row]);
  }
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

function chooser(section, rows) {
  const label = $(".choose", section);
  const choice = $("select", label);
  choice.replaceChildren(...rows.map((row) => new Option(row.name, row.name)));
  label.hidden = rows.length < 2;
  return () => rows.find((row) => row.name === choice.value);
}

const query = (model, options = {}) => {
  const several = tools.get(`${model.door.takes || "none"} ${model.door.gives.startsWith("image/") ? "image" : "json"}`).length > 1;
  const text = new URLSearchParams({ ...(several ? { model: model.name } : {}), ...options }).toString();
  return model.door.path + (text ? `?${text}` : "");
};

async function working(section, work) {
  const error = $(".error", section);
  error.hidden = true;
  section.classList.add("busy");
  section.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (problem) {
    error.textContent = problem.message;
    error.hidden = false;
  } finally {
    section.classList.remove("busy");
    section.removeAttribute("aria-busy");
    showModels();
  }
}

function takesFiles(section, take) {
  for (const input of $$("input[type=file]", section)) {
    input.addEventListener("change", () => {
      if (input.files[0]) take(input.files[0]);
      input.value = "";
    });
  }
  section.addEventListener("dragover", (event) => { event.preventDefault(); section.classList.add("over"); });
  section.addEventListener("dragleave", (event) => {
    if (!section.contains(event.relatedTarget)) section.classList.remove("over");
  });
  section.addEventListener("drop", (event) => {
    event.preventDefault();
    section.classList.remove("over");
    if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}

// What was just done, as lines to copy.
function showCode(section, terminal, python) {
  const place = $(".code", section);
  if (!place.firstChild) place.append($("#code-template").content.cloneNode(true));
  const blocks = $$(".lines", place);
  [terminal, python].forEach((text, at) => {
    $("code", blocks[at]).textContent = text;
    const button = $("button", blocks[at]);
    button.onclick = async () => {
      await copy(text, $("code", blocks[at]));
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    };
  });
}

async function copy(text, code) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // not over plain HTTP from elsewhere: then it is selected, to be copied by hand
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
}

const quoted = (text) => (/^[\w.@/:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const python = (text) => JSON.stringify(text);
const withKey = () => (sessionStorage.getItem(KEY) ? " -H 'Authorization: Bearer KEY'" : "");
const pythonKey = () => (sessionStorage.getItem(KEY) ? ', headers={"Authorization": "Bearer KEY"}' : "");

// --- clean ---

function cleaner(section, model) {
  const frame = $(".frame", section);
  const slider = $("input[type=range]", frame);
  const urls = [];
  const url = (blob) => { urls.push(URL.createObjectURL(blob)); return urls.at(-1); };
  slider.addEventListener("input", () => frame.style.setProperty("--x", `${slider.value}%`));

  const take = (file) => working(section, async () => {
    const began = performance.now();
    const response = await ask(query(model()), { method: "POST", body: file });
    const cleaned = await response.blob();
    const spent = performance.now() - began;
    urls.splice(0).forEach((old) => URL.revokeObjectURL(old));
    const [before, after] = [$(".before", frame), $(".after", frame)];
    before.src = url(file);
    after.src = url(cleaned);
    await after.decode();
    // what no browser shows, such as TIFF: then there is nothing to compare with
    const shown = await before.decode().then(() => true, () => false);
    before.hidden = !shown;
    slider.hidden = $(".line", frame).hidden = $(".tag.left", frame).hidden = !shown;
    slider.value = shown ? 50 : 0;
    frame.style.setProperty("--x", `${slider.value}%`);
    $(".drop", section).hidden = true;
    $(".compare", section).hidden = false;
    $(".again", section).hidden = false;
    $("figcaption", section).textContent =
      `${file.name}: ${after.naturalWidth} × ${after.naturalHeight} pixels, cleaned in ${milliseconds(spent / 1000)}`;
    const name = `${file.name.replace(/\.[^.]*$/, "")}-cleaned.png`;
    Object.assign($(".save", section), { href: after.src, download: name, hidden: false });
    const address = location.origin + query(model());
    showCode(section,
      `curl${withKey()} --data-binary @${quoted(file.name)} ${quoted(address)} -o ${quoted(name)}`,
      `from urllib.request import Request, urlopen\n\nwith open(${python(file.name)}, "rb") as file:\n    request = Request(${python(address)}, file.read()${pythonKey()})\nwith open(${python(name)}, "wb") as cleaned:\n    cleaned.write(urlopen(request).read())`);
  });
  takesFiles(section, take);
  $(".sample", section).addEventListener("click", () => working(section, async () => {
    const blob = await (await ask("/sample.png")).blob();
    await take(new File([blob], "scan.png", { type: "image/png" }));
  }));
}

// --- recognize ---

function recognizer(section, model) {
  const canvas = $("canvas", section);
  const pen = canvas.getContext("2d");
  const ghost = $(".ghost", section);
  const place = { x: 280, y: 120, down: false };
  let timer = 0;
  let empty = true;
  let asked = 0;

  const wipe = () => {
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    Object.assign(pen, { lineWidth: 40, lineCap: "round", lineJoin: "round", strokeStyle: "#17201d" });
    empty = true;
    asked += 1;
    ghost.hidden = false;
    canvas.hidden = false;
    $(".seen", section).hidden = true;
    $(".keep", section).hidden = true;
    $(".split", section).classList.remove("wide");
    answer("–", "nothing yet", []);
  };

  const stroke = (x, y) => {
    pen.beginPath();
    pen.moveTo(place.x, place.y);
    pen.lineTo(x, y);
    pen.stroke();
    Object.assign(place, { x, y });
    empty = false;
    ghost.hidden = true;
  };

  const where = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    clearTimeout(timer);
    [place.x, place.y] = where(event);
    stroke(place.x + 0.1, place.y);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) stroke(...where(one));
  });
  canvas.addEventListener("pointerup", () => later());
  const later = () => { clearTimeout(timer); timer = setTimeout(readDrawing, 350); };

  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-20, 0], ArrowRight: [20, 0], ArrowUp: [0, -20], ArrowDown: [0, 20] }[event.key];
    if (step) {
      const x = Math.min(530, Math.max(30, place.x + step[0]));
      const y = Math.min(530, Math.max(30, place.y + step[1]));
      if (place.down) stroke(x, y); else Object.assign(place, { x, y });
    } else if (event.key === " ") {
      place.down = !place.down;
      if (place.down) stroke(place.x + 0.1, place.y);
    } else if (event.key === "Enter") {
      place.down = false;
      readDrawing();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      wipe();
    } else return;
    event.preventDefault();
  });

  const readDrawing = () => {
    if (empty) return;
    canvas.toBlob((blob) => {
      const file = new File([blob], "digit.png", { type: "image/png" });
      Object.assign($(".keep", section), { href: canvas.toDataURL(), hidden: false });
      read(file, false);
    });
  };

  const read = (file, shown) => working(section, async () => {
    const mine = ++asked;
    const found = await (await ask(query(model()), { method: "POST", body: file })).json();
    if (mine !== asked) return; // something newer was asked meanwhile
    if (shown) await showImage(file, found);
    const best = found.found[0];
    if (found.single && best) {
      answer(best.label, `with ${percent(best.probability)}`, await probabilities(model(), file), best.label.length > 3);
    } else {
      const unsure = found.found.filter((one) => one.probability < 0.9).length;
      answer(found.text || "–",
        found.found.length ? `${found.found.length} found${unsure ? `, ${unsure} of them unsure` : ""}` : "nothing found", [], true);
    }
    const address = location.origin + query(model());
    showCode(section,
      `curl${withKey()} --data-binary @${quoted(file.name)} ${quoted(address)}`,
      `import json\nfrom urllib.request import Request, urlopen\n\nwith open(${python(file.name)}, "rb") as file:\n    request = Request(${python(address)}, file.read()${pythonKey()})\nprint(json.load(urlopen(request))["text"])`);
  });

  const showImage = async (file, found) => {
    const seen = $(".seen", section);
    const image = $("img", seen);
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(file);
    const visible = await image.decode().then(() => true, () => false);
    const boxes = $("svg", seen);
    boxes.setAttribute("viewBox", `0 0 ${found.width} ${found.height}`);
    boxes.replaceChildren(...found.found.filter((one) => one.box).map((one) => {
      const box = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      for (const [name, value] of Object.entries({ x: one.box.x - 2, y: one.box.y - 2, width: one.box.width + 4, height: one.box.height + 4 })) {
        box.setAttribute(name, value);
      }
      if (one.probability < 0.9) box.classList.add("unsure");
      const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
      title.textContent = `${one.label}, ${percent(one.probability)}`;
      box.append(title);
      return box;
    }));
    seen.hidden = !visible;
    canvas.hidden = visible;
    ghost.hidden = true;
    $(".split", section).classList.toggle("wide", visible && !found.single);
  };

  const answer = (text, note, rows, long = false) => {
    const place_ = $(".big .text", section);
    place_.textContent = text;
    place_.classList.toggle("long", long);
    $(".big small", section).textContent = note;
    const most = Math.max(...rows.map((row) => row[1]));
    $(".bars", section).replaceChildren(...rows.map(([label, share]) => {
      const line = make("li", share === most ? "best" : "");
      const meter = document.createElement("meter");
      meter.value = share;
      meter.setAttribute("aria-hidden", "true");
      line.append(make("span", "", label), meter, make("b", "", percent(share)));
      return line;
    }));
  };

  takesFiles(section, (file) => read(file, true));
  $(".clear", section).addEventListener("click", () => { wipe(); canvas.focus({ preventScroll: true }); });
  $(".reads", section).hidden = !(model().labels.join("") === "0123456789");
  $(".classes", section).hidden = !$(".reads", section).hidden;
  wipe();
}

// All classes' probabilities, by the protocol's own binary form: a JSON head, then the image.
async function probabilities(model, file) {
  const image = new Uint8Array(await file.arrayBuffer());
  const head = new TextEncoder().encode(JSON.stringify({
    inputs: [{ name: model.input, datatype: "BYTES", shape: [1], parameters: { binary_data_size: image.length + 4 } }],
    outputs: [{ name: model.output }],
  }));
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, image.length, true);
  const response = await ask(`/v2/models/${encodeURIComponent(model.name)}/infer`, {
    method: "POST",
    body: new Blob([head, size, image]),
    headers: { "Inference-Header-Content-Length": String(head.length) },
  });
  const shares = (await response.json()).outputs[0].data;
  const rows = shares.map((share, at) => [model.labels[at] ?? String(at), share]);
  return rows.length <= 12 ? rows : rows.sort((one, other) => other[1] - one[1]).slice(0, 10);
}

// --- make ---

function maker(section, model) {
  const form = $("form", section);
  const labels = model().labels;
  form.elements.label.replaceChildren(new Option("every class in turn", ""), ...labels.map((label) => new Option(label, label)));
  $("label", form).hidden = !labels.length;
  let address = "";
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    working(section, async () => {
      const values = Object.fromEntries(new FormData(form));
      if (!values.label) delete values.label;
      const path = query(model(), values);
      const blob = await (await ask(path, { method: "POST" })).blob();
      URL.revokeObjectURL(address);
      address = URL.createObjectURL(blob);
      const image = $(".made img", section);
      image.src = address;
      image.alt = `${values.count} images${values.label ? ` of ${values.label}` : ""}, seed ${values.seed}`;
      image.hidden = false;
      Object.assign($(".save", section), { href: address, hidden: false });
      const whole = location.origin + path;
      showCode(section,
        `curl${withKey()} -X POST ${quoted(whole)} -o made.png`,
        `from urllib.request import Request, urlopen\n\nrequest = Request(${python(whole)}, b""${pythonKey()})\nwith open("made.png", "wb") as made:\n    made.write(urlopen(request).read())`);
    });
  });
}

// --- start ---

$("#key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("#key").value.trim());
  $("#key-form").hidden = true;
  showModels();
});
// a file that misses its place must not take the page's
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
showModels();
setInterval(() => { if (!document.hidden) showModels(); }, 5000);
