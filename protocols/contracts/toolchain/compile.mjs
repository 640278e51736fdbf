// Do the committed artifacts match their sources? Compiles every contract with solc-js and writes, or compares, them.
//
//   node protocols/contracts/toolchain/compile.mjs           write artifacts/*.json
//   node protocols/contracts/toolchain/compile.mjs --check   compile and compare; exit 1 and say where they differ
//   ... --only MeshEscrow,MeshToken                          not all of them
//   ... --sources DIR --out DIR                              other sources than these, artifacts elsewhere
//   ... --build-info DIR                         also write input and output with syntax trees, for slither
//   ... --draft                                              four times as fast, no stop at a warning: for mutants only
//
// Same compiler, same settings, same sources: same bytes, on every machine. Nothing here is needed to run a node.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const ROOT = join(HERE, "..", "..", "..");
const SOURCES = option("--sources") ?? join(HERE, "..");
const ARTIFACTS = option("--out") ?? join(HERE, "..", "artifacts");
const BUILD_INFO = option("--build-info");
const LIBRARIES = join(ROOT, "node_modules");
const OWN = "protocols/contracts/";
const CONTRACTS = (option("--only") ?? "MeshToken,MeshEscrow,MediatorPanel,PanelScores")
  .split(",")
  .filter((name) => existsSync(join(SOURCES, `${name}.sol`)));

const DRAFT = process.argv.includes("--draft");
const SETTINGS = {
  evmVersion: "cancun", // the newest that both Arbitrum and the development chains run
  viaIR: !DRAFT, // 4-6 % less gas on every path than the legacy pipeline
  optimizer: { enabled: true, runs: DRAFT ? 1 : 1000 },
  // Without the metadata hash a comment does not change the bytecode; the artifact carries every source's hash instead.
  metadata: { bytecodeHash: "none" },
};

const WITHOUT_MAPS = ["evm.bytecode.object", "evm.deployedBytecode.object"];
const WITH_MAPS = ["evm.bytecode", "evm.deployedBytecode", "evm.methodIdentifiers"];

function fail(message) {
  console.error(message);
  process.exit(1);
}

function option(name) {
  const at = process.argv.indexOf(name);
  return at < 0 ? undefined : process.argv[at + 1];
}

function readSource(name) {
  const path = name.startsWith(OWN) ? join(SOURCES, name.slice(OWN.length)) : join(LIBRARIES, name);
  return existsSync(path) ? { contents: readFileSync(path, "utf8") } : { error: `no such file: ${name}` };
}

function compile(solc, settings) {
  const sources = Object.fromEntries(
    CONTRACTS.map((name) => [`${OWN}${name}.sol`, { content: readSource(`${OWN}${name}.sol`).contents }]),
  );
  const input = {
    language: "Solidity",
    sources,
    settings: {
      ...settings,
      outputSelection: {
        "*": {
          "*": ["abi", "metadata", ...(BUILD_INFO ? WITH_MAPS : WITHOUT_MAPS)],
          ...(BUILD_INFO ? { "": ["ast"] } : {}),
        },
      },
    },
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: readSource }));
  // The fast pipeline runs out of stack where the other does not.
  const tooDeep = (output.errors ?? []).some(({ message }) => message.includes("tack too deep"));
  if (tooDeep && !settings.viaIR) return compile(solc, { ...settings, viaIR: true });
  // A warning is an error: the contracts hold money. Except for the compiler's reminder to clear transient storage,
  // which OpenZeppelin's guard does.
  const problems = (output.errors ?? [])
    .filter(({ errorCode, sourceLocation }) => errorCode !== "2394" || sourceLocation.file.startsWith(OWN))
    .filter(({ severity }) => severity === "error" || !DRAFT)
    .map((problem) => problem.formattedMessage);
  if (problems.length > 0) fail(problems.join("\n"));
  if (BUILD_INFO) {
    mkdirSync(join(BUILD_INFO, "build-info"), { recursive: true });
    const solcVersion = solc.version().split("+")[0];
    writeFileSync(join(BUILD_INFO, "build-info", "mesh.json"), JSON.stringify({ solcVersion, input, output }));
  }
  return output;
}

function artifactOf(output, solc, name) {
  const { abi, evm, metadata } = output.contracts[`${OWN}${name}.sol`][name];
  const paths = Object.keys(JSON.parse(metadata).sources).sort();
  return {
    name,
    solc: solc.version(),
    settings: SETTINGS,
    sources: Object.fromEntries(
      paths.map((path) => [path, createHash("sha256").update(readSource(path).contents).digest("hex")]),
    ),
    abi,
    bytecode: `0x${evm.bytecode.object}`,
    deployedBytecode: `0x${evm.deployedBytecode.object}`,
  };
}

function differences(want, have) {
  const keys = new Set([...Object.keys(want), ...Object.keys(have)]);
  return [...keys].filter((key) => JSON.stringify(want[key]) !== JSON.stringify(have[key]));
}

const check = process.argv.includes("--check");
if (!existsSync(join(LIBRARIES, "solc"))) fail("solc is not installed: run `npm ci --ignore-scripts` in the repository");
const solc = createRequire(import.meta.url)("solc");
const output = compile(solc, SETTINGS);
let stale = 0;
for (const name of CONTRACTS) {
  const path = join(ARTIFACTS, `${name}.json`);
  const text = `${JSON.stringify(artifactOf(output, solc, name), null, 1)}\n`;
  const size = (JSON.parse(text).deployedBytecode.length - 2) / 2;
  if (!check) {
    writeFileSync(path, text);
    console.log(`${name}: wrote ${size} bytes of code`);
  } else if (existsSync(path) && readFileSync(path, "utf8") === text) {
    console.log(`${name}: the artifact matches its sources (${size} bytes of code)`);
  } else {
    const have = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
    console.error(`${name}: the artifact differs from its sources in ${differences(JSON.parse(text), have).join(", ")}`);
    stale += 1;
  }
}
if (stale > 0) fail("run `npm run compile` and commit protocols/contracts/artifacts");
