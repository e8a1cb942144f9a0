// An image in, classes out: paper to draw on, or a photograph with boxes.

import { pythonKey, python, quoted, showCode, withKey } from "./code.js";
import { $, make } from "./dom.js";
import { ask, percent } from "./server.js";
import { query, takesFiles, working } from "./tool.js";

export function recognizer(section, model) {
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
    const small = new OffscreenCanvas(280, 280); // half as large is read faster, and as well
    small.getContext("2d").drawImage(canvas, 0, 0, 280, 280);
    small.convertToBlob({ type: "image/png" }).then((blob) => {
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
    $(".keep", section).hidden = true;
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
