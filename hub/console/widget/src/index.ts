// The script of `/widget.js`: defines `<hub-chat>`, and puts one on the page where the script tag or `window.hubChat`
// name a connection. `window.hubChat` is the page's interface to it afterwards.

import { HubChat, setHome } from "./element.js";

type Given = Record<string, unknown> & { connection?: string };

declare global {
  interface Window {
    hubChat?: unknown;
  }
}

const script = document.currentScript as HTMLScriptElement | null;
setHome(script?.src ? new URL(".", script.src).href : location.origin);

const given: Given = { ...(script?.dataset ?? {}), ...(window.hubChat as Given | undefined) };
const NAMES = ["connection", "base", "language", "position", "colour", "theme", "heading", "agent", "greeting", "open"];

function place(): void {
  const element = document.createElement("hub-chat") as HubChat;
  for (const name of NAMES) {
    const value = given[name] ?? (name === "heading" ? given.title : undefined);
    if (value !== undefined && value !== false && value !== null)
      element.setAttribute(name, value === true ? "" : String(value));
  }
  const { suggestions, identity } = given;
  if (suggestions)
    element.setAttribute("suggestions", Array.isArray(suggestions) ? suggestions.join("\n") : String(suggestions));
  if (identity) element.identify(String(identity));
  document.body.append(element);
  const act = <K extends "open" | "close" | "toggle" | "send" | "identify" | "on" | "destroy">(name: K): HubChat[K] =>
    (element[name] as (...all: unknown[]) => unknown).bind(element) as HubChat[K];
  window.hubChat = {
    element,
    open: act("open"),
    close: act("close"),
    toggle: act("toggle"),
    send: act("send"),
    identify: act("identify"),
    on: act("on"),
    destroy: act("destroy"),
  };
  document.dispatchEvent(new CustomEvent("hub-chat:loaded", { detail: window.hubChat }));
}

if (!customElements.get("hub-chat")) {
  customElements.define("hub-chat", HubChat);
  if (given.connection) {
    if (document.body) place();
    else document.addEventListener("DOMContentLoaded", place, { once: true });
  }
}
