// Bundles frontend/src into static/built/ and writes the list by which a test, without Node,
// sees that what is committed belongs to these sources: static/built/manifest.json.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { readFile, readdir, rm, writeFile, mkdir } from "node:fs/promises";
import { join, relative, dirname } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "../static/built");
const VENDORED = ["htmx.org", "uplot", "@fontsource-variable/ibm-plex-sans", "@fontsource/ibm-plex-mono"];

const sha256 = async (path) => createHash("sha256").update(await readFile(path)).digest("hex");

async function filesUnder(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((e) => e.isFile()).map((e) => join(e.parentPath ?? e.path, e.name)).sort();
}

async function hashes(paths, root) {
  const pairs = await Promise.all(paths.map(async (p) => [relative(root, p), await sha256(p)]));
  return Object.fromEntries(pairs);
}

async function licences() {
  const parts = await Promise.all(VENDORED.map(async (name) => {
    const folder = join(here, "node_modules", name);
    const about = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    const file = (await readdir(folder)).find((f) => /^licen[sc]e/i.test(f));
    const text = file ? await readFile(join(folder, file), "utf8") : "";
    return { line: `${name} ${about.version} (${about.license})`, text };
  }));
  return parts.map((p) => `${p.line}\n${"=".repeat(p.line.length)}\n${p.text.trim()}\n`).join("\n\n");
}

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });
await build({
  entryPoints: { app: join(here, "src/js/app.js"), connector: join(here, "src/js/connector.js"), style: join(here, "src/css/app.css") },
  outdir: out, bundle: true, minify: true, format: "iife", target: ["es2022", "chrome110", "firefox115", "safari16"],
  nodePaths: [join(here, "node_modules")], loader: { ".woff2": "file", ".woff": "empty" }, assetNames: "fonts/[name]", legalComments: "none", logLevel: "warning",
});
await writeFile(join(out, "THIRD-PARTY.txt"), await licences());
const sources = [...(await filesUnder(join(here, "src"))), join(here, "build.mjs"), join(here, "package-lock.json")];
const manifest = { sources: await hashes(sources, here), built: await hashes(await filesUnder(out), out) };
await writeFile(join(out, "manifest.json"), JSON.stringify(manifest, null, 1) + "\n");
