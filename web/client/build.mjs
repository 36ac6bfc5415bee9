// Bundles the client into the directory named by the first argument: content-hashed names, each with a .gz beside it,
// and manifest.json, which maps the plain name to the hashed one.
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const out = process.argv[2] ?? "dist";
await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });

const result = await build({
  entryPoints: ["src/chat.ts", "src/login.ts", "src/demo.ts", "src/page.ts", "styles/roomcast.css", "static/favicon.svg"],
  outdir: out,
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  loader: { ".svg": "copy" },
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2022", "chrome123", "firefox120", "safari17.5"],
  metafile: true,
  legalComments: "none",
  logLevel: "warning",
});

const manifest = {};
for (const [file, { entryPoint }] of Object.entries(result.metafile.outputs)) {
  if (!entryPoint) continue;
  const bytes = await readFile(file);
  await writeFile(`${file}.gz`, gzipSync(bytes, { level: 9 }));
  manifest[basename(entryPoint).replace(/\.ts$/, ".js")] = basename(file);
}
await writeFile(join(out, "manifest.json"), JSON.stringify(manifest, null, 2));
