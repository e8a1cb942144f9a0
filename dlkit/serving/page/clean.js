// An image in, an image out: before and after, behind a slider.

import { pythonKey, python, quoted, showCode, withKey } from "./code.js";
import { $ } from "./dom.js";
import { ask, milliseconds } from "./server.js";
import { query, takesFiles, working } from "./tool.js";

export function cleaner(section, model) {
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
