// Bundle the pages' scripts: `npm run build`; with --check, say whether the committed files are what the sources give.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const PACKAGE = "../src/segscope/report";
const BUNDLES = {
  "src/report.js": `${PACKAGE}/assets/report.js`,
  "src/compare.js": `${PACKAGE}/compare_assets/compare.js`,
};

let stale = 0;
for (const [source, target] of Object.entries(BUNDLES)) {
  const { outputFiles, metafile } = await build({
    entryPoints: [source],
    bundle: true,
    write: false,
    metafile: true,
    format: "iife",
    target: "es2022",
    charset: "utf8",
    minify: true,
    legalComments: "none",
  });
  // The sources' sum, by which a test without Node sees that the bundle is of them.
  const sources = Object.keys(metafile.inputs)
    .filter((name) => name.startsWith("src/"))
    .sort();
  const sum = createHash("sha256");
  for (const name of sources) sum.update(`${name}\n`).update(readFileSync(name));
  const text = `// Made by \`npm run build\` in web/ of ${sources.length} files, sha256 ${sum.digest("hex")}. Licences: licences.txt\n${outputFiles[0].text}`;
  if (!process.argv.includes("--check")) writeFileSync(target, text);
  else if (readFileSync(target, "utf8") !== text) {
    console.error(`${target} is not what web/src gives: run \`npm run build\` in web/`);
    stale += 1;
  }
}
process.exit(stale);
