// The tenant's one colour, made readable wherever it is used.

type Rgb = [number, number, number];
const WHITE: Rgb = [255, 255, 255];
const BLACK: Rgb = [0, 0, 0];
const READABLE = 4.6; // WCAG AA asks for 4.5

const parse = (hex: string): Rgb => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)) as Rgb;
const write = (rgb: Rgb): string => `#${rgb.map((part) => Math.round(part).toString(16).padStart(2, "0")).join("")}`;
const mix = (one: Rgb, other: Rgb, share: number): Rgb =>
  one.map((part, n) => part + (other[n]! - part) * share) as Rgb;

function luminance(rgb: Rgb): number {
  const [red, green, blue] = rgb.map((part) => {
    const value = part / 255;
    return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as Rgb;
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one: Rgb, other: Rgb): number {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

function readable(colour: Rgb, ground: Rgb, towards: Rgb): Rgb {
  let found = colour;
  for (let share = 0.05; contrast(found, ground) < READABLE && share <= 1; share += 0.05)
    found = mix(colour, towards, share);
  return found;
}

export const isColour = (text: string): boolean => /^#[0-9a-f]{6}$/i.test(text);

// `fill` with text `on` it, and `ink` for words on the ground; `own` is the ground of one's own messages.
export function shades(colour: string, dark: boolean): Record<"fill" | "on" | "ink" | "own", string> {
  const given = parse(colour);
  const ground = parse(dark ? "#16181d" : "#ffffff");
  const own = mix(ground, given, dark ? 0.3 : 0.1);
  const on = contrast(given, WHITE) >= 3.5 ? WHITE : mix(BLACK, given, 0.08);
  const fill = readable(given, on, on === WHITE ? BLACK : WHITE);
  const ink = readable(given, mix(ground, dark ? WHITE : BLACK, dark ? 0.08 : 0.05), dark ? WHITE : BLACK);
  return { fill: write(fill), on: write(on), ink: write(ink), own: write(own) };
}
