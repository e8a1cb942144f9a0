// What was just done, as lines to copy.

import { $, $$ } from "./dom.js";
import { KEY } from "./server.js";

export function showCode(section, terminal, python) {
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

export const quoted = (text) => (/^[\w.@/:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
export const python = (text) => JSON.stringify(text);
export const withKey = () => (sessionStorage.getItem(KEY) ? " -H 'Authorization: Bearer KEY'" : "");
export const pythonKey = () => (sessionStorage.getItem(KEY) ? ', headers={"Authorization": "Bearer KEY"}' : "");
