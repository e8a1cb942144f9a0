// What the tools share: which model, files that are dropped, errors.

import { $, $$ } from "./dom.js";
import { showModels } from "./models.js";

export function chooser(section, rows) {
  const label = $(".choose", section);
  const choice = $("select", label);
  choice.replaceChildren(...rows.map((row) => new Option(row.name, row.name)));
  label.hidden = rows.length < 2;
  return () => rows.find((row) => row.name === choice.value);
}

export const query = (model, options = {}) => {
  const text = new URLSearchParams({ ...(model.several ? { model: model.name } : {}), ...options }).toString();
  return model.door.path + (text ? `?${text}` : "");
};

export async function working(section, work) {
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

export function takesFiles(section, take) {
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
