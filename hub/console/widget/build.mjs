// Bundles src/ into one classic script. The same sources give the same bytes on every machine.

import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, transform } from "esbuild";

const OUT = process.argv[2] ?? fileURLToPath(new URL("../../static/chat/widget.js", import.meta.url));

// The style sheet travels inside the script, minified: it is adopted by the shadow root.
const css = {
  name: "css",
  setup({ onLoad }) {
    onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(await readFile(path, "utf8"), { loader: "css", minify: true, target: TARGET });
      return { contents: code.trim(), loader: "text" };
    });
  },
};
const TARGET = ["chrome111", "firefox115", "safari16.4"];

const { outputFiles } = await build({
  absWorkingDir: fileURLToPath(new URL(".", import.meta.url)),
  entryPoints: ["src/index.ts"],
  bundle: true,
  format: "iife",
  target: TARGET,
  charset: "utf8",
  legalComments: "none",
  minify: true,
  plugins: [css],
  write: false,
});
const text = `/* The hub's web chat. Built from hub/console/widget; do not edit. */\n${outputFiles[0].text}`;
await writeFile(OUT, text);
console.log(`${text.length} characters, ${gzipSync(text, { level: 9 }).length} bytes gzipped`);
