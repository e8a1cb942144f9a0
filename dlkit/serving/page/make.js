// Noise in, images out.

import { pythonKey, python, quoted, showCode, withKey } from "./code.js";
import { $ } from "./dom.js";
import { ask } from "./server.js";
import { query, working } from "./tool.js";

export function maker(section, model) {
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
