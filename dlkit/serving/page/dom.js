// Short names for what every part of the page does.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

export function make(tag, kind, text = "") {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  made.textContent = text;
  return made;
}

export function wrap(...parts) {
  const made = document.createElement("div");
  made.append(...parts);
  return made;
}
