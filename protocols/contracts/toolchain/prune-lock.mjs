// Which optional packages does the lock name without having them? None, after this: `npm ci` would refuse it.
//
// foundry's packages name one optional package for each platform, and a registry need not have all of them. What could not
// be had when the lock was made is taken out; such a platform has no anvil and no forge, and the pip-only chain instead.
import { readFileSync, writeFileSync } from "node:fs";

const FILE = new URL("../../../package-lock.json", import.meta.url);

const lock = JSON.parse(readFileSync(FILE, "utf8"));
for (const entry of Object.values(lock.packages)) {
  const wanted = Object.entries(entry.optionalDependencies ?? {});
  const had = wanted.filter(([name]) => lock.packages[`node_modules/${name}`]);
  if (had.length < wanted.length) {
    entry.optionalDependencies = Object.fromEntries(had);
  }
}
writeFileSync(FILE, JSON.stringify(lock, null, 2) + "\n");
