// Elements from calls instead of markup: what people wrote only ever becomes text nodes, so nothing can be injected.

export type Child = Node | string | null | undefined | false;
type Props = Record<string, unknown>;

// Functions are listeners, booleans are bare attributes, everything else is an attribute's value.
export function h<K extends keyof HTMLElementTagNameMap>(
  name: K,
  props: Props | string = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(name);
  if (typeof props === "string") props = { class: props };
  for (const [key, value] of Object.entries(props)) {
    if (typeof value === "function") node.addEventListener(key, value as EventListener);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined && value !== "") {
      node.setAttribute(key, String(value));
    }
  }
  node.append(...children.filter((child): child is Node | string => Boolean(child)));
  return node;
}

// Strokes on a grid of 20.
const ICONS = {
  send: "M10 16V4.500M4.800 9.700 10 4.500l5.200 5.200",
  stop: "M6.500 6.500h7v7h-7z",
  close: "m5.500 5.500 9 9m0-9-9 9",
  down: "M10 4v11.500m-5-5 5 5 5-5",
  chevron: "m5 7.500 5 5 5-5",
  chat: "M3.500 6.500a3 3 0 0 1 3-3h7a3 3 0 0 1 3 3v4.500a3 3 0 0 1-3 3H9l-4 3v-3.300a3 3 0 0 1-1.500-2.700zM7.200 7.700h5.600M7.200 10.200h3.600",
  clip: "m15.500 9.300-5.600 5.600a3.500 3.500 0 0 1-5-5l6-6a2.300 2.300 0 0 1 3.300 3.300l-5.700 5.700a1.100 1.100 0 0 1-1.600-1.600l5-5",
  copy: "M7.500 7.500V5a1.500 1.500 0 0 1 1.500-1.500h6A1.500 1.500 0 0 1 16.500 5v6a1.500 1.500 0 0 1-1.500 1.500h-2.500M5 7.500h6A1.500 1.500 0 0 1 12.500 9v6a1.500 1.500 0 0 1-1.500 1.500H5A1.500 1.500 0 0 1 3.500 15V9A1.500 1.500 0 0 1 5 7.500z",
  done: "m4.500 10.500 3.700 3.700 7.300-8",
  edit: "M4 16l.700-3.200 8.300-8.300a1.600 1.600 0 0 1 2.300 0l.200.200a1.600 1.600 0 0 1 0 2.300L7.200 15.300z",
  retry: "M15.500 6.500A6.500 6.500 0 1 0 16.500 10M15.700 3v3.700H12",
  popout:
    "M11.500 4H16v4.500M16 4l-6.500 6.500M8 4.500H5.500A1.500 1.500 0 0 0 4 6v8.500A1.500 1.500 0 0 0 5.500 16H14a1.500 1.500 0 0 0 1.500-1.500V12",
  anew: "M10 4H6a2 2 0 0 0-2 2v8a2 2 0 0 0 2 2h8a2 2 0 0 0 2-2v-4M15.700 2.800l1.500 1.500L11 10.500l-2.200.700.700-2.200z",
  file: "M6 3.500h5l3.500 3.500v8A1.500 1.500 0 0 1 13 16.500H6A1.500 1.500 0 0 1 4.500 15V5A1.500 1.500 0 0 1 6 3.500zM11 3.500V7h3.500",
  image:
    "M5 4h10a1.500 1.500 0 0 1 1.500 1.500v9A1.500 1.500 0 0 1 15 16H5a1.500 1.500 0 0 1-1.500-1.500v-9A1.500 1.500 0 0 1 5 4zm-1 10 3.700-4 3 3 1.800-1.800L16 14.500M12.700 7.800v.01",
  warn: "M10 6.500v4m0 2.800v.01M10 3.500 17 16H3z",
  busy: "M10 3.500A6.500 6.500 0 1 1 3.500 10",
} as const;
export type IconName = keyof typeof ICONS;
const SVG = "http://www.w3.org/2000/svg";

export function icon(name: IconName, size = 18): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of Object.entries({
    viewBox: "0 0 20 20",
    width: size,
    height: size,
    "aria-hidden": "true",
  })) {
    svg.setAttribute(key, String(value));
  }
  svg.classList.add("icon", `i-${name}`);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

export function iconButton(
  name: IconName,
  label: string,
  onClick: (event: Event) => void,
  more: Props = {},
): HTMLButtonElement {
  return h(
    "button",
    { type: "button", class: "tool", "aria-label": label, title: label, click: onClick, ...more },
    icon(name),
  );
}

export const clamp = (value: number, least: number, most: number): number => Math.min(most, Math.max(least, value));

export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // forbidden by the page, or no secure context
  }
}

// A copy button that says for a moment that it did.
export function copyButton(label: string, copied: string, text: () => string, more: Props = {}): HTMLButtonElement {
  const button = iconButton(
    "copy",
    label,
    async () => {
      if (!(await copyText(text()))) return;
      button.replaceChildren(icon("done"));
      button.setAttribute("aria-label", copied);
      setTimeout(() => {
        button.replaceChildren(icon("copy"));
        button.setAttribute("aria-label", label);
      }, 1600);
    },
    more,
  );
  return button;
}
