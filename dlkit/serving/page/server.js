// Asking the server, and its figures in words.

import { $ } from "./dom.js";

export const KEY = "dlkit-key";

export async function ask(path, options = {}) {
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

export const milliseconds = (seconds) =>
  seconds === null || seconds === undefined ? "–"
    : seconds >= 1 ? `${seconds.toFixed(2)} s`
      : `${(seconds * 1000).toPrecision(seconds < 0.01 ? 2 : 3)} ms`;

export const percent = (share) =>
  share > 0.9995 ? "> 99.9 %" : share < 0.0005 ? "< 0.1 %" : `${(share * 100).toFixed(1)} %`;
