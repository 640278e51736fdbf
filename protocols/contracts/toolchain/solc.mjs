#!/usr/bin/env node
// How does forge find a compiler without a download? This answers like the native solc, with solc-js behind it.
//
// Forge calls `solc --version` and `solc --standard-json`, with all sources in the input.

import { readFileSync, writeSync } from "node:fs";
import { createRequire } from "node:module";

const solc = createRequire(import.meta.url)("solc");

// A pipe takes 64 KiB at a time, and process.stdout would lose what it has not written when the process ends.
function say(text) {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error;
    }
  }
}

if (process.argv.includes("--version")) {
  const version = solc.version().replace("Emscripten.clang", "Linux.g++");
  say(`solc, the solidity compiler commandline interface\nVersion: ${version}\n`);
} else if (process.argv.includes("--standard-json")) {
  say(solc.compile(readFileSync(0, "utf8")));
} else {
  console.error(`solc.mjs: only --version and --standard-json, not: ${process.argv.slice(2).join(" ")}`);
  process.exit(1);
}
